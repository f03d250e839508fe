"""A convolutional network whose answers do not depend on where an image lies: handwritten digits.

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

# %% Data: images of 8 x 8 pixels, row by row
# hpc-sparse data import npz digits.npz digits.h5
digits = load_digits()
np.savez(folder / "digits.npz", x=digits.data.astype(np.uint8), y=digits.target)
import_npz(folder / "digits.npz", folder / "digits.h5", title="handwritten digits")

# %% The configuration: half of the taps of three convolutions, polyphase sampling, and a mean over all places
TEXT = """
data.path = "digits.h5"
training = {{ epochs = 15, batch_size = 32 }}
optimizer = {{ learning_rate = 0.05, clip_norm = 1.0 }}
[network]
density = 0.5
activation = "relu"
initializer = "he_fan_in"
dropout = 0.0
[[network.layers]]
kind = "convolution"
n = 24
sampling = "{0}"
[[network.layers]]
kind = "convolution"
n = 48
[[network.layers]]
kind = "convolution"
n = 48
pool = "average"
"""

# %% Train with polyphase sampling and with strides, then shift the test images in all ways
# hpc-sparse train polyphase.toml --output polyphase
# hpc-sparse analyze shifts polyphase/checkpoints/checkpoint-000015.h5 digits.h5
test = load_samples(folder / "digits.h5", "test")
images = test.features.values.reshape(-1, 8, 8)
for sampling in ("stride", "polyphase"):
    config = folder / f"{sampling}.toml"
    config.write_text(TEXT.format(sampling), encoding="utf-8")
    train_run(ParallelContext.serial(threads=1), RunRequest(config, (), folder / sampling), LineReporter())
    checkpoint = newest_checkpoint(folder / sampling / "checkpoints")
    assert checkpoint is not None
    model = load_model(checkpoint)
    logits = model.weighted_sums(images)
    shifted = [
        model.weighted_sums(np.roll(images, (down, right), axis=(1, 2))) for down in range(8) for right in range(8)
    ]
    same_bits = np.mean([np.array_equal(logits, own) for own in shifted])
    same_class = np.mean([logits.argmax(axis=1) == own.argmax(axis=1) for own in shifted])
    accuracy = np.mean(logits.argmax(axis=1) == test.labels)
    print(
        f"{sampling}: accuracy {accuracy:.1%}, same class {same_class:.1%}, shifts with the same bits {same_bits:.1%}"
    )

# %% What came of it
print(f"result: accuracy {100 * accuracy:.1f}%")
