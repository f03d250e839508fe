"""A small problem, undisturbed runs of it, and run folders that have half of it behind them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from faulting.plan import TRIAL_VARIABLE
from faulting.traces import newest_checkpoint

ROOT = Path(__file__).resolve().parents[2]
HPC_SPARSE = (str(Path(sys.executable).with_name("hpc-sparse")),)
BROKEN = (sys.executable, str(ROOT / "tools" / "faults"), "launch")
N_FEATURES, N_CLASSES, N_TRAIN, N_TEST = 30, 3, 331, 97
EPOCHS, EPOCHS_BEFORE = 5, 2
REFERENCE_SECONDS = 300

CONFIG = f"""
[data]
path = "data.h5"
[network]
hidden = [24, 17]
epsilon = 4
dropout = 0.1
[training]
epochs = {EPOCHS}
batch_size = 16
[optimizer]
learning_rate = 0.02
[parallel]
sync_every_steps = 2
phase2_share = 0.25
[checkpoint]
every_epochs = 1
keep_last = 9
[runtime]
threads = 1
oversubscribe = true
"""


@dataclass(frozen=True)
class Start:
    """Settings of a run's start.

    Attributes
    ----------
    ranks : int
    strategy, hdf5 : str
    is_under_mpirun : bool
    settings : tuple of str
        Further ones, ``section.key=value`` each.
    """

    ranks: int
    strategy: str = "local_sgd"
    hdf5: str = "auto"
    is_under_mpirun: bool = True
    settings: tuple[str, ...] = ()

    def line(self, program: tuple[str, ...], output: Path) -> list[str]:
        """The command that trains into ``output``, or goes on there."""
        settings = (f"parallel.algorithm={self.strategy}", f"runtime.hdf5={self.hdf5}", *self.settings)
        options = [word for setting in settings for word in ("--set", setting)]
        command = [*program, "train", "run.toml", "--output", str(output), "--resume", "auto", *options]
        if not self.is_under_mpirun:
            return command
        return ["bash", "-c", f'. "{ROOT}/jobs/openmpi.sh" && exec mpirun -n {self.ranks} "$@"', "bash", *command]


class Workplace:
    """A folder with the problem and its undisturbed runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "run.toml").write_text(CONFIG)
        if not (self.folder / "data.h5").exists():
            self._write_data()

    def launch(
        self, line: list[str], log: Path, trial: str, variables: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command; its output goes to ``log`` and ``log`` with ``.err``."""
        with log.open("wb") as out, log.with_suffix(".err").open("wb") as err:
            return subprocess.Popen(
                line,
                cwd=self.folder,
                env={**os.environ, TRIAL_VARIABLE: trial, "NUMBA_NUM_THREADS": "1", **(variables or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def reference(self, start: Start) -> Path:
        """The folder of the undisturbed run that ``start`` describes; it is done once."""
        changed = [setting for setting in start.settings if not setting.startswith("runtime.")]
        name = "-".join([start.strategy, str(start.ranks), *changed])
        folder = self.folder / "whole" / name
        if not (folder / "summary.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.parent.mkdir(exist_ok=True)
            log = self.folder / "whole" / f"{name}.log"
            process = self.launch(start.line(HPC_SPARSE, folder), log, name)
            if process.wait(timeout=REFERENCE_SECONDS):
                raise RuntimeError(f"the undisturbed run failed: {log.with_suffix('.err').read_text()}")
        return folder

    def half_done(self, start: Start, folder: Path) -> None:
        """Make a run folder that has the first epochs of the undisturbed run behind it."""
        whole = self.reference(start)
        (folder / "checkpoints").mkdir(parents=True)
        for epoch in range(1, EPOCHS_BEFORE + 1):
            shutil.copy(whole / f"checkpoints/checkpoint-{epoch:06d}.h5", folder / "checkpoints")
        shutil.copy(whole / "config.toml", folder)
        lines = (whole / "metrics.jsonl").read_text().splitlines(keepends=True)
        (folder / "metrics.jsonl").write_text("".join(lines[:EPOCHS_BEFORE]))

    def _write_data(self) -> None:
        from hpc_sparse.storage.dataset.writer import write_dataset

        centres = np.random.default_rng(1).normal(size=(N_CLASSES, N_FEATURES))
        names = [f"class {number}" for number in range(N_CLASSES)]
        parts = (_samples(centres, N_TRAIN, seed=2), _samples(centres, N_TEST, seed=3))
        write_dataset(self.folder / "data.h5", *parts, title="small", class_names=names)


def _samples(centres: np.ndarray, n_samples: int, seed: int):
    from hpc_sparse.storage.dataset.samples import DenseFeatures, Samples

    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(centres), n_samples).astype(np.int32)
    values = centres[labels] + 0.7 * rng.normal(size=(n_samples, centres.shape[1]))
    return Samples(DenseFeatures(values.astype(np.float32)), labels)


def result_of(folder: Path) -> dict[str, object]:
    """Result of a finished run without its times: every array of its last checkpoint, and its metrics."""
    from hpc_sparse.monitor.metrics import CLOCK_FIELDS

    # Bytes, as topologies are sent anew after a stop.
    not_compared = CLOCK_FIELDS | {"sync_bytes"}
    newest = newest_checkpoint(folder)
    assert newest is not None, folder
    found: dict[str, object] = {"checkpoint": newest.name}

    def take(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and name not in {"config", "metrics/values"}:
            found[name] = item[()].tobytes()

    with h5py.File(newest, "r") as file:
        file.visititems(take)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    found["metrics"] = [{key: value for key, value in line.items() if key not in not_compared} for line in lines]
    return found


def differences(folder: Path, whole: Path) -> list[str]:
    """Names of the parts in which the results of two runs differ by a bit."""
    found, expected = result_of(folder), result_of(whole)
    return [name for name in sorted({*found, *expected}) if found.get(name) != expected.get(name)]
