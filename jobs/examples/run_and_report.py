"""A run from Python: import data, train, read the metrics with pandas, make the report.

Each step is also a command, which is named beside it; on many ranks it is the commands that are started. Needs the
extras `sklearn` (for its data) and `report`, and pandas; takes a few seconds.
"""

# %% What is needed
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits

from hpc_sparse.importers.arrays.npz import import_npz
from hpc_sparse.monitor.reporter import LineReporter
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.report.make import ReportRequest, make_report
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run

folder = Path(tempfile.mkdtemp(prefix="hpc_sparse-"))

# %% Data: handwritten digits of 8 x 8 pixels, divided into training and test samples
# hpc-sparse data import npz digits.npz digits.h5
digits = load_digits()
np.savez(folder / "digits.npz", x=digits.data.astype(np.uint8), y=digits.target)
info = import_npz(folder / "digits.npz", folder / "digits.h5", title="handwritten digits")
print(f"{info.title}: {info.n_train} + {info.n_test} samples of {info.n_features} features, {info.n_classes} classes")

# %% The configuration: what is not said has its default (hpc-sparse config)
config = folder / "digits.toml"
config.write_text(
    """
    data.path = "digits.h5"
    network = { hidden = [200, 200], epsilon = 5, dropout = 0.1 }
    training = { epochs = 20, batch_size = 32 }
    optimizer.learning_rate = 0.05
    checkpoint.every_epochs = 5
    """
)

# %% The run
# hpc-sparse train digits.toml --output run            on two ranks: mpirun -n 2 hpc-sparse train ...
summary = train_run(ParallelContext.serial(), RunRequest(config, output=folder / "run"), LineReporter())

# %% The metrics of all epochs, in one line
metrics = pd.read_json(folder / "run" / "metrics.jsonl", lines=True)
print(metrics[["epoch", "train_loss", "test_loss", "test_accuracy", "connections_changed"]].tail(3).to_string())

# %% The report: pictures, and one page with all of them for the browser
# hpc-sparse report run --image-shape 8x8
page, *pictures = make_report(ReportRequest((folder / "run",), image_shape="8x8"))
print(f"{page} and {len(pictures)} pictures")
print(f"result: accuracy {summary['test_accuracy']:.1%} with {summary['n_connections']:,} connections")
