"""Vector instructions that kernels are compiled for: the widest of this machine, or narrower ones on demand.

The environment variable ``HPC_SPARSE_SIMD`` chooses narrower ones, for tests and measurements of what other machines
do. The last bits of results depend on the choice; a checkpoint tells it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import llvmlite.binding as llvm

from hpc_sparse.errors import MachineError, quoted

SETTING = "HPC_SPARSE_SIMD"
"""The environment variable."""


class InstructionSet(NamedTuple):
    """Vector instructions.

    Attributes
    ----------
    name : str
    lanes : int
        float32 values in one register.
    needs : tuple of str
        Features of the processor, as LLVM calls them, that make it this set.
    processor : str
        A processor that has no wider one: what LLVM optimises for where a machine has.
    """

    name: str
    lanes: int
    needs: tuple[str, ...]
    processor: str


SETS = (
    InstructionSet("avx512", 16, ("avx512f",), "skylake-avx512"),
    InstructionSet("avx2", 8, ("avx2", "fma"), "haswell"),
    InstructionSet("avx", 8, ("avx",), "sandybridge"),
    InstructionSet("sse", 4, ("sse2",), "nehalem"),
    InstructionSet("neon", 4, ("neon",), "generic"),
)
"""From the widest to the narrowest. SVE counts as NEON, whose registers are its least."""

OTHER = InstructionSet("other", 4, (), "generic")
"""Whatever else LLVM knows: it makes vectors of four of it."""

BEYOND = {
    "avx512": (),
    "avx2": ("avx512", "avx10", "amx"),
    "avx": ("avx512", "avx10", "amx", "avx2", "avxvnni", "fma", "vaes", "vpclmul", "bmi", "f16c", "movbe", "lzcnt"),
    "sse": ("avx", "amx", "fma", "vaes", "vpclmul", "bmi", "f16c", "movbe", "lzcnt", "gfni", "xop"),
}
"""How the names of the features begin that a set does without."""


def instruction_set(features: Mapping[str, bool], wanted: str | None) -> InstructionSet:
    """The set to compile for.

    Parameters
    ----------
    features : dict of str to bool
        Of the machine, as LLVM calls them.
    wanted : str or None
        A name; None or "" for the widest that the machine has.

    Raises
    ------
    MachineError
        There is no such set, or the machine lacks it.
    """
    has = [each for each in SETS if all(features.get(feature) for feature in each.needs)] or [OTHER]
    found = next((each for each in has if each.name == wanted), None) if wanted else has[0]
    if found is None:
        names = ", ".join(each.name for each in has)
        raise MachineError(f'{SETTING} = "{quoted(str(wanted))}": expected one that this machine has: {names}')
    return found


def use_instruction_set(config: Any) -> InstructionSet:
    """Have numba compile for the set that the environment asks for; call before anything is compiled.

    Parameters
    ----------
    config : module
        ``numba.core.config``; features that the user has set there count as those of the machine.

    Raises
    ------
    MachineError
        As :func:`instruction_set`.
    """
    features = _features(config)
    found = instruction_set(features, os.environ.get(SETTING))
    if found != instruction_set(features, None):
        beyond = BEYOND[found.name]
        left = {name: has and not name.startswith(beyond) for name, has in features.items()}
        config.CPU_NAME = found.processor
        config.CPU_FEATURES = ",".join(("+" if has else "-") + name for name, has in sorted(left.items()))
    return found


def _features(config: Any) -> dict[str, bool]:
    if config.CPU_FEATURES is None:
        return dict(llvm.get_host_cpu_features())
    given = (each.strip() for each in str(config.CPU_FEATURES).split(",") if each.strip())
    return {each.lstrip("+-"): not each.startswith("-") for each in given}
