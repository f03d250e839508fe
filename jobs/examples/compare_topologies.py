"""Effect of evolution on the connections: distances between checkpoints, shared connections, degrees.

Needs the extra `sklearn` (for its data); takes a few seconds. The commands are `hpc-sparse analyze distance`, `overlap`
and `degrees`.
"""

# %% What is needed
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from hpc_sparse.analysis import fan_out_distribution, shared_connections, topology_distance
from hpc_sparse.analysis.checkpoints import read_one_topology
from hpc_sparse.importers.arrays.npz import import_npz
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run

folder = Path(tempfile.mkdtemp(prefix="hpc_sparse-"))

# %% Two runs that differ in the seed, and their networks after 1 and after 20 epochs
digits = load_digits()
np.savez(folder / "digits.npz", x=digits.data.astype(np.uint8), y=digits.target)
import_npz(folder / "digits.npz", folder / "digits.h5")
config = folder / "digits.toml"
config.write_text(
    """
    data.path = "digits.h5"
    network = { hidden = [100, 100], epsilon = 3, dropout = 0.1 }
    training = { epochs = 20, batch_size = 32 }
    checkpoint = { every_epochs = 1, keep_last = 20 }
    """
)
networks = {}
for seed in (1, 2):
    output = folder / f"seed-{seed}"
    request = RunRequest(config, overrides=(f"training.seed={seed}",), output=output)
    train_run(ParallelContext.serial(), request, SilentReporter())
    for epoch in (1, 20):
        network = read_one_topology(output / "checkpoints" / f"checkpoint-{epoch:06d}.h5")
        networks[seed, epoch] = network.topologies

# %% How far apart they are: 0 for the same up to the order of the neurons, 1 if nothing is shared
for first, second in (((1, 1), (1, 20)), ((1, 20), (2, 20))):
    distance = topology_distance(networks[first], networks[second])
    shared = shared_connections(networks[second], networks[first])
    names = " and ".join(f"seed {seed}, epoch {epoch:>2}" for seed, epoch in (first, second))
    print(f"{names}: distance {distance.mean:.2f}, {shared.overlap:.0%} of the connections in common")

# %% The pixels' outgoing connections, beside what chance would give
for epoch in (1, 20):
    found = fan_out_distribution(networks[1, epoch][0])
    spread = f"{found.smallest} to {found.largest}, deviation {found.deviation:.1f}"
    print(
        f"epoch {epoch:>2}: {found.mean:.1f} connections per pixel ({spread}; by chance {found.expected_deviation:.1f})"
    )
print(f"result: after 20 epochs the runs are {distance.mean:.2f} apart")
