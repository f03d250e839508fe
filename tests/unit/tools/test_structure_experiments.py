"""Structure experiments: what they leave of a network, and their reports."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest

from hpc_sparse.network.connections.topology import Topology

TOOLS = Path(__file__).resolve().parents[3] / "tools"


@pytest.fixture(autouse=True)
def _tools(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))


@pytest.mark.parametrize("density", [0.0, 0.03, 0.3, 1.0])
def test_shuffled_connections_leave_every_neuron_as_many_as_before(density):
    from studies.structure import shuffled

    topology = Topology.random((31, 47), density, np.uint64(3))
    other = shuffled(topology, np.random.default_rng(0))
    other.check()
    np.testing.assert_array_equal(other.fan_in(), topology.fan_in())
    for each in (0, 46):
        assert np.count_nonzero(other.indices == each) == np.count_nonzero(topology.indices == each)
    np.testing.assert_array_equal(np.bincount(other.indices, minlength=47), np.bincount(topology.indices, minlength=47))
    n_same = np.isin(other.keys(), topology.keys()).sum()
    assert density in {0.0, 1.0} or n_same < 1.5 * density * topology.n_connections + 10


def test_connections_at_random_are_as_many(make_topology):
    from studies.structure import at_random

    topology = make_topology(23, 41)
    other = at_random(topology, np.random.default_rng(1))
    other.check()
    assert other.n_connections == topology.n_connections
    assert not np.array_equal(other.keys(), topology.keys())


def test_the_lowest_ranks_are_removed_and_nothing_else():
    from studies.structure_experiments import _ranks

    sizes = np.array([3.0, 0.5, 2.0, 9.0, 1.0])
    assert (_ranks(sizes) >= 0.4).tolist() == [True, False, True, True, False]
    assert (_ranks(sizes) >= 0.0).all()


def test_reports_average_over_seeds_and_say_where_accuracy_falls():
    from studies import structure_reports as reports

    shares, curves = (0.0, 0.1, 0.2), ([0.9, 0.89, 0.7], [0.8, 0.8, 0.8])
    records = [
        {"strategy": "set", "seed": seed, "shares": shares, "curves": {"any": curve}}
        for seed, curve in enumerate(curves)
    ]
    (row,) = [line for line in reports.report_robustness(records) if line.startswith("| `")]
    assert row == "| `set` | any | 85.00 ± 7.07 | 81.50 ± 2.12 | 0.2 | 0.2 |"
    freeze = [{"strategy": "set", "seed": 0, "accuracies": {"0": 0.5, "4": 0.75}, "changes": {"0": 0, "4": 4}}]
    assert "| `set` | 50.00 (0) | 75.00 (4) |" in reports.report_freeze(freeze)
    assert "| strategy | never | until epoch 4 |" in reports.report_freeze(freeze)


def test_a_command_has_all_options_with_its_own_defaults_and_its_own_options_besides():
    from studies.structure_options import Options, with_options

    got = []

    @with_options(strategies="static")
    def command(options, ends: str = "0,1") -> None:
        """Says what it is."""
        got.append((options, ends))

    parameters = inspect.signature(command).parameters
    assert list(parameters) == ["output", "data", "strategies", "density", "seeds", "epochs", "threads", "ends"]
    defaults = {name: each.default for name, each in parameters.items()}
    assert (defaults["output"], defaults["strategies"], defaults["ends"]) == (inspect.Parameter.empty, "static", "0,1")
    assert command.__doc__ == "Says what it is."
    command(**{**defaults, "output": Path("x.md"), "seeds": 7, "ends": "5"})
    assert got == [(Options(Path("x.md"), strategies="static", seeds=7), "5")]
