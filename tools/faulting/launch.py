"""``hpc-sparse`` with a fault that happens in one of its ranks; started by :mod:`faulting.trial` under mpirun."""

from __future__ import annotations

import faulthandler
import functools
import os
import signal
import sys
from collections.abc import Sequence

from faulting.actions import act
from faulting.phases import arm
from faulting.plan import PLAN_VARIABLE, FaultPlan
from hpc_sparse.cli.app import main
from hpc_sparse.parallel.context import launched_rank


def launch(arguments: Sequence[str]) -> None:
    """Run the command with these arguments, and with the fault that the environment asks for."""
    # So that a hang can be asked where it is.
    faulthandler.register(signal.SIGUSR2, all_threads=True)
    plan = FaultPlan.from_json(os.environ[PLAN_VARIABLE])
    if (launched_rank() or 0) == plan.rank:
        arm(plan.phase, plan.call, functools.partial(act, plan))
    sys.argv = ["hpc-sparse", *arguments]
    main()
