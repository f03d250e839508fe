"""Subjects: every reader of files, with sound files to mutate; and of arrays, made of the numbers in files."""

from __future__ import annotations

import gzip
import io
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import scipy.sparse

from fuzzing import callers, models
from fuzzing.mutations import ANY_FILE, FOREIGN_HDF5, HDF5, NUMPY, Mutation
from hpc_sparse.analysis.checkpoints import read_topologies
from hpc_sparse.config import parse_config
from hpc_sparse.errors import InputError
from hpc_sparse.importers.arrays.hdf5 import import_hdf5
from hpc_sparse.importers.arrays.names import ArrayNames
from hpc_sparse.importers.arrays.npz import import_npz
from hpc_sparse.importers.images.idx import import_idx
from hpc_sparse.importers.membership import read_membership
from hpc_sparse.importers.options import ImportOptions
from hpc_sparse.models.inspection import describe_file, evaluate_checkpoint
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layers.registry import connections_of
from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import read_replicas, write_checkpoint
from hpc_sparse.storage.checkpoint.front_end import statistics_arrays
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.storage.dataset.file import load_dataset, load_samples
from hpc_sparse.storage.dataset.samples import CsrFeatures, DenseFeatures, Samples
from hpc_sparse.storage.dataset.writer import write_dataset

GOLDEN = Path(__file__).parents[2] / "tests" / "golden"
N_FEATURES, WIDTHS, N_CLASSES = 6, (5, 4), 3
CONFIG = """
[data]
path = "data.h5"
[network]
hidden = [5, 4]
[training]
epochs = 3
batch_size = 4
"""

GROUPS = "feature,group\n0,a\n1,a\n2,b\n3,b\n4,b\n5,a\n0,b\n"


@dataclass(frozen=True)
class Subject:
    """A reader.

    Attributes
    ----------
    name : str
    seeds : tuple of bytes
        Sound files.
    mutations : tuple of Mutation
    read : callable
        Gets the path of a file; raises InputError if it refuses it.
    file_name : str
        Name of the file.
    """

    name: str
    seeds: tuple[bytes, ...]
    mutations: tuple[Mutation, ...]
    read: Callable[[Path], Any]
    file_name: str

    def spoilt(self, chance: random.Random) -> bytes:
        """One of the files, spoilt in one of the ways."""
        return chance.choice(self.mutations)(chance.choice(self.seeds), chance)


def make_subjects() -> list[Subject]:
    """All readers."""
    widths = (N_FEATURES, *WIDTHS, N_CLASSES)
    with TemporaryDirectory() as folder:
        data, checkpoints = _made_containers(Path(folder))
        exported = models.exported(checkpoints, Path(folder))
    golden = {path.name: path.read_bytes() for path in sorted(GOLDEN.glob("*.h5"))}
    data += tuple(content for name, content in golden.items() if name.startswith("dataset"))
    checkpoints += tuple(content for name, content in golden.items() if name.startswith("checkpoint"))
    dense = data[0]
    return [
        Subject("data set", data, HDF5, _read_data, "data.h5"),
        Subject("checkpoint", checkpoints, HDF5, lambda path: _read_checkpoint(path, dense), "checkpoint.h5"),
        Subject("imported HDF5", _foreign_hdf5(), FOREIGN_HDF5, _import_hdf5, "foreign.h5"),
        Subject("npz archive", _archives(), NUMPY, _import_npz, "archive.npz"),
        Subject("idx file", (_idx((7, 2, 3)),), ANY_FILE, _import_idx, "train-images-idx3-ubyte"),
        Subject(
            "gzipped idx file", (gzip.compress(_idx((7, 2, 3))),), ANY_FILE, _import_idx, "train-images-idx3-ubyte.gz"
        ),
        Subject("configuration", (CONFIG.encode(),), ANY_FILE, _read_config, "run.toml"),
        Subject("table of groups", (GROUPS.encode(), GROUPS.encode("utf-16")), ANY_FILE, _read_groups, "groups.csv"),
        Subject("matrix of groups", _matrices_of_groups(), NUMPY, _read_groups, "groups.npz"),
        Subject("exported model", exported, NUMPY, models.read_model, "model.npz"),
        Subject(
            "dense weights", models.dense_archives(widths), NUMPY, lambda path: _import_dense(path, dense), "w.npz"
        ),
        Subject(
            "safetensors file",
            models.dense_safetensors(widths),
            ANY_FILE,
            lambda path: _import_dense(path, dense),
            "w.safetensors",
        ),
        *_of_arrays(checkpoints),
    ]


