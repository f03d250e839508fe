"""Kinds of layers and connections that only this file knows are written, read, described and upgraded by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpc_sparse.errors import FileFormatError
from hpc_sparse.models.inspection import describe_file
from hpc_sparse.network.connections.registry import CONNECTIONS
from hpc_sparse.network.connections.state import ConnectionState, Setting, StoredSize, StoredSizes
from hpc_sparse.network.layers.registry import LAYERS
from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import read_checkpoint, read_replicas, write_checkpoint
from hpc_sparse.storage.checkpoint.info import read_checkpoint_info
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.storage.verification import verify_checkpoint

N_OUT, N_IN, BLOCK = 6, 4, 2


class Blocks:
    """Connections in square blocks, as far as files are concerned."""

    kind = "toy_blocks"

    @classmethod
    def stored_sizes(cls, shape: tuple[int, int], n_units: int, settings: Mapping[str, Setting]) -> StoredSizes:
        size = settings.get("block")
        if not isinstance(size, int) or not 1 <= size <= 8:
            raise ValueError(f"setting block = {size!r}: expected 1 to 8")
        return StoredSizes({"keys": StoredSize(np.int64, n_units)}, n_units * size * size)

    @classmethod
    def check_state(cls, where: str, state: ConnectionState) -> None:
        if (np.diff(state.structure["keys"]) <= 0).any():
            raise FileFormatError(f"{where}: keys: expected them to increase")


class Cell:
    """A layer with two maps, one of which leads from its own neurons to three times as many rows."""

    kind = "toy_cell"
    weights = {"input": "input_weight", "recurrent": "recurrent_weight"}  # noqa: RUF012

    @classmethod
    def parameter_sizes(
        cls, shape: tuple[int, int], n_values: Mapping[str, int], settings: Mapping[str, Setting]
    ) -> Mapping[str, int]:
        if settings.get("gates") != 3:
            raise ValueError(f"setting gates = {settings.get('gates')!r}: expected 3")
        return {"input_weight": n_values["input"], "recurrent_weight": n_values["recurrent"], "bias": 3 * shape[0]}


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONNECTIONS, Blocks.kind, Blocks)
    monkeypatch.setitem(LAYERS, Cell.kind, Cell)


def cell(n_units: int) -> LayerState:
    """A layer with so many blocks in its own map."""
    rng = np.random.default_rng(n_units)
    values = {
        "input_weight": rng.normal(size=3).astype(np.float32),
        "recurrent_weight": rng.normal(size=n_units * BLOCK**2).astype(np.float32),
        "bias": rng.normal(size=3 * N_OUT).astype(np.float32),
    }
    pointers = np.repeat(np.array([0, 3], np.int64), [1, N_OUT])
    rows = {"indptr": pointers, "indices": np.arange(3, dtype=np.int32)}
    keys = {"keys": np.arange(n_units, dtype=np.int64) * 2}
    return LayerState(
        kind="toy_cell",
        shape=(N_OUT, N_IN),
        activation="tanh",
        connections={
            "input": ConnectionState("csr", (N_OUT, N_IN), 3, rows),
            "recurrent": ConnectionState("toy_blocks", (3 * N_OUT, N_OUT), n_units, keys, {"block": BLOCK}),
        },
        parameters=values,
        states={f"{name}_velocity": array * 2 for name, array in values.items()},
        settings={"gates": 3, "clip": 0.5, "reset": "after"},
    )


def checkpoint(n_units: int, **changes: Any) -> Checkpoint:
    """A network of such a layer and a sparse one."""
    one = np.ones(1, np.float32)
    pointers = np.array([0, 1], np.int64)
    output = LayerState.sparse((1, N_OUT), "output", pointers, np.zeros(1, np.int32), one, one)
    made = Checkpoint("", 1, 1, 1, (cell(n_units), output), {}, None, target_connections=(3, 2 * BLOCK**2, 1))
    return dataclasses.replace(made, **changes)


def assert_same(found: LayerState, made: LayerState) -> None:
    for name in ("kind", "shape", "activation", "settings"):
        assert getattr(found, name) == getattr(made, name)
    for name, connections in made.connections.items():
        again = found.connections[name]
        assert (again.kind, again.shape, again.n_units, again.settings) == (
            *(connections.kind, connections.shape, connections.n_units),
            connections.settings,
        )
    assert list(found.arrays()) == list(made.arrays())
    for name, array in made.arrays().items():
        assert found.arrays()[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("replica", [None, 0])
def test_a_layer_of_another_kind_comes_back(ctx: ParallelContext, tmp_path: Path, replica: int | None) -> None:
    made = checkpoint(5, replica=replica)
    write_checkpoint(ctx, tmp_path / "c.h5", made)
    verify_checkpoint(tmp_path / "c.h5")
    for found in (read_checkpoint(ctx, tmp_path / "c.h5", replica=replica), read_replicas(tmp_path / "c.h5")[0]):
        for layer, expected in zip(found.layers, made.layers, strict=True):
            assert_same(layer, expected)
        assert found.target_connections == made.target_connections


def test_it_is_described_by_its_numbers(ctx: ParallelContext, tmp_path: Path) -> None:
    write_checkpoint(ctx, tmp_path / "c.h5", checkpoint(5))
    info = read_checkpoint_info(tmp_path / "c.h5")
    assert [layer.n_connections for layer in info.layers] == [3 + 5 * BLOCK**2, 1]
    assert info.n_parameters == 3 + 5 * BLOCK**2 + 3 * N_OUT + 2
    assert info.density == (4 + 5 * BLOCK**2) / (N_OUT * N_IN + 3 * N_OUT * N_OUT + N_OUT)
    assert describe_file(tmp_path / "c.h5")["layers"][0]["activation"] == "tanh"


def test_a_kind_that_is_not_known_is_named_with_those_that_are(
    ctx: ParallelContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(ctx, tmp_path / "c.h5", checkpoint(5))
    monkeypatch.delitem(CONNECTIONS, Blocks.kind)
    place = "layers/0/connections/recurrent"
    for read in (read_checkpoint_info, read_replicas, lambda path: read_checkpoint(ctx, path)):
        with pytest.raises(FileFormatError, match=f'{place}: connections of kind "toy_blocks": expected one of csr, '):
            read(tmp_path / "c.h5")
    monkeypatch.delitem(LAYERS, Cell.kind)
    for read in (read_checkpoint_info, read_replicas, lambda path: read_checkpoint(ctx, path)):
        with pytest.raises(FileFormatError, match='layers/0: layer of kind "toy_cell": expected one of sparse'):
            read(tmp_path / "c.h5")


@pytest.mark.parametrize(
    ("settings", "block", "message"),
    [
        ({"gates": 2}, BLOCK, "layers/0/parameters: toy_cell: setting gates = 2: expected 3"),
        ({"gates": 3}, 9, "recurrent: toy_blocks: setting block = 9: expected 1 to 8"),
        ({"gates": 3}, 1, r"recurrent_weight: is float32\[20\], expected float32\[5\]"),
    ],
)
def test_settings_that_a_kind_refuses_are_one_message(
    ctx: ParallelContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Setting],
    block: int,
    message: str,
) -> None:
    made = checkpoint(5)
    layer = made.layers[0]
    recurrent = dataclasses.replace(layer.connections["recurrent"], settings={"block": block})
    wrong = dataclasses.replace(layer, settings=settings, connections={**layer.connections, "recurrent": recurrent})
    with monkeypatch.context() as patch:
        sizes = StoredSizes({"keys": StoredSize(np.int64, 5)}, 5)
        patch.setattr(Blocks, "stored_sizes", lambda *arguments: sizes)
        write_checkpoint(ctx, tmp_path / "c.h5", dataclasses.replace(made, layers=(wrong, made.layers[1])))
    with pytest.raises(FileFormatError, match=message):
        read_checkpoint(ctx, tmp_path / "c.h5")


def test_the_kind_checks_its_own_content(ctx: ParallelContext, tmp_path: Path) -> None:
    made = checkpoint(5)
    made.layers[0].connections["recurrent"].structure["keys"][3] = 0
    write_checkpoint(ctx, tmp_path / "c.h5", made)
    with pytest.raises(
        FileFormatError, match=r"c\.h5: layers/0/connections/recurrent: keys: expected them to increase"
    ):
        read_checkpoint(ctx, tmp_path / "c.h5")
