from __future__ import annotations

import socket
import time
from dataclasses import replace

import pytest

from hpc_sparse.monitor.heartbeat import RankEnd, RootEnd, Sign
from hpc_sparse.monitor.position import Beat, Phase

BEAT = Beat(number=7, phase=Phase.TRAINING, epoch=3, step=2**33)
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
    own = Sign(2, BEAT)
    assert rank.exchange(own) == []
    root_sign = Sign(0, Beat(1), has_left=True)
    assert exchange_until(root, root_sign)[0] == own
    assert exchange_until(rank, own)[0] == root_sign
    rank.close()


def test_root_answers_every_rank_it_knows_although_only_one_has_spoken_again(root):
    ends = [connect(root) for _ in range(3)]
    for number, end in enumerate(ends, 1):
        end.exchange(Sign(number, BEAT))
    heard = exchange_until(root, Sign(0, BEAT), lambda found: len({sign.rank for sign in found}) == 3)
    assert {sign.rank for sign in heard} == {1, 2, 3}
    root.exchange(Sign(0, BEAT))
    for number, end in enumerate(ends, 1):
        assert exchange_until(end, Sign(number, BEAT))[-1].rank == 0
        end.close()


@pytest.mark.parametrize(
    "sign", [Sign(0, BEAT), Sign(4, BEAT), Sign(-1, BEAT)], ids=["root's own rank", "too large", "negative"]
)
def test_a_rank_that_does_not_exist_is_not_heard(root, sign):
    rank = connect(root)
    rank.exchange(sign)
    rank.exchange(Sign(3, BEAT))
    assert {sign.rank for sign in exchange_until(root, Sign(0, BEAT))} == {3}
    rank.close()


def test_without_the_token_nobody_is_heard_or_answered(root):
    stranger, rank = connect(root, token=bytes(16)), connect(root)
    stranger.exchange(Sign(1, BEAT))
    rank.exchange(Sign(3, BEAT))
    assert {sign.rank for sign in exchange_until(root, Sign(0, BEAT))} == {3}
    assert exchange_until(rank, Sign(3, BEAT))
    assert stranger.exchange(Sign(1, BEAT)) == []
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
    tapped.exchange(Sign(1, BEAT))
    data = wiretap.recv(100)
    assert data[PHASE_BYTE] == BEAT.phase
    wiretap.sendto(change(data), ("127.0.0.1", root.meeting.port))
    rank.exchange(Sign(3, BEAT))
    assert {sign.rank for sign in exchange_until(root, Sign(0, BEAT))} == {3}
    for end in (wiretap, tapped, rank):
        end.close()


def test_on_one_machine_the_port_is_open_to_that_machine_only(root):
    assert root.meeting.addresses == ("127.0.0.1",)


def test_across_machines_root_names_addresses_that_others_may_reach():
    root = RootEnd(2, is_one_node=False)
    assert not [address for address in root.meeting.addresses if address.startswith("127.")]
    if root.meeting.addresses:
        rank = RankEnd(root.meeting)
        rank.exchange(Sign(1, BEAT))
        assert exchange_until(root, Sign(0, BEAT))[0].rank == 1
        rank.close()
    root.close()
