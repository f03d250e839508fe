"""A million neurons on sparse samples: built, trained, changed, stored, taken up again, within what was planned."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

ROOT = Path(__file__).resolve().parents[2]
N_FEATURES, N_CLASSES, N_TERMS = 65_536, 20, 60
SETTINGS = ("training.epochs=3", "training.batch_size=16", "checkpoint.every_epochs=1", "optimizer.learning_rate=0.003")
TOLERANCE = 1.1


def documents(n_samples: int, rng: np.random.Generator) -> tuple[scipy.sparse.csr_array, np.ndarray]:
    """Counts of terms, most of which occur in one class alone."""
    labels = rng.integers(0, N_CLASSES, n_samples)
    own = rng.integers(0, N_FEATURES // N_CLASSES, (n_samples, N_TERMS)) * N_CLASSES + labels[:, None]
    rows = np.repeat(np.arange(n_samples), N_TERMS)
    counts = scipy.sparse.csr_array((np.ones(rows.size), (rows, own.ravel())), shape=(n_samples, N_FEATURES))
    counts.sum_duplicates()
    return counts, labels


@pytest.fixture
def place(tmp_path: Path, run) -> Path:
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {"shape": np.array([320, 64, N_FEATURES])}
    for part, n_samples in (("train", 320), ("test", 64)):
        counts, arrays[f"{part}_label"] = documents(n_samples, rng)
        arrays |= {f"{part}_{name}": getattr(counts, name) for name in ("data", "indices", "indptr")}
    np.savez(tmp_path / "documents.npz", **arrays)
    run("data", "import", "npz", "documents.npz", "news20_bydate_65536.h5", "--tf-idf", cwd=tmp_path)
    (tmp_path / "wide.toml").write_text((ROOT / "jobs" / "scale_1m.toml").read_text())
    return tmp_path


def epochs(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def peak_rss_bytes(folder: Path) -> int:
    return int(json.loads((folder / "summary.json").read_text())["peak_rss_bytes"])


@pytest.mark.slow
def test_a_million_neurons_train_within_their_plan_and_go_on_from_a_checkpoint(run, place):
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    # Python and its libraries take more than a million neurons do, and not the same everywhere: what counts is how much
    # more than for a few neurons it is. Of second runs: a first one may compile kernels, which takes memory of its own.
    few = (*settings, "--set", "network.hidden=[8]")
    plans = [json.loads(run("plan", "wide.toml", *each, "--json", cwd=place).stdout) for each in (settings, few)]
    assert plans[0]["neurons"] > 1_000_000
    run("train", "wide.toml", *settings, "--output", "whole", cwd=place)
    whole = epochs(place / "whole")
    assert whole[-1]["train_loss"] < whole[0]["train_loss"]
    run("train", "wide.toml", *settings, "--set", "training.epochs=1", "--output", "parts", cwd=place)
    run("train", "wide.toml", *settings, "--output", "parts", "--resume", "auto", cwd=place)
    assert [epoch["train_loss"] for epoch in epochs(place / "parts")] == [epoch["train_loss"] for epoch in whole]
    for output in ("first", "few"):
        run("train", "wide.toml", *few, "--output", output, cwd=place)
    planned = plans[0]["memory"]["peak"] - plans[1]["memory"]["peak"]
    taken = peak_rss_bytes(place / "parts") - peak_rss_bytes(place / "few")
    assert planned / TOLERANCE < taken < planned * TOLERANCE
