"""Faults of a process, of its disk and of its numbers."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from faulting.plan import FaultPlan
from faulting.traces import digest, newest_checkpoint

BALLAST_BLOCK = 64 * 1024
LARGEST_FILE = 8192
"""Largest file in bytes where no small disk may be mounted: room for messages, not for checkpoints."""
GONE_SUFFIX = ".gone"


Action = Callable[[FaultPlan, Sequence[Any]], None]
"""Gets the arguments of the call at which the fault happens."""


class InjectedFaultError(Exception):
    """A rank raises something that nobody expects."""


def act(plan: FaultPlan, arguments: Sequence[Any]) -> None:
    """Note that the fault happens now, then let it."""
    note(plan)
    ACTIONS[plan.action](plan, arguments)


def note(plan: FaultPlan) -> None:
    """Write down when the fault happened, and which checkpoint must outlive it."""
    newest = newest_checkpoint(plan.run_folder)
    found = {
        "time": time.time(),
        "newest": None if newest is None else newest.name,
        "digest": None if newest is None else digest(newest),
    }
    written = plan.notes.with_name(plan.notes.name + ".tmp")
    written.write_text(json.dumps(found))
    written.replace(plan.notes)


def _raise(_plan: FaultPlan, _arguments: Sequence[Any]) -> None:
    raise InjectedFaultError("injected")


def _signal_self(number: signal.Signals) -> Action:
    return lambda _plan, _arguments: os.kill(os.getpid(), number)


def _signal_launcher(number: signal.Signals) -> Action:
    return lambda _plan, _arguments: os.kill(os.getppid(), number)


def _fill_disk(plan: FaultPlan, _arguments: Sequence[Any]) -> None:
    if plan.ballast is None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, resource.RLIM_INFINITY))
        return
    block = bytes(BALLAST_BLOCK)
    with plan.ballast.open("wb", buffering=0) as file:
        while block:
            try:
                file.write(block)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                block = block[: len(block) // 2]


def _rename_folder(plan: FaultPlan, _arguments: Sequence[Any]) -> None:
    plan.run_folder.rename(gone(plan.run_folder))


def _remove_folder(plan: FaultPlan, _arguments: Sequence[Any]) -> None:
    shutil.rmtree(plan.run_folder)


def _spoil_weight(value: float) -> Action:
    def spoil(_plan: FaultPlan, arguments: Sequence[Any]) -> None:
        owner = arguments[0]
        owner = getattr(getattr(owner, "_job", owner), "replica", owner)
        network = getattr(owner, "network", owner)
        network.layers[0].weight[0] = value

    return spoil


def gone(folder: Path) -> Path:
    """New path of a folder that was renamed away."""
    return folder.with_name(folder.name + GONE_SUFFIX)


ACTIONS: dict[str, Action] = {
    "raise": _raise,
    "kill": _signal_self(signal.SIGKILL),
    "stop": _signal_self(signal.SIGSTOP),
    "SIGTERM to a rank": _signal_self(signal.SIGTERM),
    "SIGUSR1 to a rank": _signal_self(signal.SIGUSR1),
    "SIGINT to a rank": _signal_self(signal.SIGINT),
    "SIGTERM to mpirun": _signal_launcher(signal.SIGTERM),
    "SIGUSR1 to mpirun": _signal_launcher(signal.SIGUSR1),
    "SIGINT to mpirun": _signal_launcher(signal.SIGINT),
    "disk full": _fill_disk,
    "folder renamed": _rename_folder,
    "folder removed": _remove_folder,
    "learning rate 1e30": lambda _plan, _arguments: None,  # comes with the settings
    "not a number": _spoil_weight(float("nan")),
    "infinity": _spoil_weight(float("inf")),
}
