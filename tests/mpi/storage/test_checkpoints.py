"""Checkpoints that all ranks write and read, with both back ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpc_sparse.errors import OutputError
from hpc_sparse.parallel.collectives import on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import (
    read_checkpoint,
    write_checkpoint,
)

BACKENDS = ("mpio", "serial")


@pytest.mark.mpi(ranks=[2, 3])
@pytest.mark.usefixtures("tiny_chunks")
def test_a_checkpoint_comes_back_bit_for_bit_on_every_rank(
    ctx: ParallelContext, mpi_tmp_path: Path, golden: dict[str, Any]
) -> None:
    made = golden["checkpoint"]()
    for writing in BACKENDS:
        path = mpi_tmp_path / f"{writing}.h5"
        write_checkpoint(ctx, path, made, writing)
        for reading in BACKENDS:
            found = read_checkpoint(ctx, path, reading)
            assert (found.config_text, found.metrics, found.history_best) == (
                made.config_text,
                made.metrics,
                made.history_best,
            )
            np.testing.assert_array_equal(found.mean, made.mean)
            for layer, expected in zip(found.layers, made.layers, strict=True):
                for name, array in expected.arrays().items():
                    assert layer.arrays()[name].tobytes() == array.tobytes()
        if ctx.is_root:
            alone = read_checkpoint(ParallelContext.serial(threads=1), path)
            np.testing.assert_array_equal(alone.layers[1].parameters["weight"], made.layers[1].parameters["weight"])


@pytest.mark.mpi(ranks=[2, 3])
@pytest.mark.usefixtures("tiny_chunks")
def test_a_reduced_network_in_an_unfinished_epoch_comes_back_on_every_rank(
    ctx: ParallelContext, mpi_tmp_path: Path, assert_same_state: Callable[..., None], golden: dict[str, Any]
) -> None:
    made = golden["reduced_checkpoint"]()
    for writing in BACKENDS:
        write_checkpoint(ctx, mpi_tmp_path / f"{writing}.h5", made, writing)
        for reading in BACKENDS:
            found = read_checkpoint(ctx, mpi_tmp_path / f"{writing}.h5", reading)
            assert_same_state(found, made)
            np.testing.assert_array_equal(found.progress, made.progress)


@pytest.mark.mpi(ranks=[3])
def test_an_unwritable_place_is_the_same_error_on_every_rank(
    ctx: ParallelContext, mpi_tmp_path: Path, same_error_everywhere: Callable[..., str], golden: dict[str, Any]
) -> None:
    on_root(ctx, (mpi_tmp_path / "file").touch)
    for backend in BACKENDS:
        for path in (mpi_tmp_path / "file" / "c.h5", mpi_tmp_path / "missing" / "c.h5", Path("/proc/c.h5")):
            message = same_error_everywhere(
                OutputError,
                lambda: write_checkpoint(ctx, path, golden["checkpoint"](), backend),  # noqa: B023
            )
            assert f"{path}: cannot be written" in message
