"""Contents of a data set file, as plain values for people and JSON."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from hpc_sparse.storage.dataset.feature_summary import read_feature_summary, read_graph_numbers
from hpc_sparse.storage.dataset.samples import DatasetInfo


def describe_dataset(info: DatasetInfo) -> dict[str, Any]:
    """A data set as plain values."""
    values = asdict(info)
    values["path"] = str(info.path)
    for name in ("class_names", "class_counts_train", "class_counts_test"):
        values[name] = list(values[name])
    graph = read_graph_numbers(info.path)
    return {
        "kind": "data set",
        **values,
        "balance": _balance(info),
        "statistics": _statistics(info.path),
        **({"graph": graph} if graph else {}),
    }


def _balance(info: DatasetInfo) -> dict[str, float]:
    """Shares of the smallest and largest class of the training samples."""
    counts = info.class_counts_train
    return {
        "smallest_class_share": min(counts) / info.n_train,
        "largest_class_share": max(counts) / info.n_train,
    }


def _statistics(path: Path) -> dict[str, float | None]:
    """Stored statistics of the training features; None where an old file has none."""
    summary = read_feature_summary(path)
    values: dict[str, float | None] = {}
    for what, bounds in (
        ("value", summary.value_range),
        ("feature_mean", summary.mean_range),
        ("feature_deviation", summary.deviation_range),
    ):
        values |= {f"least_{what}": bounds and bounds[0], f"greatest_{what}": bounds and bounds[1]}
    return values | {
        "share_of_zeros": summary.share_of_zeros,
        "features_always_zero": summary.n_always_zero,
        "has_feature_names": summary.has_names,
        "is_tf_idf": summary.has_idf,
    }
