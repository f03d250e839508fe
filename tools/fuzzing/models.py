"""Files of networks for ``hpc-sparse model import``: exported ones, and dense ones of other programs."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from hpc_sparse.inference import load_model
from hpc_sparse.interop.exchange import export_model, import_model
from hpc_sparse.storage.checkpoint.file import read_replicas

Arrays = dict[str, np.ndarray[Any, Any]]


def exported(checkpoints: tuple[bytes, ...], folder: Path) -> tuple[bytes, ...]:
    """Archives that ``model export`` writes of these checkpoints, plain and compressed."""
    archives = []
    for number, content in enumerate(checkpoints):
        checkpoint, output = folder / f"{number}.h5", folder / f"{number}.npz"
        checkpoint.write_bytes(content)
        export_model(checkpoint, output)
        with np.load(output) as arrays:
            archives += [output.read_bytes(), _archive(dict(arrays), is_compressed=True)]
    return tuple(archives)


def dense_archives(widths: tuple[int, ...]) -> tuple[bytes, ...]:
    """Dense weights as two other programs save them: rows are outputs, or inputs."""
    as_torch = _dense(widths)
    as_keras = {f"arr_{number}": values.T for number, values in enumerate(as_torch.values())}
    statistics = {"mean": np.zeros(widths[0]), "deviation": np.ones(widths[0])}
    return (_archive(as_torch), _archive({**as_torch, **statistics}, is_compressed=True), _archive(as_keras))


def dense_safetensors(widths: tuple[int, ...]) -> tuple[bytes, ...]:
    """The same as a file of safetensors."""
    from safetensors.numpy import save

    return (save(_dense(widths)),)


def read_model(path: Path, config: Path | None = None) -> None:
    """Import a network and use what came of it."""
    output = path.with_name("imported.h5")
    output.unlink(missing_ok=True)
    import_model(path, output, config)
    for layer in read_replicas(output)[0].layers:
        assert all(np.isfinite(array).all() for array in layer.parameters.values())
    model = load_model(output, threads=1)
    assert model.predict(np.zeros((2, model.n_features), np.float32)).max() < model.n_classes


def _dense(widths: tuple[int, ...]) -> Arrays:
    rng, arrays = np.random.default_rng(3), {}
    for number, (n_in, n_out) in enumerate(pairwise(widths)):
        arrays[f"{number}.weight"] = rng.normal(size=(n_out, n_in)).astype(np.float32)
        arrays[f"{number}.bias"] = rng.normal(size=n_out).astype(np.float32)
    return arrays


def _archive(arrays: Arrays, *, is_compressed: bool = False) -> bytes:
    save = np.savez_compressed if is_compressed else np.savez
    save(file := io.BytesIO(), **arrays)  # type: ignore[arg-type]
    return file.getvalue()
