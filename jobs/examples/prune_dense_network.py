"""A dense network of another program becomes a truly sparse one: its strongest connections stay and are trained on.

Weights of PyTorch and Keras come the same way as those of scikit-learn. Needs the extra `sklearn`; takes a few seconds.
"""

# %% What is needed
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import hpc_sparse
from hpc_sparse.importers.arrays.npz import import_npz
from hpc_sparse.interop.exchange import import_model
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run

folder = Path(tempfile.mkdtemp(prefix="hpc_sparse-"))

# %% Handwritten digits, and a dense network that has seen them 20 times
X_train, X_test, y_train, y_test = train_test_split(*load_digits(return_X_y=True), test_size=0.2, random_state=0)
scaler = StandardScaler().fit(X_train)
dense = MLPClassifier((200, 200), random_state=0)
for _ in range(20):
    dense.partial_fit(scaler.transform(X_train), y_train, classes=np.arange(10))
n_weights = sum(weight.size for weight in dense.coefs_)
print(f"dense:  accuracy {dense.score(scaler.transform(X_test), y_test):.1%}, {n_weights:,} connections")

# %% Its strongest connections as a checkpoint: hpc-sparse model import dense.npz sparse.h5 --config digits.toml
np.savez(folder / "digits.npz", x_train=X_train, y_train=y_train, x_test=X_test, y_test=y_test)
import_npz(folder / "digits.npz", folder / "digits.h5")
config = folder / "digits.toml"
config.write_text(
    """
    data.path = "digits.h5"
    network = { hidden = [200, 200], density = 0.05, activation = "relu", dropout = 0.0 }
    training = { epochs = 10, batch_size = 32 }
    optimizer.learning_rate = 0.05
    """
)
arrays = {f"weight_{layer}": weight for layer, weight in enumerate(dense.coefs_)}
arrays |= {f"bias_{layer}": bias for layer, bias in enumerate(dense.intercepts_)}
np.savez(folder / "dense.npz", mean=scaler.mean_, deviation=scaler.scale_, **arrays)
import_model(folder / "dense.npz", folder / "sparse.h5", config)
model = hpc_sparse.load_model(folder / "sparse.h5")
print(f"pruned: accuracy {np.mean(model.predict(X_test) == y_test):.1%}, {model.network.n_connections:,} connections")

# %% The sparse network is trained on: hpc-sparse train digits.toml --resume sparse.h5
request = RunRequest(config, output=folder / "run", resume=str(folder / "sparse.h5"))
summary = train_run(ParallelContext.serial(), request, SilentReporter())
print(f"result: accuracy {summary['test_accuracy']:.1%} with {summary['n_connections']:,} connections")
