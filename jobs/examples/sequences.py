"""A recurrent network on sequences: handwritten digits, read row by row.

Each step is also a command, which is named beside it. Needs the extra `sklearn` for its data; takes a few seconds.
"""

# %% What is needed
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from hpc_sparse import load_model
from hpc_sparse.importers.arrays.npz import import_npz
from hpc_sparse.monitor.reporter import LineReporter
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run
from hpc_sparse.storage.checkpoint.folder import newest_checkpoint
from hpc_sparse.storage.dataset.file import load_samples

folder = Path(tempfile.mkdtemp(prefix="hpc_sparse-"))

# %% Data: arrays of samples, steps and features are sequences
# hpc-sparse data import npz digits.npz digits.h5
digits = load_digits()
np.savez(folder / "digits.npz", x=digits.images.astype(np.uint8), y=digits.target)
info = import_npz(folder / "digits.npz", folder / "digits.h5", title="rows of handwritten digits")
print(f"{info.title}: {info.n_train} + {info.n_test} samples of {info.time_steps} steps")

# %% The configuration: two recurrent layers, of which the first gives its states of all steps
config = folder / "digits.toml"
config.write_text(
    """
    data.path = "digits.h5"
    training = { epochs = 30, batch_size = 32 }
    optimizer = { learning_rate = 0.1, clip_norm = 1.0 }
    [network]
    density = 0.3
    initializer = "he_fan_in"
    [[network.layers]]
    kind = "recurrent"
    n = 64
    output = "all"
    [[network.layers]]
    kind = "recurrent"
    n = 64
    """,
    encoding="utf-8",
)

# %% Train
# hpc-sparse train digits.toml --output run
train_run(ParallelContext.serial(threads=1), RunRequest(config, (), folder / "run"), LineReporter())

# %% Predict: samples as they were imported, a row for each step
checkpoint = newest_checkpoint(folder / "run" / "checkpoints")
assert checkpoint is not None
test = load_samples(folder / "digits.h5", "test")
predicted = load_model(checkpoint).predict(test.features.values)
accuracy = 100 * np.mean(predicted == test.labels)
print(f"result: accuracy {accuracy:.1f}%")
