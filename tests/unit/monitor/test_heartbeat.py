from __future__ import annotations

import socket
import time
from dataclasses import replace

import pytest

from hpc_sparse.monitor.heartbeat import Heartbeat, RankEnd, RootEnd
from hpc_sparse.monitor.position import Phase, Position

POSITION = Position(number=7, phase=Phase.TRAINING, epoch=3, step=2**33)
SECONDS_TO_WAIT = 60.0
"""For what must come: a machine may be busy with something else for a while."""


@pytest.fixture
def root():
    end = RootEnd(4, is_one_node=True)
    yield end
    end.close()


def exchange_until(end, own, is_enough=bool):
    """What has come as soon as it is enough."""
    found, deadline = [], time.monotonic() + SECONDS_TO_WAIT
    while not is_enough(found):
        assert time.monotonic() < deadline, f"came: {found}"
        found += end.exchange(own)
    return found


def connect(root, **changes):
    return RankEnd(replace(root.meeting, **changes))


def test_root_hears_a_rank_and_the_rank_hears_root(root):
    rank = connect(root)
    own = Heartbeat(2, POSITION)
    assert rank.exchange(own) == []
    root_heartbeat = Heartbeat(0, Position(1), has_left=True)
    assert exchange_until(root, root_heartbeat)[0] == own
    assert exchange_until(rank, own)[0] == root_heartbeat
    rank.close()


def test_root_answers_every_rank_it_knows_although_only_one_has_spoken_again(root):
    ends = [connect(root) for _ in range(3)]
    for number, end in enumerate(ends, 1):
        end.exchange(Heartbeat(number, POSITION))
    heard = exchange_until(
        root, Heartbeat(0, POSITION), lambda found: len({heartbeat.rank for heartbeat in found}) == 3
    )
    assert {heartbeat.rank for heartbeat in heard} == {1, 2, 3}
    root.exchange(Heartbeat(0, POSITION))
    for number, end in enumerate(ends, 1):
        assert exchange_until(end, Heartbeat(number, POSITION))[-1].rank == 0
        end.close()


@pytest.mark.parametrize(
    "heartbeat",
    [Heartbeat(0, POSITION), Heartbeat(4, POSITION), Heartbeat(-1, POSITION)],
    ids=["root's own rank", "too large", "negative"],
)
def test_a_rank_that_does_not_exist_is_not_heard(root, heartbeat):
    rank = connect(root)
    rank.exchange(heartbeat)
    rank.exchange(Heartbeat(3, POSITION))
    assert {heartbeat.rank for heartbeat in exchange_until(root, Heartbeat(0, POSITION))} == {3}
    rank.close()


def test_without_the_token_nobody_is_heard_or_answered(root):
    stranger, rank = connect(root, token=bytes(16)), connect(root)
    stranger.exchange(Heartbeat(1, POSITION))
    rank.exchange(Heartbeat(3, POSITION))
    assert {heartbeat.rank for heartbeat in exchange_until(root, Heartbeat(0, POSITION))} == {3}
    assert exchange_until(rank, Heartbeat(3, POSITION))
    assert stranger.exchange(Heartbeat(1, POSITION)) == []
    stranger.close()
    rank.close()


PHASE_BYTE = -17


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: b"",
        lambda data: data[:PHASE_BYTE] + bytes([max(Phase) + 1]) + data[PHASE_BYTE + 1 :],
    ],
    ids=["short", "long", "empty", "no such phase"],
)
def test_datagrams_of_another_form_are_passed_over(root, change):
    wiretap = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    wiretap.bind(("127.0.0.1", 0))
    wiretap.settimeout(SECONDS_TO_WAIT)
    tapped, rank = connect(root, port=wiretap.getsockname()[1]), connect(root)
    tapped.exchange(Heartbeat(1, POSITION))
    data = wiretap.recv(100)
    assert data[PHASE_BYTE] == POSITION.phase
    wiretap.sendto(change(data), ("127.0.0.1", root.meeting.port))
    rank.exchange(Heartbeat(3, POSITION))
    assert {heartbeat.rank for heartbeat in exchange_until(root, Heartbeat(0, POSITION))} == {3}
    for end in (wiretap, tapped, rank):
        end.close()


def test_on_one_machine_the_port_is_open_to_that_machine_only(root):
    assert root.meeting.addresses == ("127.0.0.1",)


def test_across_machines_root_names_addresses_that_others_may_reach():
    root = RootEnd(2, is_one_node=False)
    assert not [address for address in root.meeting.addresses if address.startswith("127.")]
    if root.meeting.addresses:
        rank = RankEnd(root.meeting)
        rank.exchange(Heartbeat(1, POSITION))
        assert exchange_until(root, Heartbeat(0, POSITION))[0].rank == 1
        rank.close()
    root.close()
