"""Memory available to a run: of the node, and of the control groups that the process is in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")


@dataclass(frozen=True)
class AvailableMemory:
    """Memory that a node's ranks together may still take.

    Attributes
    ----------
    n_bytes : int
    source : str
        Origin of the limit.
    """

    n_bytes: int
    source: str


@dataclass(frozen=True)
class _ControlGroups:
    """One version of the kernel's interface: where its folders are, and what its files are called."""

    folder: str
    limit: str
    usage: str
    reclaimable: str


VERSION_1 = _ControlGroups(
    "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
)
VERSION_2 = _ControlGroups("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")


def available_memory(root: Path = ROOT) -> AvailableMemory | None:
    """The least that the node and any control group leave, or None where the system does not tell.

    Files that the system keeps in memory only because there is room count as available. ``root`` is where the
    system's own files are looked up.
    """
    found = [AvailableMemory(free, "memory limit of the job (cgroup)") for free in _left_by_groups(root)]
    if (free := _left_by_node(root)) is not None:
        found.append(AvailableMemory(free, "memory of the node"))
    return min(found, key=lambda each: each.n_bytes, default=None)


def _left_by_node(root: Path) -> int | None:
    for line in _lines(root / "proc/meminfo"):
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return None


def _left_by_groups(root: Path) -> Iterator[int]:
    """Free memory of each limited control group, from the process's own up to the outermost."""
    for line in _lines(root / "proc/self/cgroup"):
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            groups = VERSION_2
        elif "memory" in controllers.split(","):
            groups = VERSION_1
        else:
            continue
        top = root / groups.folder
        own = top / path.strip().lstrip("/")
        for folder in [own, *own.parents]:
            if not folder.is_relative_to(top):
                break
            if (left := _left_by_group(folder, groups)) is not None:
                yield left


def _left_by_group(folder: Path, groups: _ControlGroups) -> int | None:
    limit, usage = _number(folder / groups.limit), _number(folder / groups.usage)
    if limit is None or usage is None:
        return None
    statistics = dict(line.split(maxsplit=1) for line in _lines(folder / "memory.stat"))
    return max(0, limit - usage + int(statistics.get(groups.reclaimable, 0)))


def _number(path: Path) -> int | None:
    """The number in a file; None if there is no such file, or no limit in it."""
    lines = _lines(path)
    return int(lines[0]) if lines and lines[0].isdigit() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
