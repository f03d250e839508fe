"""The debug mode, and jobs in which a rank breaks down."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

HPC_SPARSE = str(Path(sys.executable).with_name("hpc-sparse"))

BREAKING_DRIVER = """
import sys, time
from dataclasses import replace
from hpc_sparse.cli import app as cli
from hpc_sparse.runs import run

def break_down(job, epoch):
    if job.ctx.rank == {rank} and epoch == 2:
        print(f"broke at {{time.monotonic()}}", flush=True)
        raise ZeroDivisionError("a broken rank")

train_run = run.train_run
run.train_run = lambda ctx, request, *rest: train_run(ctx, replace(request, before_epoch=break_down), *rest)
sys.argv = ["hpc-sparse", "train", "run.toml", "--output", "run"]
cli.main()
"""


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where the tests of this file keep kernels with bounds checks, which only the first one then has to compile."""
    return {"NUMBA_CACHE_DIR": str(tmp_path_factory.mktemp("numba"))}


def test_kernels_with_bounds_checks_are_kept_apart(workplace, run, kernels):
    run("train", "run.toml", "--debug", "--set", "training.epochs=1", cwd=workplace, timeout=240, **kernels)
    assert [path.name for path in Path(kernels["NUMBA_CACHE_DIR"]).iterdir()] == ["checked"]


# What a rank says in a file of its own: mpirun passes it on in pieces, which need not be whole lines.
APART = ("bash", "-c", 'exec "$0" "$@" 2>"errors-$OMPI_COMM_WORLD_RANK"', HPC_SPARSE)


@pytest.mark.parametrize("topology", ["shared", "independent"])
def test_debug_mode_ends_well_and_every_rank_speaks(workplace, run, kernels, topology):
    run(
        *("train", "run.toml", "--debug", "--output", "run", "--set", f"parallel.replica_topology={topology}"),
        *("--set", "parallel.sync_every_steps=3"),
        command=APART,
        cwd=workplace,
        ranks=2,
        timeout=240,
        **kernels,
    )
    assert "gradients agree with central differences to" in (workplace / "errors-0").read_text()
    for rank in (0, 1):
        said = [line for line in (workplace / f"errors-{rank}").read_text().splitlines() if f"[rank {rank}]" in line]
        # 331 samples on 2 ranks in batches of 16: 11 steps, so 4 syncs in each of 2 epochs.
        assert sum("synced, replicas agree" in line for line in said) == 8
        assert sum("connections replaced" in line for line in said) == 1


def test_debug_mode_computes_what_the_normal_mode_computes(workplace, run, kernels):
    # A batch of several tiles, and the last one of a single tile.
    for name, options in (("slow", ("--debug",)), ("fast", ())):
        arguments = ("train", "run.toml", "--output", name, "--set", "training.batch_size=100", *options)
        run(*arguments, cwd=workplace, timeout=240, **(kernels if options else {}))
    slow, fast = ((workplace / name / "metrics.jsonl").read_text().splitlines() for name in ("slow", "fast"))
    assert [line.split('"train_seconds"')[0] for line in slow] == [line.split('"train_seconds"')[0] for line in fast]


@pytest.mark.parametrize(("ranks", "rank"), [(1, 0), (3, 1), (2, 0)])
def test_a_rank_that_breaks_down_ends_the_job_soon_and_says_where(workplace, run, ranks, rank):
    driver = BREAKING_DRIVER.format(rank=rank)
    result = run("-c", driver, command=(sys.executable,), cwd=workplace, ranks=ranks, code=1)
    broke_at = float(result.stdout.split("broke at ")[1].split()[0])
    seconds = time.monotonic() - broke_at
    assert "Traceback" in result.stderr
    assert "ZeroDivisionError: a broken rank" in result.stderr
    assert f"rank {rank} of {ranks}:" in result.stderr
    assert seconds < 15
    assert (workplace / "run/checkpoints/checkpoint-000001.h5").is_file()
