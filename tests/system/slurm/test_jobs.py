"""The job scripts, submitted to a real SLURM: right ranks, threads, results, exit codes, and nothing lost."""

from __future__ import annotations

import json
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from hpc_sparse.monitor.metrics import CLOCK_FIELDS

STOPPED = 75
# Kernels may have to be compiled first, on a machine that has other work.
PATIENCE_SECONDS = 240
LAUNCHERS = ("train.sbatch", "mpirun.sbatch")
LARGE = 100_000

STAND_IN = """#!/bin/bash
# Notes how it was started, and ends as told; told to wait, it ends when it is told to stop. It listens before it says
# that it has started: signals come from then on.
trap 'echo USR1 >>signals.txt; exit 75' USR1
trap 'echo TERM >>signals.txt; exit 75' TERM
echo "${PMIX_RANK:-$OMPI_COMM_WORLD_RANK} $*" >>starts.txt
code="$(sed -n "$((SLURM_RESTART_COUNT + 1))p" "$CODES")"
[ "$code" = wait ] || exit "$code"
while true; do sleep 0.05; done
"""


AWAITS_ITS_STOP = f"""#!{sys.executable}
# The program itself, which in its first start waits in the third epoch until it has been asked to stop.
import os, time
from dataclasses import replace
from hpc_sparse.cli import app as cli
from hpc_sparse.runs import run

def wait(job, epoch):
    deadline = time.monotonic() + {PATIENCE_SECONDS}
    while epoch == 3 and os.environ.get("SLURM_RESTART_COUNT", "0") == "0":
        if job.stop_request.reason or time.monotonic() > deadline:
            break
        time.sleep(0.01)

train_run = run.train_run
run.train_run = lambda ctx, request, *rest: train_run(ctx, replace(request, before_epoch=wait), *rest)
cli.main()
"""


def options(ranks: int, name: str | None = None, cores: int = 1) -> list[str]:
    """What a small cluster needs."""
    return [f"--ntasks={ranks}", f"--cpus-per-task={cores}", *([f"--job-name={name}"] if name else [])]


