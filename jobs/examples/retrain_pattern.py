"""A dense network keeps two of each four inputs of its hidden neurons (pattern 2:4) and is trained again from there.

Needs the extra `sklearn`; takes a few seconds.
"""

# %% What is needed
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from hpc_sparse.importers.arrays.npz import import_npz
from hpc_sparse.models.pattern_pruning import PatternRequest, prune_to_pattern
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run

folder, ctx = Path(tempfile.mkdtemp(prefix="hpc_sparse-")), ParallelContext.serial()

# %% Handwritten digits, and the settings of both trainings
X_train, X_test, y_train, y_test = train_test_split(*load_digits(return_X_y=True), test_size=0.2, random_state=0)
np.savez(folder / "digits.npz", x_train=X_train, y_train=y_train, x_test=X_test, y_test=y_test)
import_npz(folder / "digits.npz", folder / "digits.h5")
config = folder / "digits.toml"
config.write_text(
    """
    data.path = "digits.h5"
    network = { hidden = [128, 128], density = 1.0, activation = "relu", dropout = 0.2 }
    training = { epochs = 15, batch_size = 32 }
    optimizer.learning_rate = 0.05
    evolution.strategy = "static"
    """
)

# %% A dense network: hpc-sparse train digits.toml
dense = train_run(ctx, RunRequest(config, output=folder / "dense"), SilentReporter())
print(f"dense:  accuracy {dense['test_accuracy']:.1%}, {dense['n_connections']:,} connections")

# %% Pruned once: hpc-sparse model prune-pattern dense.h5 2:4 --permute channel_swap --output pruned.h5
checkpoint = folder / "dense" / "checkpoints" / "checkpoint-000015.h5"
request = PatternRequest(checkpoint, "2:4", folder / "pruned.h5", folder / "digits.h5", "channel_swap")
pruned = prune_to_pattern(ctx, request)["sizes"][1]
print(f"pruned: accuracy {pruned['test_accuracy']:.1%}, {pruned['connections']:,} connections")

# %% Trained again: hpc-sparse train digits.toml --set network.connections=n_of_m --set network.pattern=2:4 --resume ...
pattern = ("network.connections=n_of_m", "network.pattern=2:4")
again = train_run(ctx, RunRequest(config, pattern, folder / "again", str(folder / "pruned.h5")), SilentReporter())
print(f"result: accuracy {again['test_accuracy']:.1%} with {again['n_connections']:,} connections")
