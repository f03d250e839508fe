"""Makes ``loss_curve.json``: the losses of a small fixed run, which a change of the code must not change.

Run as a program it writes the file; the test that compares runs :func:`loss_curve` again.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from hpc_sparse.config import RunConfig, parse_config
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.rng import Purpose, stream
from hpc_sparse.storage.dataset.samples import Dataset, DatasetInfo, DenseFeatures, Samples
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.local_trainer import LocalTrainer
from hpc_sparse.training.replica_states import (
    initial_replica,
)

TARGET = Path(__file__).with_name("loss_curve.json")
CONFIG = """
[data]
path = "synthetic"
[network]
hidden = [50, 40, 45]
epsilon = 6
activation = "all_relu"
alpha = 0.6
initializer = "he_uniform"
dropout = 0.2
[training]
epochs = 5
batch_size = 37
seed = 13
[optimizer]
learning_rate = 0.05
momentum = 0.9
weight_decay = 0.001
schedule = "cosine"
warmup_epochs = 1
[evolution]
drop_fraction = 0.2
drop_schedule = "constant"
"""
SEED = 20
N_TRAIN, N_TEST, N_FEATURES, N_CLASSES = 1000, 300, 30, 4
NOISE = 1.5
NAMES = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "connections_changed", "learning_rate")


def main() -> None:
    """Write the file."""
    TARGET.write_text(json.dumps(loss_curve(), indent=2) + "\n", encoding="utf-8")


def loss_curve(seed_offset: int = 0) -> dict[str, list[float]]:
    """What each epoch of the run measures, by name; another ``seed_offset`` gives another run."""
    config, dataset = configuration(seed_offset), synthetic_dataset()
    replica = initial_replica(config, dataset.info)
    job = TrainingJob(ParallelContext.serial(threads=1), config, dataset, replica, SilentReporter())
    trainer = LocalTrainer.start(job)
    history = [trainer.train_epoch(epoch) for epoch in range(1, config.training.epochs + 1)]
    return {name: [getattr(metrics, name) for metrics in history] for name in NAMES}


def configuration(seed_offset: int = 0) -> RunConfig:
    """The run's configuration."""
    config = parse_config(CONFIG, "golden run")
    return parse_config(CONFIG, "golden run", [f"training.seed={config.training.seed + seed_offset}"])


def synthetic_dataset() -> Dataset:
    """Overlapping normal clusters."""
    rng = stream(SEED, Purpose.DATA_SPLIT)
    centres = rng.standard_normal((N_CLASSES, N_FEATURES))
    parts = []
    for n in (N_TRAIN, N_TEST):
        labels = rng.integers(0, N_CLASSES, n).astype(np.int32)
        values = centres[labels] + NOISE * rng.standard_normal((n, N_FEATURES))
        parts.append(Samples(DenseFeatures(values.astype(np.float32)), labels))
    values = parts[0].features.values
    mean, deviation = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
    return Dataset(_info(parts), *parts, mean.astype(np.float32), deviation.astype(np.float32))


def _info(parts: list[Samples]) -> DatasetInfo:
    counts = [tuple(np.bincount(part.labels, minlength=N_CLASSES).tolist()) for part in parts]
    return DatasetInfo(
        path=Path("synthetic"),
        title="overlapping clusters",
        source="",
        split="",
        n_train=N_TRAIN,
        n_test=N_TEST,
        n_features=N_FEATURES,
        n_classes=N_CLASSES,
        class_names=tuple("abcd"),
        class_counts_train=counts[0],
        class_counts_test=counts[1],
        is_sparse=False,
        dtype="float32",
        file_bytes=0,
        creator="golden",
        format_version=1,
    )


if __name__ == "__main__":
    main()
