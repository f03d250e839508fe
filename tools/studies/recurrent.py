"""Recurrent networks on characters and on rows of images: kinds of connections, densities and strategies."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from benchmarks.report import machine

from hpc_sparse.config import find_data, load_config
from hpc_sparse.storage.dataset.file import load_samples, read_info
from studies.run_log import RunLog
from studies.runs import ROOT, PlannedRun, result_of
from studies.strategies import with_deviation

DATA_SETS = {"characters": "kjv_characters", "rows": "rows_fashion_mnist"}
"""Configuration in ``jobs/`` for each data set."""

SCORES = {"characters": "test_bits_per_token", "rows": "test_accuracy"}
"""What is compared: the last epoch's."""

ORDER = 5
"""Characters of the longest n-gram of the baseline."""

KEY = ("data", "row", "seed")

BLOCK = "network.connections=block"
OTHER_SIDES = (4, 32)
"""Sides of blocks beside 16."""

WIDER = "block twice as wide pruned and lasso"
"""Row of a network of more neurons, which is pruned to the size of the others."""


def _rows() -> dict[str, tuple[str, ...]]:
    """Settings of each network by its name in the table: connections, and how they evolve."""
    rows: dict[str, tuple[str, ...]] = {
        "dense": ("network.connections=dense", "network.density=1.0", "evolution.strategy=static")
    }
    for sparsity in (80, 90):
        density = f"network.density={(100 - sparsity) / 100}"
        for strategy in ("static", "set", "gse"):
            own = (density, f"evolution.strategy={strategy}")
            rows[f"csr {sparsity} % {strategy}"] = own
            rows[f"block {sparsity} % {strategy}"] = (*own, BLOCK, "network.block=[16, 16]")
    return rows | _shrinking_rows() | _other_sides()


def _other_sides() -> dict[str, tuple[str, ...]]:
    """Blocks of other sizes, with those strategies that lose nothing."""
    return {
        f"block {side} x {side} {sparsity} % {strategy}": (
            *(f"network.density={(100 - sparsity) / 100}", f"evolution.strategy={strategy}"),
            *(BLOCK, f"network.block=[{side}, {side}]"),
        )
        for side in OTHER_SIDES
        for sparsity in (80, 90)
        for strategy in ("static", "gse")
    }


def _shrinking_rows() -> dict[str, tuple[str, ...]]:
    """Networks that begin with all blocks, which become fewer by a threshold, by their norms, or by both."""
    whole = (BLOCK, "network.block=[16, 16]", "network.density=1.0", "evolution.strategy=static")
    threshold = ("block_pruning.threshold=0.65", "block_pruning.recurrent_threshold=0.31")
    lasso = ("group_lasso.strength=0.005",)
    return {
        "block pruned": (*whole, *threshold),
        "block lasso": (*whole, *lasso),
        "block pruned and lasso": (*whole, *threshold, *lasso),
        WIDER: (*whole, "block_pruning.threshold=0.68", "block_pruning.recurrent_threshold=0.3", *lasso),
    }


ROWS = _rows()

OF_IMAGES = (*_shrinking_rows(), *_other_sides())
"""Rows of images alone: thresholds are those of their weights."""

LEGEND = (
    "characters: bits per character of the test part, the last 10 % of the text; rows: test accuracy in %. Of the last "
    "epoch, mean ± standard deviation over the seeds. block: 16 x 16 where no sides are given. Sparsity is that of all "
    "maps, by what a dense network of the same width has. minus static: difference to the static network of the same "
    "connections and seed."
)

COLUMNS = ("network", "result", "minus static", "connections", "sparsity", "s per epoch", "seeds")


@dataclass(frozen=True)
class Study:
    """Runs to compare.

    Attributes
    ----------
    data_sets, rows : sequence of str
    n_seeds, n_epochs, width, n_threads : int
        Width of the recurrent layer; threads of each run, 0 for all cores.
    runs : Path
        Folder of the run folders until they are finished.
    """

    data_sets: Sequence[str]
    rows: Sequence[str]
    n_seeds: int
    n_epochs: int
    width: int
    n_threads: int
    runs: Path

    def open_log(self, path: Path) -> RunLog:
        """Results of runs with the same settings, finished before."""
        settings = {"epochs": self.n_epochs, "width": self.width, "threads": self.n_threads}
        return RunLog(path, settings, KEY)

    def trials(self) -> Iterator[dict[str, Any]]:
        """Keys of the runs in order, seed by seed, so that a table of the first seeds is fair."""
        for seed in range(self.n_seeds):
            for data in self.data_sets:
                for row in self.rows if data == "rows" else [each for each in self.rows if each not in OF_IMAGES]:
                    yield dict(zip(KEY, (data, row, seed), strict=True))

    def width_of(self, row: str) -> int:
        """Neurons of the network of a row."""
        return self.width * (2 if row == WIDER else 1)

    def planned(self, trial: dict[str, Any]) -> PlannedRun:
        """The run of a trial."""
        config, seed = config_of(trial["data"]), trial["seed"]
        (layer,) = load_config(config).network.layers or ()
        output, width = layer.model_dump()["output"], self.width_of(trial["row"])
        settings = (
            f"network.layers=[{{kind = 'recurrent', n = {width}, output = '{output}'}}]",
            *ROWS[trial["row"]],
            f"training.epochs={self.n_epochs}",
            f"training.seed={seed}",
            f"checkpoint.every_epochs={self.n_epochs}",
            "checkpoint.keep_last=1",
            f"runtime.threads={self.n_threads}",
        )
        name = trial["row"].replace(" ", "-").replace("-%", "")
        folder = self.runs / f"{trial['data']}-{name}-{self.width}-{self.n_epochs}-epochs-seed-{seed}"
        return PlannedRun(config, settings, 1, folder, seed)


