"""Plans as plain values and as tables."""

from __future__ import annotations

import json

import pytest

from hpc_sparse.errors import ConfigError
from hpc_sparse.kernels import INSTRUCTION_SET
from hpc_sparse.kernels.simd.machine import tile_width
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.planning.report import PlanRequest, plan_run
from hpc_sparse.planning.tables import print_plan

HELD_OUT = "data.validation_fraction=0.2"
CTX = ParallelContext.serial(threads=1)
CONFIG = """
[data]
path = "small.h5"
[network]
hidden = [40, 30]
epsilon = 4
[training]
epochs = 2
batch_size = 16
[runtime]
threads = 1
"""


@pytest.fixture
def config_path(tmp_path, write_small_data):
    write_small_data(tmp_path / "small.h5", "sparse")
    (tmp_path / "run.toml").write_text(CONFIG)
    return tmp_path / "run.toml"


def test_a_plan_has_everything_and_is_json(config_path, capsys):
    plan = plan_run(CTX, PlanRequest(config_path, ("network.epsilon=2",), n_ranks=4, ranks_per_node=2, memory=24))
    assert (plan["ranks"], plan["ranks_per_node"], plan["threads_per_rank"]) == (4, 2, 1)
    assert (plan["instructions"], plan["tile_width"]) == (INSTRUCTION_SET.name, tile_width([30, 40, 30, 3]))
    assert plan["neurons"] == 30 + 40 + 30 + 3
    assert plan["connections"] == sum(layer["n_connections"] for layer in plan["layers"])
    memory = plan["memory"]
    assert memory["fits"]
    assert memory["peak_per_node"] == 2 * memory["peak"] == 2 * max(memory["peaks"].values())
    assert memory["all_the_time"] == sum(item["n_bytes"] for item in memory["items"])
    assert 0 < memory["available_to_node"] < 24 * 10**9
    assert json.loads(json.dumps(plan))["predicted"]["epoch"] > 0
    for part, (low, high) in plan["predicted_ranges"].items():
        assert 0 < low < plan["predicted"][part] < high
    assert set(plan["predicted_ranges"]) == {"construction", "step", "evolution", "evaluation", "epoch", "checkpoint"}
    schedule = plan["schedule"]
    # The rate is to become four times as large in five epochs, of which there are two.
    assert schedule["highest_learning_rate"] == pytest.approx((1 + 3 / 5) * schedule["first_learning_rate"])
    assert (schedule["drop_fraction"], schedule["drop_schedule"]) == (0.3, "constant")
    print_plan(plan)
    shown = " ".join(capsys.readouterr().out.split())
    for part in (
        "103 neurons",
        "in the first epoch, at most",
        "set replaces 30%",
        f"{INSTRUCTION_SET.name} instructions, activations in tiles of",
        "4 ranks, 2 on a node",
        "may take",
        "activations and deltas",
        "sync",
        "checkpoint",
        "fits into the",
    ):
        assert part in shown


def test_held_out_samples_are_not_trained_on(config_path, capsys):
    plan, with_part = (plan_run(CTX, PlanRequest(config_path, overrides)) for overrides in ((), (HELD_OUT,)))
    assert plan["samples"] == {"train": 331, "validation": 0, "test": 97}
    assert with_part["samples"] == {"train": 331 - 66, "validation": 66, "test": 97}
    assert (plan["predicted"]["n_steps"], with_part["predicted"]["n_steps"]) == (21, 17)
    print_plan(with_part)
    shown = capsys.readouterr().out
    assert "samples: train 265, validation 66, test 97" in shown
    assert "validation samples" in shown
    with pytest.raises(ConfigError, match=r"data.validation_fraction = 0.001: holds out 0"):
        plan_run(CTX, PlanRequest(config_path, ("data.validation_fraction=0.001",)))


def test_what_does_not_fit_is_said(config_path, capsys):
    plan = plan_run(CTX, PlanRequest(config_path, memory=0.01))
    assert not plan["memory"]["fits"]
    print_plan(plan)
    assert "does not fit into the 0 GB" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"n_ranks": 0}, "--ranks 0"), ({"ranks_per_node": -1}, "--ranks-per-node -1"), ({"memory": 0.0}, "--memory 0.0")],
)
def test_wrong_numbers_are_refused(config_path, wrong, message):
    with pytest.raises(ConfigError, match=message):
        plan_run(CTX, PlanRequest(config_path, **wrong))
