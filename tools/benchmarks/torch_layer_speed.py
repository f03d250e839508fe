"""Time and memory of a training step of one layer in PyTorch: ours beside dense, masked and other sparse layers."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

from benchmarks import report
from benchmarks.timing import Measured, interleave

OURS, CONVERSIONS = "hpc_sparse", "conversions"
NAMES = (OURS, "nn.Linear", "nn.Linear, masked", "sparselab", "sparseprop", CONVERSIONS)


class LayerProcess:
    """A process that trains one layer when it is told to."""

    def __init__(self, name: str, width: int, density: float, batch: int, n_threads: int) -> None:
        numbers = [str(number) for number in (width, density, batch, n_threads)]
        settings = {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": str(n_threads)}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "benchmarks.layer_process", name, *numbers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | settings,
        )

    def ask(self, line: object) -> list[float]:
        """The answer to a line.

        Raises
        ------
        ImportError
            The process has ended: its library is missing or refuses.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            print(line, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            _, said = self._process.communicate()
            raise ImportError((said.strip().splitlines() or ["no answer"])[-1])
        return [float(number) for number in answer.split()]

    def stop(self) -> None:
        """End it."""
        self._process.communicate()


def measure_layers(
    width: int, densities: tuple[float, ...], batch: int, n_threads: int, n_rounds: int, n_steps: int, *, as_json: bool
) -> None:
    """Print milliseconds and megabytes of a step (forward, backward, AdamW) of a square layer of each kind."""
    rows, notes, busy = list[dict[str, object]](), list[str](), [os.getloadavg()[0]]
    for density in densities:
        processes, failed = _start(width, density, batch, n_threads)
        notes += [f"left out at density {density:g}: {name} ({reason})" for name, reason in failed.items()]
        cases = {name: partial(_steps, process, n_steps) for name, process in processes.items()}
        timings = {name: timing.scaled(1 / n_steps) for name, timing in interleave(cases, n_rounds).items()}
        for name, timing in timings.items():
            most, stays = (number / 2**20 for number in processes[name].ask("memory"))
            is_layer = name != CONVERSIONS
            rows.append(
                {
                    "density": f"{density:g}",
                    "layer": name if is_layer else f"{OURS}: rows to tiles and back, of its step",
                    "step, ms": str(timing.scaled(1e3)),
                    "times ours": f"{timing.median / timings[OURS].median:.2f}",
                    "most MB": f"{most:.0f}" if is_layer else "",
                    "MB after steps": f"{stays:.0f}" if is_layer else "",
                }
            )
            processes[name].stop()
    busy.append(os.getloadavg()[0])
    notes += [
        f"median (least - most) of {n_rounds} rounds of {n_steps} steps, interleaved; a process for each layer",
        "a step: forward, backward by inputs, weights and bias, AdamW; memory: beyond that of the process before",
        f"load of the machine before and after: {busy[0]:.1f}, {busy[1]:.1f} (idle: at most about {n_threads})",
    ]
    report.show(f"{width:,} x {width:,}, batch {batch}, {n_threads} threads", rows, notes, as_json=as_json)


def _steps(process: LayerProcess, n_steps: int) -> Measured:
    return Measured(process.ask(n_steps)[0])


def _start(
    width: int, density: float, batch: int, n_threads: int
) -> tuple[dict[str, LayerProcess], dict[str, ImportError]]:
    """Those that run, one after the other, and why others do not."""
    processes, failed = dict[str, LayerProcess](), dict[str, ImportError]()
    for name in NAMES:
        process = LayerProcess(name, width, density, batch, n_threads)
        try:
            process.ask(1)
        except ImportError as error:
            failed[name] = error
        else:
            processes[name] = process
    return processes, failed
