"""A trained network at work: predictions without MPI, with SciPy alone, and with PyTorch.

Needs the extra `sklearn` (for its data), and PyTorch for one part, which is left out without it; takes a few seconds.
"""

# %% What is needed
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import scipy.sparse
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import hpc_sparse
from hpc_sparse.importers.arrays.npz import import_npz
from hpc_sparse.interop.exchange import export_model
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run

folder = Path(tempfile.mkdtemp(prefix="hpc_sparse-"))

# %% A run on handwritten digits: it leaves a checkpoint
X_train, X_test, y_train, y_test = train_test_split(*load_digits(return_X_y=True), test_size=0.2, random_state=0)
np.savez(folder / "digits.npz", x_train=X_train, y_train=y_train, x_test=X_test, y_test=y_test)
import_npz(folder / "digits.npz", folder / "digits.h5")
config = folder / "digits.toml"
config.write_text(
    """
    data.path = "digits.h5"
    network = { hidden = [200, 200], epsilon = 5, dropout = 0.1 }
    training = { epochs = 15, batch_size = 32 }
    optimizer.learning_rate = 0.05
    """
)
train_run(ParallelContext.serial(), RunRequest(config, output=folder / "run"), SilentReporter())
checkpoint = folder / "run" / "checkpoints" / "checkpoint-000015.h5"

# %% Predictions need the checkpoint only
model = hpc_sparse.load_model(checkpoint)
print(f"{model}: accuracy {np.mean(model.predict(X_test) == y_test):.1%}")
print(f"the first sample is a {model.predict(X_test[:1])[0]} (p = {model.predict_proba(X_test[:1]).max():.2f})")

# %% The same with SciPy alone: hpc-sparse model export CHECKPOINT net.npz
export_model(checkpoint, folder / "net.npz")
net = np.load(folder / "net.npz", allow_pickle=False)
x = (X_test - net["mean"]) / net["deviation"]
for layer in range(3):
    parts = (net[f"layer_{layer}.data"], net[f"layer_{layer}.indices"], net[f"layer_{layer}.indptr"])
    sums = x @ scipy.sparse.csr_array(parts, shape=net[f"layer_{layer}.shape"]).T + net[f"layer_{layer}.bias"]
    x = np.where(sums >= 0, sums, net[f"layer_{layer}.slope"] * sums)
print(f"result: SciPy's logits differ by {np.abs(x - model.weighted_sums(X_test)).max():.0e} at most")

# %% And with PyTorch, as a module of sparse CSR tensors
if find_spec("torch"):
    import torch

    from hpc_sparse.interop import to_torch

    logits = to_torch(model)(torch.from_numpy(X_test.astype(np.float32))).detach().numpy()
    print(f"result: PyTorch's logits differ by {np.abs(logits - model.weighted_sums(X_test)).max():.0e} at most")
else:
    print("PyTorch is not installed: that part is left out")
