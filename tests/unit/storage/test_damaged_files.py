"""Whatever happens to a file: it is refused with one message that names it, or still reads the same."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpc_sparse.errors import FileFormatError, InputError
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import read_checkpoint, read_replicas
from hpc_sparse.storage.checkpoint.info import read_checkpoint_info
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.storage.dataset.file import load_dataset
from hpc_sparse.storage.dataset.samples import Dataset

N_FLIPS = 400


def read_both_ways(ctx: ParallelContext, path: Path) -> list[Checkpoint]:
    """All replicas together, and one of them alone."""
    return [*read_replicas(path), read_checkpoint(ctx, path, replica=1)]


def arrays_of(content: Dataset | Checkpoint | list[Checkpoint]) -> list[Any]:
    """All that was read, in a form that can be compared."""
    found: list[Any] = []

    def collect(value: Any) -> None:
        if isinstance(value, np.ndarray):
            found.append((value.dtype.str, value.shape, value.tobytes()))
        elif isinstance(value, dict):
            for name, item in value.items():
                found.append(name)
                collect(item)
        elif isinstance(value, tuple | list):
            for item in value:
                collect(item)
        elif hasattr(value, "__dataclass_fields__"):
            for name in value.__dataclass_fields__:
                collect(None if name in ("path", "creator") else getattr(value, name))
        else:
            found.append(value)

    collect(content)
    return found


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("DENSE", load_dataset),
        ("SPARSE", load_dataset),
        ("CHECKPOINT", read_checkpoint),
        ("REDUCED", read_checkpoint),
        ("REPLICAS", read_both_ways),
        ("REDUCED_V3", read_checkpoint),
        ("REDUCED_V4", read_checkpoint),
        ("REPLICAS_V4", read_both_ways),
        ("DENSE_V2", load_dataset),
    ],
)
class TestDamage:
    def test_a_truncated_file_is_refused(
        self, ctx: ParallelContext, tmp_path: Path, golden: dict[str, Any], name: str, read: Callable[..., Any]
    ) -> None:
        whole = golden[name].read_bytes()
        path = tmp_path / "cut.h5"
        for n_bytes in (0, 1, 8, 47, 48, 500, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:n_bytes])
            with pytest.raises(FileFormatError, match=r"cut\.h5"):
                read(ctx, path)

    def test_a_flipped_bit_is_noticed_or_harmless(
        self, ctx: ParallelContext, tmp_path: Path, golden: dict[str, Any], name: str, read: Callable[..., Any]
    ) -> None:
        whole = bytearray(golden[name].read_bytes())
        expected = arrays_of(read(ctx, golden[name]))
        path = tmp_path / "flipped.h5"
        n_noticed = 0
        for position in random.Random(0).sample(range(8 * len(whole)), N_FLIPS):
            whole[position // 8] ^= 1 << position % 8
            path.write_bytes(whole)
            whole[position // 8] ^= 1 << position % 8
            try:
                assert arrays_of(read(ctx, path)) == expected, f"bit {position} went unnoticed"
            except InputError as error:
                assert "flipped.h5" in str(error)  # noqa: PT017  (either outcome is fine, silence is not)
                n_noticed += 1
        assert n_noticed > N_FLIPS // 10


def test_a_cut_off_checkpoint_has_no_info_either(tmp_path: Path, golden: dict[str, Any]) -> None:
    (tmp_path / "cut.h5").write_bytes(golden["CHECKPOINT"].read_bytes()[:3000])
    with pytest.raises(FileFormatError, match=r"cut\.h5"):
        read_checkpoint_info(tmp_path / "cut.h5")
