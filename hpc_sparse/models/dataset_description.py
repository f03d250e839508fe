"""Contents of a data set file, as plain values for people and JSON."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from hpc_sparse.storage.dataset.feature_summary import read_feature_summary, read_graph_numbers
from hpc_sparse.storage.dataset.samples import DatasetInfo

OF_SEQUENCES = ("vocabulary", "n_tokens", "has_step_labels", "has_lengths", "is_text", "unit")
"""Shown of the data sets that have them."""

SHOWN = 20
"""Tokens of a vocabulary, the most frequent first."""


def describe_dataset(info: DatasetInfo) -> dict[str, Any]:
    """A data set as plain values."""
    values = asdict(info)
    values["path"] = str(info.path)
    values["vocabulary"] = ", ".join(f"{name!r}" for name in info.vocabulary[:SHOWN]) if info.n_tokens else None
    values["n_tokens"] = info.n_tokens or None
    values = {name: value for name, value in values.items() if value or name not in OF_SEQUENCES}
    if info.is_text:
        # One for each token: thousands, and the vocabulary says it.
        values |= {"class_names": (), "class_counts_train": (), "class_counts_test": ()}
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
        "smallest_class_share": min(counts) / max(1, sum(counts)),
        "largest_class_share": max(counts) / max(1, sum(counts)),
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
        "has_filled_values": summary.has_filled,
    }
