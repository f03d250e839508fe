"""Memory and time of the import of power-law graphs of growing size, beside the dense way and on two ranks."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.report import machine

from studies.run_log import RunLog
from studies.runs import HPC_SPARSE, ROOT

EDGES_PER_NODE, N_FEATURES, N_CLASSES = 5, 16, 4
SMALLEST = 100
"""Nodes of the graph whose import is taken off: the program itself."""

HOPS, THRESHOLD = 2, 0.05
KEY = ("way", "nodes", "ranks")
DENSE_MOST = 20_000
POST_MOST = 100_000

MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""
"""A small process between: what a process starts with counts the memory of the one that has started it."""

DENSE_WAY = """
import sys
import numpy as np
archive = np.load(sys.argv[1])
n = archive["x"].shape[0]
adjacency = np.zeros((n, n), np.float32)
adjacency[archive["edges"][:, 0], archive["edges"][:, 1]] = 1
adjacency[archive["edges"][:, 1], archive["edges"][:, 0]] = 1
transition = adjacency / (adjacency.sum(axis=0) + 1)
power, features = np.where(transition > {threshold}, transition, 0), [archive["x"]]
first = power
for hop in range({hops}):
    power = power @ first if hop else power
    features.append(power @ archive["x"])
np.save(sys.argv[2], np.hstack(features))
"""
"""What keeps whole powers of the matrix."""

LEGEND = (
    f"Graphs with power-law degrees (expected degrees of Chung and Lu, exponent 3), {EDGES_PER_NODE} edges a node, "
    f"{N_FEATURES} features; {HOPS} hops, threshold {THRESHOLD:g}. Peak: most memory of a process, largest over the "
    f"ranks, less that of a graph of {SMALLEST} nodes. Bytes: the data set files of one and two ranks are equal. "
    "`dense` keeps whole powers of the matrix in NumPy."
)


@dataclass(frozen=True)
class Trial:
    """One import.

    Attributes
    ----------
    way : "pre", "each", "post" or "dense"
    nodes, ranks : int
    """

    way: str
    nodes: int
    ranks: int = 1

    @property
    def key(self) -> dict[str, Any]:
        """The names and values that tell it from others."""
        return {"way": self.way, "nodes": self.nodes, "ranks": self.ranks}


def trials(sizes: Sequence[int], *, two_ranks_from: int = 100_000) -> Iterator[Trial]:
    """The imports in order, the smallest first."""
    for n_ranks in (1, 2):
        yield Trial("pre", SMALLEST, n_ranks)
    yield Trial("dense", SMALLEST)
    yield Trial("post", SMALLEST)
    for nodes in sizes:
        yield Trial("pre", nodes)
        if nodes >= two_ranks_from:
            yield Trial("pre", nodes, 2)
    for nodes in (2_500, 5_000, 10_000, DENSE_MOST):
        yield Trial("dense", nodes)
    for nodes in (1_000, 3_000, 10_000, POST_MOST):
        yield Trial("post", nodes)


def open_log(path: Path) -> RunLog:
    """Imports with the same settings, finished before."""
    return RunLog(path, {"hops": HOPS, "threshold": THRESHOLD, "features": N_FEATURES}, KEY)


def do_missing(log: RunLog, sizes: Sequence[int], folder: Path) -> Iterator[bool]:
    """Do the imports that are not in the log; says of each whether it succeeded."""
    folder.mkdir(parents=True, exist_ok=True)
    for trial in trials(sizes):
        if trial.key in log:
            continue
        found = measured(trial, folder)
        if found is not None:
            log.add(trial.key | found)
            print(f"{trial.way} {trial.nodes} x {trial.ranks}: {found}", file=sys.stderr, flush=True)
        yield found is not None


def measured(trial: Trial, folder: Path) -> dict[str, Any] | None:
    """Peak bytes, seconds and the digest of the file; None if the import failed."""
    source = folder / f"power-law-{trial.nodes}.npz"
    if not source.exists():
        make_graph(source, trial.nodes)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        target = Path(scratch) / ("out.npy" if trial.way == "dense" else "out.h5")
        started = time.perf_counter()
        code, peak = peak_of(_command(trial, source, target))
        seconds = time.perf_counter() - started
        if code:
            return None
        digest = hashlib.sha256(target.read_bytes()).hexdigest()[:16] if trial.way != "dense" else ""
    return {"peak_bytes": peak, "seconds": seconds, "digest": digest}


def make_graph(path: Path, n_nodes: int, seed: int = 0) -> None:
    """A graph with power-law degrees: an edge of node i leads to node n u^2, u uniform, in a shuffled order."""
    rng = np.random.default_rng(seed)
    names = rng.permutation(n_nodes).astype(np.int32)
    edges = np.empty((n_nodes * EDGES_PER_NODE, 2), np.int32)
    edges[:, 0] = np.repeat(np.arange(n_nodes, dtype=np.int32), EDGES_PER_NODE)
    for start in range(0, len(edges), 1 << 20):
        u = rng.random(min(1 << 20, len(edges) - start))
        edges[start : start + u.size, 1] = names[np.minimum((n_nodes * u * u).astype(np.int64), n_nodes - 1)]
    x = rng.random((n_nodes, N_FEATURES), np.float32)
    np.savez(path, edges=edges, x=x, y=rng.integers(0, N_CLASSES, n_nodes).astype(np.int8))


def _command(trial: Trial, source: Path, target: Path) -> list[str]:
    if trial.way == "dense":
        return [sys.executable, "-c", DENSE_WAY.format(threshold=THRESHOLD, hops=HOPS), str(source), str(target)]
    settings = ("--hops", str(HOPS), "--threshold", str(THRESHOLD), "--cut", trial.way, "--title", "power law")
    command = [HPC_SPARSE, "data", "import", "graph", str(source), str(target), *settings]
    if trial.ranks == 1:
        return command
    start = f'. jobs/openmpi.sh && exec mpirun -n {trial.ranks} "$@"'
    return ["bash", "-c", start, "bash", *command]


def peak_of(command: list[str]) -> tuple[int, int]:
    """Exit code, and the most memory of any process that the command has started."""
    done = subprocess.run([sys.executable, "-c", MEASURE, *command], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    code, peak = (int(word) for word in done.stdout.split())
    return code, peak


def report(log: RunLog) -> list[str]:
    """The lines of the report, of as many imports as are finished."""
    records = {(each["way"], each["nodes"], each["ranks"]): each for each in log}
    lines = ["# Memory of the import of graphs", "", LEGEND, ""]
    lines += [", ".join(f"{name} {what}" for name, what in machine().items()), ""]
    lines += ["| way | nodes | ranks | peak, MB | of one rank's | seconds | bytes |", "|---" * 7 + "|"]
    for (way, nodes, ranks), record in sorted(records.items()):
        if nodes == SMALLEST:
            continue
        peak, one = _beyond(records, way, nodes, ranks), _beyond(records, way, nodes, 1)
        share = f"{peak / one:.2f}" if ranks > 1 and one else ""
        same = ""
        if ranks > 1 and (way, nodes, 1) in records:
            same = "equal" if record["digest"] == records[way, nodes, 1]["digest"] else "DIFFERENT"
        cells = (way, f"{nodes:,}", str(ranks), f"{peak / 1e6:,.1f}", share, f"{record['seconds']:,.1f}", same)
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    for way, least in (("pre", 10_000), ("dense", 2_500)):
        points = [(n, _beyond(records, w, n, r)) for w, n, r in records if w == way and r == 1 and n >= least]
        if len(points) > 2:
            lines.append(f"Slope of log(peak) against log(nodes), `{way}`: {slope(points):.2f}.")
    return [*lines, ""]


def slope(points: Sequence[tuple[int, float]]) -> float:
    """Slope of the line of least squares through the logarithms."""
    x, y = (np.log([point[axis] for point in points]) for axis in (0, 1))
    return float(np.polyfit(x, y, 1)[0])


def _beyond(records: dict[tuple[str, int, int], dict[str, Any]], way: str, nodes: int, ranks: int) -> float:
    """Peak beyond that of the smallest graph."""
    own, least = records.get((way, nodes, ranks)), records.get((way, SMALLEST, ranks))
    return math.nan if own is None or least is None else own["peak_bytes"] - least["peak_bytes"]
