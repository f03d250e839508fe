"""A graph whose nodes are classified: features diffused over the edges, in front of a sparse network.

Each step is also a command, which is named beside it. Takes a few seconds.
"""

# %% What is needed
import tempfile
from pathlib import Path

import numpy as np

from hpc_sparse.importers.graphs.importing import import_graph
from hpc_sparse.importers.graphs.opening import open_graph
from hpc_sparse.importers.graphs.options import Diffusion, GraphOptions
from hpc_sparse.monitor.reporter import LineReporter
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run

folder, alone = Path(tempfile.mkdtemp(prefix="hpc_sparse-")), ParallelContext.serial(threads=1)

# %% A graph: 900 nodes in three groups, most of whose edges stay within them; features that tell little
rng = np.random.default_rng(0)
label = rng.integers(0, 3, 900)
ends = rng.integers(0, 900, (20_000, 2))
ends = ends[(label[ends[:, 0]] == label[ends[:, 1]]) | (rng.random(len(ends)) < 0.05)]
features = np.eye(3, 10)[label] + 1.5 * rng.standard_normal((900, 10))
np.savez(folder / "graph.npz", edges=ends, x=features, label=label)

# %% The data set: features of each node and of what is up to two edges away
# hpc-sparse data import graph graph.npz graph.h5 --hops 2 --split random
source = open_graph(folder / "graph.npz")
options = GraphOptions(Diffusion(hops=2), split="random")
info = import_graph(alone, source, folder / "graph.h5", "three groups", options)
print(f"{info.title}: {info.n_train} + {info.n_test} nodes, {info.n_features} features over 3 hops")

# %% A diffusion-convolutional network
# hpc-sparse train graph.toml --output run
config = folder / "graph.toml"
config.write_text(
    """
    data.path = "graph.h5"
    training = { epochs = 20, batch_size = 32, loss = "hinge", optimizer = "adagrad" }
    optimizer.learning_rate = 0.05
    [[network.layers]]
    n = 30
    kind = "tanh"
    connections = "diagonal"
    dropout = 0.2
    """,
    encoding="utf-8",
)
summary = train_run(alone, RunRequest(config, (), folder / "run"), LineReporter())
print(f"result: accuracy {100 * summary['test_accuracy']:.1f}%")
