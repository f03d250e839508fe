"""What happens before the first step: threads settled, every kernel ready, none compiled later."""

from __future__ import annotations

import sys

SCRIPT = """
import importlib, pkgutil
from pathlib import Path
from hpc_sparse import kernels
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs import run
from hpc_sparse.monitor.reporter import SilentReporter

def libraries():
    return Path("/proc/self/maps").read_text()

def variants():
    names = [found.name for found in pkgutil.walk_packages(kernels.__path__, "hpc_sparse.kernels.")]
    modules = [importlib.import_module(name) for name in names]
    return {f"{m.__name__}.{name}": len(item.signatures) for m in modules for name, item in vars(m).items()
            if hasattr(item, "signatures")}

settle, warm_up, after = run.use_threads, run.warm_up, {}

def settle_first(n):
    assert "libgomp" not in libraries(), "threads were started before it was settled how they wait"
    settle(n)

def look_after_warming_up(*arguments):
    warm_up(*arguments)
    after.update(variants())

run.use_threads, run.warm_up = settle_first, look_after_warming_up
request = run.RunRequest(Path("run.toml"), ("training.batch_size=128",), Path("out"))
run.train_run(ParallelContext.serial(threads=1), request, SilentReporter())
late = {name: n for name, n in variants().items() if n != after[name]}
assert after and not late, f"compiled in the run: {late}"
print("nothing compiled late")
"""


def test_threads_are_settled_first_and_nothing_is_compiled_after_the_warm_up(workplace, run):
    result = run("-c", SCRIPT, command=(sys.executable,), cwd=workplace, timeout=120)
    assert "nothing compiled late" in result.stdout


def test_the_users_limit_of_threads_is_kept(workplace, run):
    result = run("train", "run.toml", cwd=workplace, NUMBA_NUM_THREADS="1")
    assert "1 rank x 1 thread;" in result.stdout
