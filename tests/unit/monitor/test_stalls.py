from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from hpc_sparse.monitor.heartbeat import Heartbeat
from hpc_sparse.monitor.position import Phase, Position, PositionTracker
from hpc_sparse.monitor.stalls import FACTOR_WITHOUT_STEPS, StallWatch, Watched, find_stall, stall_watch
from hpc_sparse.parallel.context import ParallelContext

SYNC, TRAIN = Position(9, Phase.SYNCING, 3, 120), Position(8, Phase.TRAINING, 3, 120)


def stall(ranks, now=100.0, seconds=30.0, n_ranks=4):
    return find_stall(ranks, n_ranks, now, seconds, margin=1.0)


def test_a_rank_that_does_not_answer_is_named_although_the_others_wait_for_it():
    ranks = {rank: Watched(SYNC, 100, 71) for rank in (0, 1, 3)} | {2: Watched(TRAIN, 69, 69)}
    assert stall(ranks) == "rank 2 of 4 has not answered for 30 s (last: epoch 3, step 120, training)"
    assert stall(ranks, now=99) is None


def test_many_silent_ranks_are_named_together_and_not_endlessly():
    ranks = {rank: Watched(TRAIN, 0, 0) for rank in range(3)}
    assert stall(ranks).startswith("ranks 0, 1, 2 of 4 have not answered")
    many = {rank: Watched(TRAIN, 0, 0) for rank in range(100)}
    assert stall(many, n_ranks=100).startswith("ranks 0, 1, 2, 3, 4, 5, 6, 7 and 92 more of 100 have")


def test_a_rank_that_answers_but_is_stuck_in_its_own_work_is_named_although_others_go_on():
    ranks = {0: Watched(SYNC, 100, 99), 1: Watched(TRAIN, 100, 68)}
    assert stall(ranks) == "rank 1 of 4 has made no progress for 30 s (epoch 3, step 120, training)"
    assert stall(ranks | {1: Watched(TRAIN, 100, 69.5)}) is None


def test_a_rank_that_waits_while_others_go_on_is_not_stuck():
    assert stall({0: Watched(SYNC, 100, 99), 1: Watched(SYNC, 100, 10)}) is None


def test_where_all_wait_the_one_furthest_behind_is_named():
    ranks = {0: Watched(SYNC, 100, 60), 1: Watched(SYNC._replace(number=5), 100, 60), 2: Watched(SYNC, 100, 61)}
    assert stall(ranks) == (
        "no rank has made progress for 30 s; furthest behind: rank 1 (epoch 3, step 120, in a sync)"
    )
    assert stall(ranks | {2: Watched(SYNC, 100, 80)}) is None


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.EVALUATING, Phase.WRITING])
def test_a_phase_without_steps_may_take_longer_as_long_as_the_rank_answers(phase):
    position, longest = Position(phase=phase), 30 * FACTOR_WITHOUT_STEPS
    assert stall({0: Watched(position, longest, 0)}, now=longest) is None
    assert stall({0: Watched(position, longest + 2, 0)}, now=longest + 2).startswith("no rank has made progress")
    assert stall({0: Watched(position, longest - 40, 0)}, now=longest).startswith("rank 0 of 4 has not answered")


def test_a_rank_that_has_left_is_not_missed():
    left = Watched(SYNC, 0, 0, has_left=True)
    assert stall({1: left}) is None
    assert stall({0: Watched(TRAIN, 100, 99), 1: left}) is None


class Line:
    """Delivers what a test says."""

    def __init__(self):
        self.incoming, self.sent = [], []

    def exchange(self, own):
        self.sent.append(own)
        found, self.incoming = self.incoming, []
        return found

    def close(self):
        pass


@pytest.fixture
def watching():
    def make(rank, size=3, seconds=4.0):
        ctx, line, said = replace(ParallelContext.serial(1), rank=rank, size=size), Line(), []
        return StallWatch(ctx, seconds, PositionTracker(), line, said.append), line, said

    return make


def test_root_tells_of_a_rank_that_falls_silent_and_of_none_before(watching):
    watch, line, said = watching(0)
    for second in range(8):
        line.incoming = [Heartbeat(1, Position(second))] + ([Heartbeat(2, TRAIN)] if second < 2 else [])
        watch._tracker.at(Phase.SYNCING, 1, second)
        watch.look(1.0)
    assert [text.split(" for ")[0] for text in said] == ["rank 2 of 3 has not answered"] * 2


def test_a_rank_never_heard_is_warned_of_once_and_not_taken_for_stalled(watching, caplog):
    watch, line, said = watching(0)
    for second in range(9):
        line.incoming = [Heartbeat(1, Position(second))]
        watch.look(1.0)
    assert said == []
    assert [record.getMessage() for record in caplog.records] == [
        "runtime.stall_timeout: no sign of life (UDP) has come from rank 2 of 3; they are not watched"
    ]


def test_the_lowest_rank_is_the_first_to_miss_root(watching):
    first = []
    for rank in (1, 2, 3):
        watch, line, said = watching(rank, size=4)
        line.incoming = [Heartbeat(0, SYNC)]
        for tenth in range(100):
            watch.look(0.1)
            if said:
                first.append(tenth)
                break
        assert said == ["rank 0 of 4 has not answered for 4 s (last: epoch 3, step 120, in a sync)"]
    assert first == sorted(set(first))


def test_root_that_has_left_is_not_missed(watching):
    watch, line, said = watching(1)
    line.incoming = [Heartbeat(0, SYNC, has_left=True)]
    for _ in range(10):
        watch.look(1.0)
    assert said == []


def test_a_lone_process_that_stands_still_is_ended_and_one_that_moves_is_not():
    said, tracker = [], PositionTracker()
    watch = StallWatch(ParallelContext.serial(1), 2.0, tracker, None, said.append)
    for step in range(9):
        tracker.at(Phase.TRAINING, 1, step)
        watch.look(1.0)
    assert said == []
    for _ in range(4):
        watch.look(1.0)
    assert said[0] == "rank 0 of 1 has made no progress for 2 s (epoch 1, step 8, training)"


def n_watching():
    """Threads of this package; others' may end at any time."""
    return sum(thread.name == "stall watch" for thread in threading.enumerate())


def test_no_thread_is_started_unless_asked_for():
    with stall_watch(ParallelContext.serial(1), 0.0, PositionTracker()):
        assert n_watching() == 0
    with stall_watch(ParallelContext.serial(1), 1.0, PositionTracker()):
        assert n_watching() == 1
    assert n_watching() == 0


def test_a_process_that_was_asleep_has_not_stood_still(monkeypatch):
    """The clock of the watch goes on by little, however long the process was suspended."""
    watch, now = (
        StallWatch(ParallelContext.serial(1), 8.0, PositionTracker(), None, lambda text: None),
        iter([0, 1, 1000, 1001]),
    )
    passed = []
    monkeypatch.setattr("hpc_sparse.monitor.stalls.time", SimpleNamespace(monotonic=lambda: next(now)))
    monkeypatch.setattr(watch, "look", passed.append)
    rounds = iter([False, False, False, True])
    monkeypatch.setattr(watch._is_over, "wait", lambda seconds: next(rounds))
    watch._run()
    assert passed == [1, 2, 1]


def test_where_a_rank_is_in_words():
    assert str(TRAIN) == "epoch 3, step 120, training"
    assert str(Position(phase=Phase.WRITING, epoch=2)) == "epoch 2, writing a checkpoint"
    assert str(Position()) == "starting"
    assert all(str(Position(phase=phase)) for phase in Phase)
