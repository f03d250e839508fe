"""Accuracy on Cora: diffusion-convolutional networks beside logistic regression, over hops, thresholds and splits."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import scipy.sparse
from benchmarks.report import machine

import hpc_sparse.evolution  # noqa: F401  (a configuration chooses from its strategies)
from hpc_sparse.importers.graphs.importing import import_graph
from hpc_sparse.importers.graphs.npz import NpzGraph
from hpc_sparse.importers.graphs.options import Diffusion, GraphOptions
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run
from hpc_sparse.storage.dataset.file import load_samples
from hpc_sparse.storage.dataset.samples import CsrFeatures
from studies.graph_memory import peak_of
from studies.run_log import RunLog
from studies.runs import HPC_SPARSE, ROOT
from studies.strategies import with_deviation

SPLITS = ("random", "published")
HOPS = (1, 2, 3, 4, 5)
THRESHOLDS = (0.0, 0.01, 0.02, 0.05, 0.1)
CUTS = (*(("pre", threshold, hops) for threshold in THRESHOLDS for hops in HOPS),)
CUTS += (*(("post", threshold, hops) for threshold in (0.002, 0.005, *THRESHOLDS[1:]) for hops in HOPS[2:4]),)
"""Cut, threshold and hops of each row of the table."""
MOST_EPOCHS = 60
N_SEEDS_OF_CHOICE = 3
"""Seeds by whose validation nodes hops, epochs and C are chosen."""

N_SEEDS_OF_TABLE = 3
"""Seeds of each threshold and number of hops; the splits at the best number of hops have all."""

KEY = ("model", "split", "hops", "cut", "threshold", "seed", "part")
JOB = ROOT / "jobs" / "cora_dcnn.toml"

LEGEND = (
    "Cora (2,708 nodes, 5,278 edges, 1,433 features, 7 classes). random: a third of each class for training, a third "
    "for validation, a third for testing, another one for each seed. published: 140 + 500 + 1,000 nodes. `dcnn`: the "
    "published model as in `jobs/cora_dcnn.toml`; `unit length`: features of each hop of length 1, dropout 0.8, "
    "cross-entropy, learning rate 0.02. Logistic regression is on features of length 1. Hops, epochs (up to 60), "
    "C (1, 10, 100) are those with the best mean accuracy on the validation nodes of three seeds. Test accuracy in %, "
    "mean ± standard deviation over the seeds."
)


@dataclass(frozen=True)
class Model:
    """A network on diffused features.

    Attributes
    ----------
    unit_length : bool
    dropout : float
    loss : str
    rate : float
        Learning rate.
    """

    unit_length: bool
    dropout: float
    loss: str
    rate: float

    def settings(self, n_features: int, n_epochs: int) -> tuple[str, ...]:
        """Values in place of those of the job."""
        layer = f'{{n = {n_features}, kind = "tanh", connections = "diagonal", dropout = {self.dropout}}}'
        return (
            f"network.layers=[{layer}]",
            f"training.loss={self.loss}",
            f"training.epochs={n_epochs}",
            f"optimizer.learning_rate={self.rate}",
            "runtime.threads=1",
        )


MODELS = {"dcnn": Model(False, 0.5, "hinge", 0.01), "unit length": Model(True, 0.8, "cross_entropy", 0.02)}
REGRESSIONS = {"regression on X": 0, "regression": None}
"""Hops that are used; None: all."""


@dataclass(frozen=True)
class Study:
    """Runs to compare.

    Attributes
    ----------
    source : Path
        ``cora.npz``.
    n_seeds : int
    folder : Path
        For data sets.
    """

    source: Path
    n_seeds: int
    folder: Path

    def open_log(self, path: Path) -> RunLog:
        """Results of runs with the same settings, finished before."""
        return RunLog(path, {"epochs": MOST_EPOCHS}, KEY)

    def data_set(self, trial: dict[str, Any]) -> Path:
        """The data set of a trial, made if it is missing."""
        is_unit = trial["model"] != "dcnn"
        seed = trial["seed"] if trial["split"] == "random" else 0
        names = (trial["split"], trial["hops"], trial["cut"], trial["threshold"], seed)
        path = self.folder / f"{'-'.join(map(str, names))}-{trial['part']}-{is_unit}.h5"
        if not path.exists():
            options = GraphOptions(
                Diffusion(trial["hops"], trial["threshold"], trial["cut"], is_unit),
                split=trial["split"],
                split_seed=trial["seed"],
                tests_on_validation=trial["part"] == "validation",
            )
            import_graph(ParallelContext.serial(threads=1), NpzGraph(self.source), path, "Cora", options)
        return path


def do_missing(study: Study, log: RunLog) -> Iterator[bool]:
    """Do what is not in the log: validation runs, then those on the test nodes at what they chose, then the table."""
    study.folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        for model in (*MODELS, *REGRESSIONS):
            for hops in (2,) if model == "regression on X" else HOPS[1:]:
                trials = [_trial(model, split, hops, 0.0, seed, "validation") for seed in range(N_SEEDS_OF_CHOICE)]
                yield from _do(study, log, trials)
            hops, choice = chosen(log, model, split)
            trials = [_trial(model, split, hops, 0.0, seed, "test") for seed in range(study.n_seeds)]
            yield from _do(study, log, trials, choice)
    for cut, threshold, hops in CUTS:
        for model in ("unit length", "regression"):
            _, choice = chosen(log, model, "random")
            trials = [_trial(model, "random", hops, threshold, seed, "test", cut) for seed in range(N_SEEDS_OF_TABLE)]
            yield from _do(study, log, trials, choice)
        yield from _do(study, log, [_trial("import", "random", hops, threshold, 0, "test", cut)])


def _trial(
    model: str, split: str, hops: int, threshold: float, seed: int, part: str, cut: str = "pre"
) -> dict[str, Any]:
    return dict(zip(KEY, (model, split, hops, cut, threshold, seed, part), strict=True))


def _do(study: Study, log: RunLog, trials: Sequence[dict[str, Any]], choice: float = MOST_EPOCHS) -> Iterator[bool]:
    for trial in trials:
        if trial in log:
            continue
        if trial["model"] in MODELS:
            found = _trained(study, trial, int(choice))
        elif trial["model"] == "import":
            found = _imported(study, trial)
        else:
            found = _regression(study, trial, choice)
        log.add(trial | found)
        shown = {name: value for name, value in found.items() if name != "curve"}
        print(*trial.values(), shown, file=sys.stderr, flush=True)
        yield True


def chosen(log: RunLog, model: str, split: str) -> tuple[int, float]:
    """Hops, and epochs or C, with the best mean accuracy on the validation nodes."""
    curves: dict[int, list[list[float]]] = {}
    for record in log:
        if (record["model"], record["split"], record["part"]) == (model, split, "validation"):
            curves.setdefault(record["hops"], []).append(record["curve"])
    means = {hops: np.mean(own, axis=0) for hops, own in curves.items()}
    best = max(means, key=lambda hops: float(means[hops].max()))
    place = int(np.argmax(means[best]))
    return best, float(place + 1) if model in MODELS else float(10**place)


def _trained(study: Study, trial: dict[str, Any], n_epochs: int) -> dict[str, Any]:
    """Accuracy of the last epoch and of each."""
    path = study.data_set(trial)
    n_features = 1433 * (trial["hops"] + 1)
    settings = (*MODELS[trial["model"]].settings(n_features, n_epochs), f'data.path="{path}"')
    with tempfile.TemporaryDirectory(dir=study.folder) as folder:
        request = RunRequest(JOB, (*settings, f"training.seed={trial['seed']}"), Path(folder) / "run")
        started = time.perf_counter()
        summary = train_run(ParallelContext.serial(threads=1), request, SilentReporter())
        seconds = time.perf_counter() - started
        lines = (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()
    curve = [round(json.loads(line)["test_accuracy"], 4) for line in lines]
    kept = {"curve": curve} if trial["part"] == "validation" else {}
    return {"accuracy": summary["test_accuracy"], "seconds": seconds, "epochs": n_epochs} | kept


def _regression(study: Study, trial: dict[str, Any], c: float) -> dict[str, Any]:
    """Logistic regression on the features, or on those of hop 0 alone."""
    from sklearn.linear_model import LogisticRegression

    path = study.data_set(trial)
    most = 1433 if REGRESSIONS[trial["model"]] == 0 else None
    (x, y), (x_test, y_test) = (_matrix(path, part, most) for part in ("train", "test"))
    strengths = (1.0, 10.0, 100.0) if trial["part"] == "validation" else (c,)
    started = time.perf_counter()
    fitted = [LogisticRegression(C=each, max_iter=300).fit(x, y) for each in strengths]
    curve = [float(each.score(x_test, y_test)) for each in fitted]
    kept = {"curve": curve} if trial["part"] == "validation" else {}
    return {"accuracy": curve[-1], "seconds": time.perf_counter() - started, "epochs": c} | kept


def _matrix(path: Path, part: Any, most: int | None) -> tuple[Any, Any]:
    samples = load_samples(path, part)
    rows = samples.features
    assert isinstance(rows, CsrFeatures)
    matrix = scipy.sparse.csr_matrix((rows.values, rows.indices, rows.indptr), shape=(rows.n_samples, rows.n_features))
    return matrix[:, :most] if most else matrix, samples.labels


def _imported(study: Study, trial: dict[str, Any]) -> dict[str, Any]:
    """Entries kept, values stored, memory and time of the import, in a process of its own."""
    with tempfile.TemporaryDirectory(dir=study.folder) as folder:
        target = Path(folder) / "out.h5"
        command = [HPC_SPARSE, "data", "import", "graph", str(study.source), str(target), "--split", "random"]
        command += ["--hops", str(trial["hops"]), "--threshold", str(trial["threshold"]), "--cut", trial["cut"]]
        started = time.perf_counter()
        code, peak = peak_of(command)
        seconds = time.perf_counter() - started
        if code:
            raise RuntimeError(f"failed: {' '.join(command)}")
        done = subprocess.run([HPC_SPARSE, "info", str(target), "--json"], check=True, capture_output=True, text=True)
    described = json.loads(done.stdout)
    graph = described["graph"]
    return {
        "entries": graph["entries"],
        "kept": graph["entries_kept"],
        "silent": graph.get("silent_nodes"),
        "zeros": described["statistics"]["share_of_zeros"],
        "peak_bytes": peak,
        "seconds": seconds,
    }


def report(study: Study, log: RunLog) -> list[str]:
    """The lines of the report, of as many runs as are finished."""
    lines = ["# Graphs: Cora", "", LEGEND, "", ", ".join(f"{name} {what}" for name, what in machine().items()), ""]
    lines += ["| split | model | hops | epochs or C | validation | test | seeds |", "|---" * 7 + "|"]
    for split in SPLITS:
        for model in (*MODELS, *REGRESSIONS):
            if any((each["model"], each["split"], each["part"]) == (model, split, "test") for each in log):
                lines.append(_row(study, log, split, model))
    lines += ["", "## Thresholds", ""]
    lines += [
        (
            "Random thirds, the epochs and C chosen above. Entries: of P, or of all its powers for `post`. "
            "Not 0: values of the stored training features. MB: most memory of the import. Accuracies: "
            f"{N_SEEDS_OF_TABLE} seeds."
        ),
        "",
        "| cut | threshold | hops | entries kept | silent nodes | not 0 | network | regression | MB | seconds |",
        "|---" * 10 + "|",
    ]
    lines += [line for row in CUTS if (line := _cost_row(log, *row))]
    return [*lines, ""]


def _row(study: Study, log: RunLog, split: str, model: str) -> str:
    hops, choice = chosen(log, model, split)
    found = [e for e in log if (e["model"], e["split"], e["hops"], e["threshold"]) == (model, split, hops, 0.0)]
    tests = [100 * each["accuracy"] for each in found if each["part"] == "test" and each["seed"] < study.n_seeds]
    place = int(choice) - 1 if model in MODELS else int(np.log10(choice))
    validation = 100 * mean(each["curve"][place] for each in found if each["part"] == "validation")
    shown = "0" if model == "regression on X" else str(hops)
    cells = (split, model, shown, f"{choice:g}", f"{validation:.2f}", with_deviation(tests), str(len(tests)))
    return "| " + " | ".join(cells) + " |"


def _cost_row(log: RunLog, cut: str, threshold: float, hops: int) -> str | None:
    wanted = ("random", hops, cut, threshold)
    here = [each for each in log if (each["split"], each["hops"], each["cut"], each["threshold"]) == wanted]
    cost = [each for each in here if each["model"] == "import"]
    accuracies = [
        [
            100 * e["accuracy"]
            for e in here
            if (e["model"], e["part"]) == (model, "test") and e["seed"] < N_SEEDS_OF_TABLE
        ]
        for model in ("unit length", "regression")
    ]
    if not cost or not all(accuracies):
        return None
    own = cost[0]
    cells = (
        cut,
        f"{threshold:g}",
        str(hops),
        f"{100 * own['kept'] / own['entries']:.1f} %",
        "" if own["silent"] is None else f"{own['silent']:,}",
        f"{100 * (1 - own['zeros']):.2f} %",
        *(with_deviation(each) for each in accuracies),
        f"{own['peak_bytes'] / 1e6:,.0f}",
        f"{own['seconds']:.1f}",
    )
    return "| " + " | ".join(cells) + " |"
