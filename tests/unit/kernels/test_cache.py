"""Compiled kernels where their cache is damaged, full, or cannot be written to: one warning, and the same numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import errno, sys, warnings
import numpy as np
warnings.simplefilter("always")
from numba.core import caching
if "nowhere" in sys.argv:
    caching.CacheImpl._locator_classes = []  # what is left where no folder can be written to
if "full" in sys.argv:
    def save(self, path, data=None):
        raise OSError(errno.ENOSPC, "No space left on device")
    caching.IndexDataCacheFile._save_data = save
from hpc_sparse.kernels.digest import sum_words
from hpc_sparse.kernels.sparse.descent import add_scaled
print(int(sum_words(np.arange(5, dtype=np.uint32), np.uint64(0))))
print(int(sum_words(np.arange(5, dtype=np.uint8), np.uint64(0))) > 0)
"""
"""Two kernels of one function, so that a second warning could come."""


def run(cache: Path, *arguments: str):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "HOME": str(cache), "XDG_CACHE_HOME": str(cache)}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout, result.stderr.count("RuntimeWarning: compiled kernels in")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    output, n_warnings = run(folder)
    assert n_warnings == 0
    return folder, output


@pytest.mark.parametrize(("suffix", "length"), [("nbi", 0), ("nbc", 30)])
def test_truncated_files_are_compiled_anew_and_mended(sound, suffix, length):
    folder, expected = sound
    files = list(folder.rglob(f"*.{suffix}"))
    assert files
    for file in files:
        os.truncate(file, length)
    assert run(folder) == (expected, 1)
    assert run(folder) == (expected, 0)


def test_a_full_disk_and_a_folder_that_cannot_be_written_to_are_only_slow(tmp_path, sound):
    _, expected = sound
    assert run(tmp_path / "full", "full") == (expected, 1)
    assert run(tmp_path / "nowhere", "nowhere") == (expected, 1)
