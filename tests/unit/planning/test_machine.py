"""How much memory is left, told from files as systems have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc_sparse.planning.machine import available_memory

MEMINFO = "MemTotal:  8000 kB\nMemFree:  10 kB\nMemAvailable:    4000 kB\n"
UNLIMITED = "9223372036854771712"


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def version_2(folder: str, limit: str, usage: int, reclaimable: int = 0) -> dict[str, str]:
    folder = f"sys/fs/cgroup/{folder}".rstrip("/")
    return {
        f"{folder}/memory.max": f"{limit}\n",
        f"{folder}/memory.current": f"{usage}\n",
        f"{folder}/memory.stat": f"anon 5\ninactive_file {reclaimable}\n",
    }


def version_1(folder: str, limit: str, usage: int, reclaimable: int = 0) -> dict[str, str]:
    folder = f"sys/fs/cgroup/memory/{folder}".rstrip("/")
    return {
        f"{folder}/memory.limit_in_bytes": f"{limit}\n",
        f"{folder}/memory.usage_in_bytes": f"{usage}\n",
        f"{folder}/memory.stat": f"inactive_file 1\ntotal_inactive_file {reclaimable}\n",
    }


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 4000 * 1024),
        ({"proc/self/cgroup": "0::/job/step\n", **version_2("job/step", "max", 9)}, 4000 * 1024),
        ({"proc/self/cgroup": "0::/job/step\n", **version_2("job/step", "3000", 1000)}, 2000),
        ({"proc/self/cgroup": "0::/job/step\n", **version_2("job/step", "3000", 1000, 300)}, 2300),
        ({"proc/self/cgroup": "0::/job/step\n", **version_2("job", "3000", 2500)}, 500),
        ({"proc/self/cgroup": "0::/job/step\n", **version_2("", "700", 0), **version_2("job", "3000", 1)}, 700),
        ({"proc/self/cgroup": "0::/job\n", **version_2("job", "3000", 3001)}, 0),
        ({"proc/self/cgroup": "0::/job\n", **version_2("other", "3000", 1)}, 4000 * 1024),
        ({"proc/self/cgroup": "9:name=systemd:/\n4:memory:/a/b\n0::/\n", **version_1("a/b", "900", 100, 50)}, 850),
        ({"proc/self/cgroup": "4:cpu,memory:/a\n", **version_1("a", UNLIMITED, 5), **version_1("", "600", 1)}, 599),
        ({"proc/self/cgroup": "3:cpu:/a\n", **version_1("a", "600", 1)}, 4000 * 1024),
    ],
)
def test_the_smallest_of_all_limits_counts(tmp_path, files, expected):
    write(tmp_path, {"proc/meminfo": MEMINFO, **files})
    found = available_memory(tmp_path)
    assert found is not None
    assert found.n_bytes == expected
    assert ("cgroup" in found.source) == (expected != 4000 * 1024)


def test_a_system_that_tells_nothing_limits_nothing(tmp_path):
    assert available_memory(tmp_path) is None


def test_this_machine_has_memory_left():
    found = available_memory()
    assert found is None or found.n_bytes > 0