def outcome(folder: Path) -> tuple[list[dict[str, float]], dict[str, bytes]]:
    """What a run came to: its epochs, times aside, and every array of its network."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    epochs = [{name: value for name, value in line.items() if name not in CLOCK_FIELDS} for line in lines]
    arrays: dict[str, bytes] = {}
    with h5py.File(max((folder / "checkpoints").glob("checkpoint-*.h5"))) as file:
        file["layers"].visititems(
            lambda name, item: arrays.update({name: item[:].tobytes()}) if isinstance(item, h5py.Dataset) else None
        )
    assert epochs
    assert arrays
    return epochs, arrays


def output(folder: Path, number: str) -> str:
    """What a job, started in a folder, has printed."""
    (path,) = folder.glob(f"slurm-*-{number}.out")
    return path.read_text()


@pytest.fixture
def stand_in(tmp_path: Path, slurm) -> Callable[..., dict[str, str]]:
    """Put a program in the place of ``hpc-sparse`` that ends, start by start, with the given codes."""

    def make(*codes: object) -> dict[str, str]:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "hpc-sparse").write_text(STAND_IN)
        (folder / "hpc-sparse").chmod(0o755)
        (tmp_path / "codes.txt").write_text("".join(f"{code}\n" for code in codes))
        return {"PATH": f"{folder}:{slurm.environment['PATH']}", "CODES": str(tmp_path / "codes.txt")}

    return make


@pytest.mark.parametrize(
    ("started", "ranks"),
    [
        (("--ntasks=2", "--cpus-per-task=1"), ["cores 0, 1 thread", "cores 1, 1 thread"]),
        (("--ntasks=1", "--cpus-per-task=2"), ["cores 0,1, 2 threads"]),
        (("--ntasks=2", "--cpus-per-task=1", "--cpu-bind=none"), ["cores 0,1, 1 thread"] * 2),
    ],
)
def test_a_rank_under_srun_computes_with_the_cores_that_slurm_gave_it(slurm, tmp_path, started, ranks):
    report = json.loads(
        slurm.command("srun", "--quiet", "--mpi=pmix", *started, "hpc-sparse", "check", "--json", cwd=tmp_path)
    )
    assert [line.split(": ")[1] for line in report["ranks"]] == ranks
    assert report["mpi"].startswith("Open MPI")


def test_ranks_that_srun_started_without_mpi_do_not_train_beside_each_other(slurm, tmp_path):
    result = slurm.run("srun", "--mpi=none", "--ntasks=2", "hpc-sparse", "check", cwd=tmp_path)
    assert result.returncode == 2
    assert "srun started 2 tasks that do not know each other" in result.stdout
    assert "--mpi=pmix" in result.stdout


def test_two_ranks_under_srun_and_mpirun_train_bit_by_bit_as_outside(slurm, workplace, run):
    jobs = {
        script: slurm.submit(script, "run.toml", cwd=workplace, options=options(2, name=script)) for script in LAUNCHERS
    }
    for script, number in jobs.items():
        assert slurm.wait(number).state == "COMPLETED", output(workplace, number)
        assert json.loads((workplace / "runs" / script / "summary.json").read_text())["n_ranks"] == 2
    run("train", "run.toml", "--output", "outside", cwd=workplace, ranks=2)
    for script in jobs:
        assert outcome(workplace / "runs" / script) == outcome(workplace / "outside")


def test_an_array_trains_one_run_per_seed_bit_by_bit_as_outside(slurm, workplace, run):
    number = slurm.submit("seeds.sbatch", "run.toml", cwd=workplace, options=["--array=0-1", *options(1)])
    for seed in (0, 1):
        assert slurm.wait(f"{number}_{seed}").state == "COMPLETED", output(workplace, f"{number}_{seed}")
    folders = [workplace / "runs" / f"run-{number}" / f"seed-{seed}" for seed in (0, 1)]
    for seed, folder in enumerate(folders):
        assert tomllib.loads((folder / "config.toml").read_text())["training"]["seed"] == seed
    run("train", "run.toml", "--output", "outside", cwd=workplace, ranks=1)
    assert outcome(folders[0]) == outcome(workplace / "outside")
    assert outcome(folders[1]) != outcome(workplace / "outside")


def test_a_run_that_fails_gives_the_job_its_message_and_exit_code(slurm, workplace):
    wrong = ("run.toml", "--set", "training.epochs=0")
    numbers = [slurm.submit(script, *wrong, cwd=workplace, options=options(1)) for script in LAUNCHERS]
    for number in numbers:
        job = slurm.wait(number)
        assert (job.state, job.exit_code, job.n_restarts) == ("FAILED", 2, 0)
        assert "training.epochs = 0" in output(workplace, number)


def test_a_job_without_a_configuration_says_how_to_submit_it(slurm, tmp_path):
    numbers = {script: slurm.submit(script, cwd=tmp_path, options=options(1)) for script in LAUNCHERS}
    numbers["seeds.sbatch"] = slurm.submit("seeds.sbatch", cwd=tmp_path, options=["--array=7", *options(1)]) + "_7"
    for script, number in numbers.items():
        job = slurm.wait(number)
        assert (job.state, job.exit_code) == ("FAILED", 2)
        assert f"usage: sbatch jobs/{script} CONFIG.toml" in output(tmp_path, number)


def test_a_run_that_is_warned_before_the_end_of_its_time_goes_on_in_its_folder(slurm, tmp_path, stand_in):
    environment = stand_in("wait", 0)
    numbers = []
    # Two ranks each, so that the jobs take turns; both wait to be restarted at the same time.
    for script in LAUNCHERS:
        (tmp_path / script).mkdir()
        numbers.append(
            slurm.submit(script, "a.toml", "--set", "x y=1", cwd=tmp_path / script, options=options(2), **environment)
        )
        wait_for_lines(tmp_path / script / "starts.txt", 2)
        slurm.command("scancel", "--batch", "--signal=USR1", numbers[-1])
    for script, number in zip(LAUNCHERS, numbers, strict=True):
        job = slurm.wait(number)
        assert (job.state, job.exit_code, job.n_restarts) == ("COMPLETED", 0, 1), output(tmp_path / script, number)
        assert (tmp_path / script / "signals.txt").read_text().splitlines() == ["USR1"] * 2
        starts = (tmp_path / script / "starts.txt").read_text().splitlines()
        arguments = f"train --output runs/a-{number} --resume auto --progress lines a.toml --set x y=1"
        assert sorted(starts) == [f"{rank} {arguments}" for rank in (0, 0, 1, 1)]


def test_a_job_that_never_gets_on_does_not_restart_for_ever(slurm, tmp_path, stand_in):
    once = {"HPC_SPARSE_MAX_RESTARTS": "1", **stand_in(STOPPED, STOPPED, 0)}
    number = slurm.submit("train.sbatch", "a.toml", cwd=tmp_path, options=options(1, name="named"), **once)
    job = slurm.wait(number)
    assert (job.state, job.exit_code, job.n_restarts) == ("FAILED", STOPPED, 1)
    said = output(tmp_path, number)
    assert "named: back in the queue" in said
    assert "named: stopped after 1 restarts; submit it again to go on" in said
    assert (tmp_path / "starts.txt").read_text().count("--output runs/named ") == 2


@pytest.mark.parametrize("script", LAUNCHERS)
def test_a_cancelled_job_does_not_start_again(slurm, tmp_path, stand_in, script):
    number = slurm.submit(script, "a.toml", cwd=tmp_path, options=options(2), **stand_in("wait", 0))
    wait_for_lines(tmp_path / "starts.txt", 2)
    slurm.command("scancel", number)
    job = slurm.wait(number)
    assert (job.state, job.n_restarts) == ("CANCELLED", 0)
    assert "TERM" in (tmp_path / "signals.txt").read_text()
    assert "back in the queue" not in output(tmp_path, number)


def test_a_cancelled_run_goes_on_from_its_newest_checkpoint(slurm, workplace, run):
    def submit(n_epochs: int) -> str:
        epochs = ("--set", f"training.epochs={n_epochs}")
        return slurm.submit("train.sbatch", "run.toml", *epochs, cwd=workplace, options=options(2, name="run"))

    folder = workplace / "runs/run"
    number = submit(LARGE)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(list((folder / "checkpoints").glob("checkpoint-*.h5"))) < 2:
        assert slurm.job(number).state in {"PENDING", "CONFIGURING", "RUNNING"}, output(workplace, number)
        assert time.monotonic() < deadline, output(workplace, number)
        time.sleep(0.2)
    slurm.command("scancel", number)
    assert slurm.wait(number).state == "CANCELLED"
    slurm.wait_until_idle()
    newest = max((folder / "checkpoints").glob("checkpoint-*.h5"))
    n_epochs = json.loads(run("info", newest, "--json", cwd=workplace).stdout)["epoch"] + 1
    assert n_epochs < LARGE
    number = submit(n_epochs)
    assert slurm.wait(number).state == "COMPLETED", output(workplace, number)
    at_once = ("--set", f"training.epochs={n_epochs}", "--set", f"checkpoint.every_epochs={n_epochs}")
    run("train", "run.toml", *at_once, "--output", "whole", cwd=workplace, ranks=2)
    assert outcome(folder) == outcome(workplace / "whole")


def test_a_run_stopped_before_the_end_of_its_time_ends_bit_by_bit_as_the_undisturbed_one(slurm, workplace, run):
    # A checkpoint only at the stop, before which the run cannot be over.
    settings = ("--set", "training.epochs=8", "--set", "checkpoint.every_epochs=8")
    (workplace / "bin").mkdir()
    (workplace / "bin" / "hpc-sparse").write_text(AWAITS_ITS_STOP)
    (workplace / "bin" / "hpc-sparse").chmod(0o755)
    path = {"PATH": f"{workplace / 'bin'}:{slurm.environment['PATH']}"}
    number = slurm.submit("train.sbatch", "run.toml", *settings, cwd=workplace, options=options(2, name="run"), **path)
    wait_for_lines(workplace / "runs/run/metrics.jsonl", 2)
    # What SLURM sends two minutes before the end of the time.
    slurm.command("scancel", "--batch", "--signal=USR1", number)
    job = slurm.wait(number)
    assert (job.state, job.n_restarts) == ("COMPLETED", 1), output(workplace, number)
    assert "SIGUSR1" in output(workplace, number)
    assert "resumed" in output(workplace, number)
    run("train", "run.toml", *settings, "--output", "whole", cwd=workplace, ranks=2)
    assert outcome(workplace / "runs/run") == outcome(workplace / "whole")


def wait_for_lines(file: Path, n_lines: int) -> None:
    """Wait until as many ranks have started."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not file.exists() or file.read_text().count("\n") < n_lines:
        assert time.monotonic() < deadline, file
        time.sleep(0.05)
