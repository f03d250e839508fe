"""Runs that cannot fit are refused with the plan's numbers, others are not."""

from __future__ import annotations

import pytest

from hpc_sparse.errors import MachineError
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.planning.machine import AvailableMemory
from hpc_sparse.planning.memory import MemoryItem, MemoryPlan
from hpc_sparse.planning.network_size import LayerSize, NetworkSize
from hpc_sparse.planning.refusal import gigabytes, refuse_what_cannot_fit
from hpc_sparse.runs import memory_check
from hpc_sparse.runs.folder import RunFolder
from hpc_sparse.runs.plan import RunPlan

SIZE = NetworkSize((LayerSize(1_000_000, 2_000_000, 3_000_000),))
ITEMS = (
    MemoryItem("network", "weights", 2 * 10**9),
    MemoryItem("working", "activations", 4 * 10**9),
    MemoryItem("program", "program", 10**9),
)
PLAN = MemoryPlan(ITEMS, {"training": 7 * 10**9, "evolution": 9 * 10**9})


@pytest.mark.parametrize("n_ranks", [1, 3])
def test_what_fits_to_the_last_byte_is_let_through(n_ranks):
    refuse_what_cannot_fit(PLAN, SIZE, AvailableMemory(8 * 10**9 * n_ranks, "the node"), n_ranks)
    refuse_what_cannot_fit(PLAN, SIZE, None, n_ranks)
    with pytest.raises(MachineError):
        refuse_what_cannot_fit(PLAN, SIZE, AvailableMemory(8 * 10**9 * n_ranks - 1, "the node"), n_ranks)


def test_the_message_has_the_plan_s_numbers():
    with pytest.raises(MachineError) as caught:
        refuse_what_cannot_fit(PLAN, SIZE, AvailableMemory(10**10, "the node"), 2)
    message = str(caught.value)
    for part in (
        "3,000,000 neurons and 3,000,000 connections need about 8 GB",
        "network 2, working 4, evolution 2 more",
        "x 2 ranks on the node = 16 GB, but 10 GB are left (the node)",
        "--set runtime.memory_check=false",
    ):
        assert part in message
    assert caught.value.exit_code == 2


def test_gigabytes_have_the_digits_that_say_something():
    assert [gigabytes(n) for n in (0, 1_234_567, 9_876_543_210, 4 * 10**12)] == ["0", "0.00123", "9.88", "4,000"]


@pytest.mark.parametrize("is_checked", [True, False])
def test_a_run_is_checked_unless_told_not_to(make_config, make_dataset, tmp_path, monkeypatch, is_checked):
    monkeypatch.setattr(memory_check, "available_memory", lambda: AvailableMemory(1000, "this test"))
    config = make_config(f"runtime.memory_check={str(is_checked).lower()}")
    plan = RunPlan(config, make_dataset().info, RunFolder(tmp_path / "run"), None)
    ctx = ParallelContext.serial(threads=1)
    if is_checked:
        with pytest.raises(MachineError, match="this test"):
            memory_check.check_memory(ctx, plan)
    else:
        memory_check.check_memory(ctx, plan)
