"""The clock of totals: seconds add up, and those of a body that fails do not count."""

from __future__ import annotations

import time

import pytest

from hpc_sparse.training.clock import Clock
from hpc_sparse.training.rank_totals import RankTotals


def test_seconds_add_up_under_their_name_unless_the_body_fails(monkeypatch):
    totals, now = RankTotals(sync=1.0), iter([10.0, 12.5, 20.0, 20.25, 30.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    for _ in range(2):
        with Clock(totals, "sync"):
            pass
    with pytest.raises(ZeroDivisionError), Clock(totals, "sync"):
        raise ZeroDivisionError
    assert totals == RankTotals(sync=1.0 + 2.5 + 0.25)
