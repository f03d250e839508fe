"""Estimators in forked processes and in threads: they work, and nothing hangs or aborts."""

from __future__ import annotations

import os
import subprocess
import sys

START = """
import numpy as np
from hpc_sparse import SparseMLPClassifier
X = np.random.default_rng(0).normal(size=(300, 20)).astype(np.float32)
y = (X[:, 0] > 0).astype(int)
model = SparseMLPClassifier((16,), epochs=2, random_state=0).fit(X, y)
expected = model.predict_proba(X)
"""
AFTER_A_FORK = (
    START
    + """
import multiprocessing, os, threading, warnings
warnings.simplefilter("ignore")
def use(number):
    again = SparseMLPClassifier((16,), epochs=2, random_state=0).fit(X, y)
    found = []
    thread = threading.Thread(target=lambda: found.append(model.predict_proba(X)))
    thread.start(); thread.join()
    return all(np.array_equal(each, expected) for each in (model.predict_proba(X), again.predict_proba(X), *found))
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map(use, range(4)))
pid = os.fork()
if not pid:
    child = os.fork()
    status = os.waitpid(child, 0)[1] if child else 0 if use(0) else 9
    os._exit(os.waitstatus_to_exitcode(status))
print(os.waitpid(pid, 0)[1], np.array_equal(model.predict_proba(X), expected))
"""
)
IN_THREADS = (
    START
    + """
import joblib, numba
from hpc_sparse.analysis import topology_distance
def use(number):
    SparseMLPClassifier((16,), epochs=2, random_state=number).fit(X, y)
    topology_distance(model.network_, model.network_)
    return np.array_equal(model.predict_proba(X), expected)
print(joblib.Parallel(4, backend="threading")(joblib.delayed(use)(number) for number in range(8)))
print(numba.threading_layer())
"""
)


def output_of(program, layer):
    environment = {**os.environ, "NUMBA_NUM_THREADS": "2", "NUMBA_THREADING_LAYER": layer}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_a_process_forked_after_a_fit_predicts_and_fits():
    assert output_of(AFTER_A_FORK, "omp") == ["[True, True, True, True]", "0 True"]


def test_threads_may_fit_and_predict_at_the_same_time_also_where_numba_serves_one():
    assert output_of(IN_THREADS, "workqueue") == [str([True] * 8), "workqueue"]
