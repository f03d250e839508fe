"""Studies of graphs: what the tables say of finished imports and runs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "tools"))

from studies import graph_memory, graphs


def test_the_table_of_memory_takes_off_the_smallest_graph_and_compares_the_bytes():
    def record(nodes, ranks, megabytes, digest):
        peak = {"peak_bytes": megabytes * 10**6, "seconds": 1.0, "digest": digest}
        return {"way": "pre", "nodes": nodes, "ranks": ranks} | peak

    log = [record(100, 1, 200, ""), record(100, 2, 210, "")]
    log += [record(10**n, 1, 200 + 10 ** (n - 3), "a") for n in (4, 5, 6)]
    log += [record(10**6, 2, 210 + 500, "a"), record(10**5, 2, 210 + 60, "b")]
    lines = "\n".join(graph_memory.report(log))
    assert "| pre | 1,000,000 | 2 | 500.0 | 0.50 | 1.0 | equal |" in lines
    assert "| pre | 100,000 | 2 | 60.0 | 0.60 | 1.0 | DIFFERENT |" in lines
    assert "`pre`: 1.00." in lines


def test_a_graph_of_the_study_has_power_law_degrees(tmp_path):
    graph_memory.make_graph(tmp_path / "graph.npz", 20_000)
    with np.load(tmp_path / "graph.npz") as archive:
        degrees = np.sort(np.bincount(archive["edges"].reshape(-1)))[::-1]
    assert degrees.sum() == 2 * graph_memory.EDGES_PER_NODE * 20_000
    ranks = np.arange(10, 1000)
    slope = np.polyfit(np.log(ranks), np.log(degrees[ranks]), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.1)  # that of exponent 3


def test_hops_and_epochs_are_chosen_on_validation_nodes_alone():
    def record(hops, part, curve):
        trial = dict(zip(graphs.KEY, ("dcnn", "random", hops, "pre", 0.0, 0, part), strict=True))
        return trial | {"accuracy": curve[-1], "curve": curve}

    log = [record(2, "validation", [0.5, 0.8, 0.7]), record(3, "validation", [0.6, 0.7, 0.7])]
    assert graphs.chosen([*log, record(3, "test", [0.9, 0.9, 0.9])], "dcnn", "random") == (2, 2.0)
