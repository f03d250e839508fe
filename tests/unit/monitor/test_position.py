"""How far a rank has come, and its time with files."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hpc_sparse.monitor import position as module
from hpc_sparse.monitor.position import Phase, PositionTracker


def test_only_time_in_phases_that_touch_files_counts_and_only_once(monkeypatch):
    clock = iter([10.0, 13.0, 20.0, 20.5, 21.5])
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    tracker = PositionTracker()
    assert tracker.take_file_seconds() == 0
    tracker.at(Phase.READING)  # 10
    tracker.at(Phase.TRAINING, 1, 1)  # 13
    tracker.at(Phase.SYNCING)
    tracker.at(Phase.RECORDING)  # 20
    tracker.at(Phase.WRITING)  # 20.5
    tracker.at(Phase.EVOLVING)  # 21.5
    tracker.at(Phase.TRAINING)
    assert tracker.take_file_seconds() == pytest.approx(3 + 0.5 + 1)
    assert tracker.take_file_seconds() == 0
    assert next(clock, None) is None
