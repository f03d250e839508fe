"""The model of data-parallel training in tools/scaling_model: parts of an epoch, and where it ends."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from hpc_sparse.planning.network_size import LayerSize, NetworkSize
from hpc_sparse.planning.prediction import Prediction

TOOLS = Path(__file__).parents[3] / "tools"
SIZE = NetworkSize((LayerSize(12, 1000, 50_000), LayerSize(1000, 3, 3000)))
BYTES = 2 * 4 * (50_000 + 3000 + 1000 + 3)


@pytest.fixture(scope="module")
def study():
    sys.path.insert(0, str(TOOLS))
    from studies import scaling_model

    yield scaling_model
    sys.path.remove(str(TOOLS))


@pytest.fixture
def make_point(study, make_config, make_dataset):
    def make(
        n_ranks: int,
        *overrides: str,
        bandwidth: float = 1e6,
        latency: float = 0.0,
        n_cores: int | None = None,
        crowding: float = 1.0,
        unevenness: float = 0.0,
    ):
        alone = Prediction(
            n_steps=12,
            n_syncs=0,
            construction=1.0,
            step=0.1,
            evolution=0.5,
            sync=0.0,
            evaluation=0.4,
            epoch=2.1,
            checkpoint=1.0,
            n_measured=1,
        )
        constants = study.Constants(alone, 1e9, study.Link(latency, bandwidth), unevenness)
        return study.model(make_config(*overrides), SIZE, make_dataset().info, constants, n_ranks, n_cores, crowding)

    return make


def test_one_rank_takes_what_was_measured(make_point):
    point = make_point(1)
    assert (point.n_steps, point.sync) == (12, 0.0)
    assert point.epoch == pytest.approx(12 * 0.1 + 0.4 + 0.5)


def test_ranks_share_samples_and_evaluation_but_each_evolves(make_point):
    point = make_point(3)
    assert point.n_steps == 4
    assert point.compute == pytest.approx(0.4)
    assert point.other == pytest.approx(0.4 / 3 + 0.5)


def test_a_sync_moves_each_byte_twice(make_point):
    assert make_point(2).sync == pytest.approx(BYTES / 1e9 + BYTES / 1e6)
    assert make_point(4).sync == pytest.approx(BYTES / 1e9 + 1.5 * BYTES / 1e6)
    assert make_point(2, "parallel.sync_every_steps=2").sync == pytest.approx(3 * make_point(2).sync)


def test_latency_grows_with_the_logarithm_of_the_ranks(make_point):
    slow, fast = (make_point(8, latency=latency, bandwidth=1e30).sync for latency in (0.01, 0.0))
    assert slow - fast == pytest.approx(2 * 3 * 0.01)


def test_ranks_without_cores_of_their_own_share_them(make_point):
    assert make_point(4, n_cores=2).epoch == pytest.approx(2 * make_point(4).epoch)
    assert make_point(2, n_cores=2).epoch == make_point(2).epoch


def test_ranks_that_share_a_node_disturb_each_other_and_one_alone_is_not_disturbed(make_point):
    assert make_point(2, crowding=1.3).compute == pytest.approx(1.3 * make_point(2).compute)
    assert make_point(1, crowding=1.3) == make_point(1)


def test_the_ranks_that_no_longer_fit_are_named(study, make_point):
    points = [make_point(n, "parallel.replica_topology=independent") for n in (1, 2, 4)]
    assert points[0].rank_bytes < points[1].rank_bytes < points[2].rank_bytes
    assert study.ranks_that_fit(points, 1, points[2].rank_bytes) is None
    assert study.ranks_that_fit(points, 1, points[2].rank_bytes - 1) == 4
    assert study.ranks_that_fit(points, 4, points[2].rank_bytes) == 2
    assert study.ranks_that_fit(points, 4, points[0].rank_bytes - 1) == 1


def test_more_ranks_than_useful_are_seen(study, make_point):
    slow = [make_point(n, bandwidth=3e5) for n in (1, 2, 4, 8)]
    assert study.most_useful_ranks(slow) == 1
    assert study.most_useful_ranks([make_point(n, bandwidth=1e9) for n in (1, 2, 4, 8)]) == 8


def test_ranks_wait_for_the_last_the_longer_the_more_they_are_and_the_rarer_they_meet(make_point):
    often, rare = (make_point(2, f"parallel.sync_every_steps={n}", unevenness=0.01) for n in (1, 6))
    assert (often.n_steps, often.transfer) == (6, pytest.approx(6 * rare.transfer))
    assert often.waiting == pytest.approx(6**0.5 * rare.waiting)
    assert make_point(4, unevenness=0.01).waiting > make_point(2, unevenness=0.01).waiting / 2**0.5
    assert make_point(1, unevenness=0.01).waiting == 0
    assert rare.sync == rare.transfer + rare.waiting


def test_unevenness_is_what_syncs_take_beyond_the_transfers(study, make_point):
    known = make_point(4, "parallel.sync_every_steps=2", unevenness=0.02)
    without = make_point(4, "parallel.sync_every_steps=2")
    assert study.unevenness(known.sync, without, 2) == pytest.approx(0.02)
    assert study.unevenness(without.transfer / 2, without, 2) == 0


def test_the_mean_range_of_normal_numbers(study):
    drawn = np.random.default_rng(0).standard_normal((20_000, 8))
    for n in (1, 2, 4, 8):
        measured = np.ptp(drawn[:, :n], axis=1).mean()
        assert study.mean_range(n) == pytest.approx(measured, rel=0.06)