def _of_arrays(checkpoints: tuple[bytes, ...]) -> list[Subject]:
    """Readers of arrays."""
    with TemporaryDirectory() as folder:
        readers: dict[str, callers.Call] = {
            "estimators": callers.use_estimator,
            "models": callers.use_model(checkpoints[:2], Path(folder)),
            "foreign weights": callers.use_foreign_weights,
            "analyses": callers.use_analysis,
        }
    made = callers.seeds()
    return [Subject(name, made, (callers.another,), callers.reader(call), "trial") for name, call in readers.items()]


def _read_data(path: Path) -> None:
    ctx = ParallelContext.serial(threads=1)
    _all_of(
        lambda: describe_file(path), lambda: load_samples(path, "test"), lambda: _multiplied(load_dataset(ctx, path))
    )


def _multiplied(dataset: Any) -> None:
    """Use the features, so that a wrong index would show."""
    for part in (dataset.train, dataset.test):
        if isinstance(part.features, CsrFeatures):
            topology = Topology((part.n_samples, dataset.info.n_features), part.features.indptr, part.features.indices)
            topology.check()
        assert part.labels.size == part.features.n_samples


def _read_checkpoint(path: Path, data: bytes) -> None:
    ctx = ParallelContext.serial(threads=1)
    (data_path := path.with_name("data.h5")).write_bytes(data)
    _all_of(
        lambda: describe_file(path),
        lambda: _checked(read_replicas(path)),
        lambda: read_topologies(path),
        lambda: evaluate_checkpoint(ctx, path, data_path),
    )


def _checked(checkpoints: list[Checkpoint]) -> None:
    for checkpoint in checkpoints:
        for layer in checkpoint.layers:
            for connections in connections_of(layer).values():
                connections.topology.check()
                assert connections.topology.transposed.indptr[-1] == connections.weight.size
            assert all(np.isfinite(array).all() for array in (*layer.parameters.values(), *layer.states.values()))


def _import_hdf5(path: Path) -> None:
    import_hdf5(path, path.with_name("out.h5"), names=ArrayNames("X", "y"), options=ImportOptions(overwrite=True))


def _import_npz(path: Path) -> None:
    import_npz(path, path.with_name("out.h5"), overwrite=True)


def _import_idx(path: Path) -> None:
    for name, shape in (
        ("train-labels-idx1-ubyte", (7,)),
        ("t10k-images-idx3-ubyte", (4, 2, 3)),
        ("t10k-labels-idx1-ubyte", (4,)),
    ):
        path.with_name(name).write_bytes(_idx(shape))
    import_idx(path.parent, path.with_name("out.h5"), title="fuzzed", overwrite=True)


def _import_dense(path: Path, data: bytes) -> None:
    path.with_name("data.h5").write_bytes(data)
    (config := path.with_name("dense.toml")).write_text(CONFIG)
    models.read_model(path, config)


def _matrices_of_groups() -> tuple[bytes, ...]:
    matrix, files = scipy.sparse.coo_array(np.arange(2 * N_FEATURES).reshape(2, N_FEATURES) % 3), []
    for kind in ("coo", "csr", "csc"):
        file = io.BytesIO()
        scipy.sparse.save_npz(file, matrix.asformat(kind))
        files.append(file.getvalue())
    return tuple(files)


def _read_groups(path: Path) -> None:
    found = read_membership(path, N_FEATURES, allow_missing=True)
    found.topology.check()
    assert found.topology.shape == (len(found.groups), N_FEATURES)


def _read_config(path: Path) -> None:
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        return
    config = parse_config(text, str(path))
    assert parse_config(config.to_toml(), "stored") == config


def _all_of(*reads: Callable[[], Any]) -> None:
    """Let each read, also after another one has refused the file."""
    refusal: InputError | None = None
    for read in reads:
        try:
            read()
        except InputError as error:
            refusal = error
    if refusal is not None:
        raise refusal


