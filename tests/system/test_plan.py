"""The command ``hpc-sparse plan``, and training that is refused for want of memory."""

from __future__ import annotations

import json

import pytest

RANKS = [None, 2]


@pytest.mark.parametrize("ranks", RANKS)
def test_a_plan_is_shown_and_leaves_nothing_behind(workplace, run, ranks):
    before = sorted(workplace.iterdir())
    shown = run("plan", "run.toml", "--memory", 24, cwd=workplace, ranks=ranks).stdout
    assert "fits into the" in shown
    plan = json.loads(run("plan", "run.toml", "--json", cwd=workplace, ranks=ranks).stdout)
    assert plan["ranks"] == (ranks or 1)
    assert plan["neurons"] == 30 + 24 + 17 + 3
    assert (plan["predicted"]["sync"] > 0) == (ranks is not None)
    assert sorted(workplace.iterdir()) == before


def test_a_plan_of_other_ranks_and_settings(workplace, run):
    arguments = ["--set", "network.hidden=[1000]", "--ranks", 8, "--ranks-per-node", 4, "--json"]
    plan = json.loads(run("plan", "run.toml", *arguments, cwd=workplace).stdout)
    assert (plan["ranks"], plan["ranks_per_node"], plan["neurons"]) == (8, 4, 1033)
    assert "unknown key" in run("plan", "run.toml", "--set", "network.hiden=[3]", cwd=workplace, code=2).stderr
    assert "--ranks 0" in run("plan", "run.toml", "--ranks", 0, cwd=workplace, code=2).stderr


@pytest.mark.parametrize("ranks", RANKS)
def test_a_network_beyond_the_memory_is_refused_at_once(workplace, run, ranks):
    # Some ten terabytes: of more memory than a node has, however large it is.
    huge = ["--set", f"network.hidden={[2_000_000_000] * 16}"]
    message = run("train", "run.toml", *huge, cwd=workplace, ranks=ranks, code=2).stderr
    assert message.count("hpc-sparse: not enough memory: 32,000,000,033 neurons") == 1
    assert "runtime.memory_check=false" in message
    assert not (workplace / "runs").exists()
