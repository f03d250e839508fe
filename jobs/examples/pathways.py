"""A first layer from a file: genes belong to pathways, and each neuron hears those of one pathway alone.

The data are synthetic, and so are the names: of 40 made-up pathways, three tell the class of a sample. The strongest
neurons of the trained network find them. Each step is also a command. Needs pandas; takes a few seconds.
"""

# %% What is needed
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from hpc_sparse import SparseMLPClassifier, load_model
from hpc_sparse.monitor.reporter import LineReporter
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run
from hpc_sparse.storage.checkpoint.folder import newest_checkpoint
from hpc_sparse.storage.dataset.samples import DenseFeatures, Samples
from hpc_sparse.storage.dataset.writer import write_dataset

folder = Path(tempfile.mkdtemp(prefix="hpc_sparse-"))
rng = np.random.default_rng(0)

# %% Synthetic genes and pathways: 300 genes, each in one or two of 40 pathways
genes = [f"gene_{number}" for number in range(300)]
pathways = [f"pathway_{number}" for number in range(40)]
members = pd.DataFrame(
    [(gene, pathway) for gene in genes for pathway in rng.choice(pathways, rng.integers(1, 3), replace=False)],
    columns=["feature", "group"],
)
members.to_csv(folder / "pathways.csv", index=False)
groups = list(dict.fromkeys(members["group"]))  # the order of the neurons

# %% Synthetic samples: a pathway is more or less active, and its genes with it; three pathways tell the class
n_samples, telling = 4000, ["pathway_3", "pathway_17", "pathway_29"]
activity = pd.DataFrame(rng.normal(size=(n_samples, len(pathways))), columns=pathways)
belongs = pd.crosstab(members["feature"], members["group"]).loc[genes, pathways].to_numpy(float)
X = (activity.to_numpy() @ belongs.T + rng.normal(size=(n_samples, len(genes)))).astype(np.float32)
y = (activity[telling].sum(axis=1) > 0).to_numpy(np.int32)

# %% The data set, with the names of the genes
# hpc-sparse data import csv genes.csv genes.h5 --label class
parts = Samples(DenseFeatures(X[:3000]), y[:3000]), Samples(DenseFeatures(X[3000:]), y[3000:])
write_dataset(folder / "genes.h5", *parts, title="synthetic genes", class_names=["low", "high"], feature_names=genes)

# %% A run whose first layer has the pairs of the file, and keeps them
# hpc-sparse train pathways.toml --output run
config = folder / "pathways.toml"
config.write_text(
    f"""
    data.path = "genes.h5"
    training = {{ epochs = 20, batch_size = 32 }}
    optimizer = {{ learning_rate = 0.02, weight_decay = 0.05 }}
    evolution.strategy = "static"
    [network]
    hidden = [{len(groups)}, 16]
    initial_topology = "file:pathways.csv"
    density = 0.5
    dropout = 0.1
    """,
    encoding="utf-8",
)
summary = train_run(ParallelContext.serial(threads=1), RunRequest(config, output=folder / "run"), LineReporter())
print(summary["topology_files"][0])

# %% The pathways that the network listens to: sums of the absolute weights from their neurons
checkpoint = newest_checkpoint(folder / "run" / "checkpoints")
assert checkpoint is not None
_, second, _ = load_model(checkpoint).network.incoming()
strength = pd.Series(second.outgoing_strength(), index=groups).sort_values(ascending=False)
print(strength.head(5).round(2).to_string())

# %% The same by an estimator, which knows the genes by the columns of the data frame
model = SparseMLPClassifier(
    (len(groups), 16), initial_topology=f"file:{folder / 'pathways.csv'}", density=0.5, evolution="static",
    epochs=20, random_state=0, n_jobs=1,
)  # fmt: skip
model.fit(pd.DataFrame(X[:3000], columns=genes), y[:3000])
print(f"estimator: {model.score(pd.DataFrame(X[3000:], columns=genes), y[3000:]):.1%}")

n_found = len(set(strength.index[:5]) & set(telling))
print(f"result: accuracy {summary['test_accuracy']:.1%}; {n_found} of 3 telling pathways are among the 5 strongest")