def _made_containers(folder: Path) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Data sets, and checkpoints of a network that fits the first one."""
    rng = np.random.default_rng(0)
    labels = (np.arange(9) % N_CLASSES).astype(np.int32)
    dense = DenseFeatures(rng.normal(size=(9, N_FEATURES)).astype(np.float32))
    indptr = np.array([0, 2, 2, 3, 6, 6, 6, 8, 9, 10], np.int64)
    indices = np.array([0, 4, 2, 1, 3, 5, 0, 1, 5, 2], np.int32)
    sparse = CsrFeatures(indptr, indices, rng.normal(size=10).astype(np.float32), N_FEATURES)
    data = []
    for features in (dense, sparse):
        part = Samples(features, labels)
        write_dataset(folder / "d.h5", part, part, title="fuzzed", class_names=("a", "b", "c"), overwrite=True)
        data.append((folder / "d.h5").read_bytes())
    checkpoints = []
    ctx, layers = ParallelContext.serial(threads=1), _layers(rng)
    whole = Checkpoint(parse_config(CONFIG, "run.toml").to_toml(), 2, 6, 1, layers, {"train_loss": 0.5}, (1, 0.25))
    statistics = statistics_arrays(np.zeros(N_FEATURES, np.float32), np.ones(N_FEATURES, np.float32))
    whole = replace(whole, front_end=statistics)
    ids = (None, np.array([0, 1, 2, 3, 4], np.int32), np.array([0, 1, 2, 3], np.int32), None)
    for checkpoint in (
        whole,
        replace(whole, neuron_ids=ids, target_connections=(9, 6, 5)),
        replace(whole, replica=0, step_in_epoch=1, progress=np.zeros((1, 2)), progress_names=("loss", "n_correct")),
    ):
        write_checkpoint(ctx, folder / "c.h5", checkpoint, "serial")
        checkpoints.append((folder / "c.h5").read_bytes())
    return tuple(data), tuple(checkpoints)


def _layers(rng: np.random.Generator) -> tuple[LayerState, ...]:
    widths = (N_FEATURES, *WIDTHS, N_CLASSES)
    layers = []
    for number, (n_in, n_out) in enumerate(pairwise(widths)):
        topology = Topology.random((n_out, n_in), 0.5, np.uint64(number + 1))
        values = [rng.normal(size=n).astype(np.float32) for n in (topology.n_connections, n_out) * 2]
        name = "output" if n_out == N_CLASSES else "all_relu"
        layers.append(LayerState.sparse(topology.shape, name, topology.indptr, topology.indices, *values))
    return tuple(layers)


def _foreign_hdf5() -> tuple[bytes, ...]:
    """Files as other programs write them: old and new layouts, arrays and sparse rows, whole and in chunks."""
    table, labels = np.arange(60, dtype=np.float32).reshape(20, 3), np.arange(20) % 2
    in_chunks = {"chunks": (5, 3), "compression": "gzip", "shuffle": True, "fletcher32": True}
    made = []
    for version, options in product(("earliest", "v110"), ({}, in_chunks)):
        with h5py.File(file := io.BytesIO(), "w", libver=(version, "v110")) as dense:
            dense.create_dataset("X", data=table, **options)
            dense["y"] = labels
        made.append(file.getvalue())
        with h5py.File(file := io.BytesIO(), "w", libver=(version, "v110")) as sparse:
            for name, values in (
                ("indptr", np.arange(0, 41, 2)),
                ("indices", np.tile([0, 5], 20)),
                ("data", np.ones(40)),
            ):
                sparse.create_dataset(f"X/{name}", data=values, chunks=(20,) if options else None)
            sparse["X"].attrs["shape"], sparse["X"].attrs["encoding-type"] = (20, 7), "csr_matrix"
            sparse["y"] = labels.astype("S1").astype(object)
        made.append(file.getvalue())
    return tuple(made)


def _archives() -> tuple[bytes, ...]:
    table, labels = np.arange(60, dtype=np.float32).reshape(20, 3), np.arange(20) % 2
    indptr = np.arange(0, 41, 2)
    sparse = {"indptr": indptr, "indices": np.tile([0, 5], 20), "data": np.ones(40), "shape": np.array([20, 7])}
    divided = {"x_train": table, "y_train": labels, "x_test": table[:5], "y_test": labels[:5]}
    contents = ({"x": table, "y": labels.astype("U1")}, {**sparse, "label": labels}, divided)
    made = []
    for save in (np.savez, np.savez_compressed):
        for content in contents:
            save(file := io.BytesIO(), **content)  # type: ignore[arg-type]
            made.append(file.getvalue())
    return tuple(made)


def _idx(shape: tuple[int, ...]) -> bytes:
    content = (np.arange(int(np.prod(shape))) % 3).astype(np.uint8).tobytes()
    return bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes() + content