def config_of(data: str) -> Path:
    """Configuration of a data set."""
    return ROOT / "jobs" / f"{DATA_SETS[data]}.toml"


def do_missing(study: Study, log: RunLog) -> Iterator[bool]:
    """Do the runs that are not in the log, one at a time; says of each whether it succeeded."""
    missing = [trial for trial in study.trials() if trial not in log]
    for number, trial in enumerate(missing, 1):
        run = study.planned(trial)
        result = result_of(run)
        if result is not None:
            score, summary = result.summary[SCORES[trial["data"]]], result.summary
            found = {"score": score, "connections": summary["n_connections"], "seconds": result.seconds_per_epoch}
            log.add(trial | found)
            shutil.rmtree(run.folder)
            named = " ".join(str(value) for value in trial.values())
            print(f"{number}/{len(missing)} {named}: {score:.4f}", file=sys.stderr, flush=True)
        yield result is not None


def ngram_bits(train: np.ndarray, test: np.ndarray, n_tokens: int, order: int = ORDER) -> float:
    """Bits of each test token by n-grams of the training tokens, interpolated as by Witten and Bell (1991).

    A context that was followed by T different tokens gives the shorter context the weight T / (T + its count).
    """
    shares = np.full(test.size - order + 1, 1.0 / n_tokens)
    for length in range(1, order + 1):
        own, wanted = (_ngrams(tokens, length, order, n_tokens) for tokens in (train, test))
        grams, counts = np.unique(own, return_counts=True)
        contexts, first = np.unique(grams // n_tokens, return_index=True)
        totals, kinds = np.add.reduceat(counts, first), np.diff(np.append(first, grams.size))
        n_gram = _looked_up(grams, counts, wanted)
        n_context = _looked_up(contexts, totals, wanted // n_tokens)
        n_kinds = _looked_up(contexts, kinds, wanted // n_tokens)
        is_known = n_context > 0
        mixed = (n_gram + n_kinds * shares) / np.maximum(1, n_context + n_kinds)
        shares = np.where(is_known, mixed, shares)
    return float(-np.log2(shares).mean())


def _ngrams(tokens: np.ndarray, length: int, order: int, n_tokens: int) -> np.ndarray:
    """int64[n]: the last ``length`` tokens at each place from ``order`` - 1 on, as one number."""
    n = tokens.size - order + 1
    found = np.zeros(n, np.int64)
    for back in range(length - 1, -1, -1):
        found = found * n_tokens + tokens[order - 1 - back : order - 1 - back + n]
    return found


def _looked_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The values of the wanted keys, which increase; 0 of those that are not there."""
    places = np.minimum(np.searchsorted(keys, wanted), keys.size - 1)
    return np.where(keys[places] == wanted, values[places], 0)


def report(study: Study, log: RunLog) -> list[str]:
    """The lines of the report, of as many runs as are finished."""
    lines = [f"# Recurrent networks, GRU of {study.width}, {study.n_epochs} epochs", "", LEGEND, ""]
    lines += [", ".join(f"{name} {what}" for name, what in machine().items()), ""]
    for data in study.data_sets:
        lines += [f"## {data}", "", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
        by_row = {
            row: {record["seed"]: record for record in log if (record["data"], record["row"]) == (data, row)}
            for row in study.rows
        }
        n_dense = {name: dense_connections(data, study.width_of(name)) for name in by_row}
        lines += [_row(data, name, found, by_row, n_dense[name]) for name, found in by_row.items() if found]
        lines += [*_baseline(data), ""]
    return lines


def _baseline(data: str) -> list[str]:
    """The row of n-grams, for characters."""
    if data != "characters":
        return []
    path = find_data(load_config(config_of(data)).data.path, config_of(data))
    train, test = (load_samples(path, part).labels.reshape(-1) for part in ("train", "test"))
    bits = ngram_bits(train, test, read_info(path).n_tokens)
    return [f"| {ORDER}-grams, Witten-Bell | {bits:.3f} | | | | | |"]


def dense_connections(data: str, width: int) -> int:
    """Connections of a GRU of ``width`` in which all pairs of neurons are connected."""
    info = read_info(find_data(load_config(config_of(data)).data.path, config_of(data)))
    n_in = info.n_tokens or info.n_features // info.time_steps
    return 3 * width * (n_in + width) + width * info.n_classes


def _row(
    data: str, name: str, found: dict[int, dict[str, Any]], by_row: dict[str, dict[int, dict[str, Any]]], n_dense: int
) -> str:
    factor = 1 if data == "characters" else 100
    static = by_row.get(" ".join([*name.split()[:-1], "static"]), {}) if name != "dense" else {}
    shared = sorted(found.keys() & static.keys()) if not name.endswith("static") else []
    gains = [factor * (found[seed]["score"] - static[seed]["score"]) for seed in shared]
    n_connections = mean(record["connections"] for record in found.values())
    cells = (
        name,
        with_deviation([factor * found[seed]["score"] for seed in sorted(found)]),
        with_deviation(gains, sign="+") if gains else "",
        f"{n_connections:,.0f}",
        f"{100 * max(0.0, 1 - n_connections / n_dense):.1f} %",
        f"{mean(record['seconds'] for record in found.values()):.3g}",
        ", ".join(str(seed) for seed in sorted(found)),
    )
    return "| " + " | ".join(cells) + " |"
