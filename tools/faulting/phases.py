"""Phases of a run, each with the function at whose call a fault happens.

The package itself knows nothing of faults; its functions are wrapped from outside, in the process of one rank.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any

PHASES = {
    "start-up": "hpc_sparse.cli.guard:start_mpi",
    "import": "hpc_sparse.runs.run",
    "planning": "hpc_sparse.runs.run:make_plan",
    "loading": "hpc_sparse.runs.run:load_dataset",
    "resuming": "hpc_sparse.runs.run:starting_point",
    "warm-up": "hpc_sparse.runs.run:warm_up",
    "step": "hpc_sparse.network.replica:Replica.train_batch",
    "sync": "hpc_sparse.parallel.averaging:all_reduce_sum",
    "average": "hpc_sparse.parallel.local_sgd:LocalSgd.sync",
    "evolution": "hpc_sparse.evolution.strategies.set:SetUpdater.update",
    "evaluation": "hpc_sparse.training.evaluation:Evaluation.advance",
    "record": "hpc_sparse.runs.folder:RunFolder.append",
    "checkpoint": "hpc_sparse.storage.container.writer:ContainerWriter.write",
    "closing": "hpc_sparse.storage.container.writer:ContainerWriter.finish",
    "publishing": "hpc_sparse.storage.container.file:_sync_to_disk",
    "pruning files": "hpc_sparse.runs.run:prune_checkpoints",
    "gradient": "hpc_sparse.network.network:Network.gradient_batch",
    "sending": "hpc_sparse.parallel.gradient_exchange:WorkerEnd.send",
    "update": "hpc_sparse.training.served.parameters:ServedParameters.descend",
    "reply": "hpc_sparse.parallel.gradient_exchange:ServerEnd.reply",
    "phase 2": "hpc_sparse.training.served.phase_two_trainer:PhaseTwoTrainer._average_networks",
    "summary": "hpc_sparse.runs.folder:RunFolder.write_summary",
}
"""``module:attribute`` to wrap, or a module at whose import the fault happens."""

ALSO_IN_WARM_UP = {"step", "sync", "average", "evolution", "evaluation", "gradient", "update"}
"""Phases whose function the tiny network of the warm-up calls, too: calls count from the run's own network on."""


def arm(phase: str, call: int, act: Callable[[Sequence[Any]], None]) -> None:
    """Have ``act`` called, with the arguments, just before the function of a phase is called for the ``call``-th time.

    Raises
    ------
    AttributeError, ModuleNotFoundError
        The function is not where :data:`PHASES` says.
    """
    module, _, path = PHASES[phase].partition(":")
    if not path:
        sys.meta_path.insert(0, _ImportTrap(module, act))
        return
    warm_up = _WarmUp()
    if phase in ALSO_IN_WARM_UP:
        _wrap(PHASES["warm-up"], warm_up.noticed)
    _wrap(PHASES[phase], lambda function: _wrapped(function, call, act, warm_up))


def _wrap(place: str, wrapped: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    owner = functools.reduce(getattr, owners, importlib.import_module(module))
    setattr(owner, name, wrapped(getattr(owner, name)))


class _WarmUp:
    """Whether a run is preparing its kernels."""

    is_on = False

    def noticed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that does the warm-up, wrapped."""

        @functools.wraps(function)
        def watched(*arguments: Any, **named: Any) -> Any:
            self.is_on = True
            try:
                return function(*arguments, **named)
            finally:
                self.is_on = False

        return watched


def _wrapped(
    function: Callable[..., Any], call: int, act: Callable[[Sequence[Any]], None], warm_up: _WarmUp
) -> Callable[..., Any]:
    n_calls = 0

    @functools.wraps(function)
    def watched(*arguments: Any, **named: Any) -> Any:
        nonlocal n_calls
        n_calls += not warm_up.is_on
        if n_calls == call:
            act(arguments)
        return function(*arguments, **named)

    return watched


class _ImportTrap(MetaPathFinder):
    """Acts when one module is about to be imported, and finds nothing."""

    def __init__(self, module: str, act: Callable[[Sequence[Any]], None]) -> None:
        self._module, self._act = module, act

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:  # noqa: ARG002
        """Look at a module's name."""
        if fullname == self._module:
            self._act(())
