"""A replica that is not what the others are ends the job, with a message that names it, before anything is written."""

from __future__ import annotations

import sys

import pytest

DRIVER = """
import sys
import numpy as np
from hpc_sparse.cli import app as cli
from hpc_sparse.parallel import local_sgd

average = local_sgd.average_arrays
n_syncs = 0

def average_arrays(ctx, arrays, *rest, **named):
    global n_syncs
    n_bytes = average(ctx, arrays, *rest, **named)
    n_syncs += 1
    if ctx.rank == 1 and n_syncs == {sync}:
        arrays[4].view(np.uint32)[2] ^= np.uint32(1)
    return n_bytes

local_sgd.average_arrays = average_arrays
sys.argv = ["hpc-sparse", "train", "run.toml", "--output", "run", "--set", "parallel.sync_every_steps=3"]
cli.main()
"""


# The second sync is within the first epoch; on three ranks the third is the last of it.
@pytest.mark.parametrize(("ranks", "sync"), [(2, 2), (3, 3)])
def test_a_flipped_bit_of_one_replica_ends_the_job(workplace, run, ranks, sync):
    driver = DRIVER.format(sync=sync)
    result = run("-c", driver, command=(sys.executable,), cwd=workplace, ranks=ranks, code=3)
    others = {2: "rank 0", 3: "rank 0, 2"}[ranks]
    assert f"the replicas differ after a sync, first in the weight of layer 1: {others}: " in result.stderr
    assert "; rank 1: " in result.stderr
    assert not list((workplace / "run/checkpoints").glob("*.h5"))
