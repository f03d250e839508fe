"""Vector instructions that kernels are compiled for."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import llvmlite.binding as llvm
import pytest

from hpc_sparse.errors import MachineError
from hpc_sparse.kernels.instruction_set import BEYOND, SETS, SETTING, instruction_set, use_instruction_set

WIDE = {"sse2": True, "avx": True, "avx2": True, "fma": True, "avx512f": True, "avx512vl": True, "amx-tile": True}


@pytest.mark.parametrize(
    ("missing", "name", "lanes"),
    [
        ((), "avx512", 16),
        (("avx512f",), "avx2", 8),
        (("avx512f", "fma"), "avx", 8),
        (("avx512f", "avx2"), "avx", 8),
        (("avx512f", "avx2", "avx"), "sse", 4),
        (tuple(WIDE), "other", 4),
    ],
)
def test_the_widest_that_the_processor_has_is_taken(missing, name, lanes):
    found = instruction_set({feature: feature not in missing for feature in WIDE}, None)
    assert (found.name, found.lanes) == (name, lanes)


def test_processors_of_the_other_kind_have_neon():
    assert instruction_set({"neon": True, "sve": True}, None).lanes == 4


@pytest.mark.parametrize("name", ["avx2", "avx", "sse"])
def test_narrower_ones_can_be_asked_for(name):
    assert instruction_set(WIDE, name).name == name


@pytest.mark.parametrize("name", ["avx9", "neon", "AVX2", "avx512\x1b[31m"])
def test_one_that_the_machine_lacks_is_refused_with_those_that_it_has(name):
    with pytest.raises(MachineError, match=r"expected one that this machine has: avx512, avx2, avx, sse") as caught:
        instruction_set(WIDE, name)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("wanted", [name for name, beyond in BEYOND.items() if beyond])
def test_the_compiler_is_told_to_do_without_what_lies_beyond(monkeypatch, wanted):
    monkeypatch.setenv(SETTING, wanted)
    config = SimpleNamespace(CPU_NAME=None, CPU_FEATURES=",".join(f"+{name}" for name in WIDE))
    found = use_instruction_set(config)
    features = config.CPU_FEATURES.split(",")
    assert found.processor == config.CPU_NAME
    assert {name.lstrip("+-") for name in features} == set(WIDE)
    assert all(f"+{name}" in features for name in found.needs)
    assert not any(name.startswith("+") and name[1:].startswith(BEYOND[wanted]) for name in features)


def test_without_a_wish_the_compiler_keeps_its_own_choice(monkeypatch):
    monkeypatch.delenv(SETTING, raising=False)
    config = SimpleNamespace(CPU_NAME=None, CPU_FEATURES=None)
    found = use_instruction_set(config)
    assert (config.CPU_NAME, config.CPU_FEATURES) == (None, None)
    assert found == instruction_set(dict(llvm.get_host_cpu_features()), None)


def test_features_that_the_user_has_set_for_numba_count_as_those_of_the_machine(monkeypatch):
    monkeypatch.setenv(SETTING, "avx512")
    with pytest.raises(MachineError, match="expected one that this machine has: avx2, avx, sse"):
        use_instruction_set(SimpleNamespace(CPU_NAME=None, CPU_FEATURES="+sse2,+avx,+avx2,+fma,-avx512f"))


def test_the_setting_fixes_registers_and_widths_of_tiles_of_a_process():
    code = "from hpc_sparse.kernels.simd import machine; print(machine.LANES, machine.WIDTHS[-1])"
    host = dict(llvm.get_host_cpu_features())
    for each in (own for own in SETS if all(host.get(name) for name in own.needs)):
        environment = {**os.environ, SETTING: each.name}
        result = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        assert result.stdout.split() == [str(each.lanes), str(8 * each.lanes)]
