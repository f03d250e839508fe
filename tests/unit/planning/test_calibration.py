"""Measured costs: smaller layers of the same kind, and what is made of their times."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest

from hpc_sparse.kernels.simd import machine
from hpc_sparse.network.connections import csr
from hpc_sparse.network.connections.n_of_m import NOfM
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.optimizers.protocol import Optimizer
from hpc_sparse.network.optimizers.sgd import Sgd
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.planning import calibration, probe
from hpc_sparse.planning.calibration import NARROW, PROBE_CONNECTIONS, PROBE_ROW_BYTES, calibrate, smaller_layer
from hpc_sparse.planning.network_size import LayerSize, NetworkSize
from hpc_sparse.planning.prediction import predict
from hpc_sparse.planning.probe import Seconds, time_layer, time_network, timed
from hpc_sparse.planning.traffic import checkpoint_file_bytes, message_bytes, n_syncs
from hpc_sparse.storage.checkpoint.file import write_checkpoint
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.training.replica_states import (
    random_replica,
    replica_to_states,
)

ROW_BYTES = 128
CTX = ParallelContext.serial(threads=1)


def test_a_wide_layer_is_measured_with_as_many_connections_per_neuron():
    for layer in (LayerSize(5_000_000, 5_000_000, 10**7), LayerSize(65_536, 5_000_000, 5_065_536)):
        small, factor = smaller_layer(layer, ROW_BYTES)
        assert max(small.n_in, small.n_out) * ROW_BYTES <= PROBE_ROW_BYTES
        assert small.n_connections <= PROBE_CONNECTIONS
        assert small.n_connections / small.n_out == pytest.approx(layer.n_connections / layer.n_out, rel=1e-3)
        assert factor == pytest.approx(layer.n_out / small.n_out, rel=1e-3)
    assert small.n_in == 65_536


def test_a_narrow_output_stays_as_narrow():
    small, factor = smaller_layer(LayerSize(27_500_000, 20, 13_750_010), ROW_BYTES)
    assert small.n_out == 20
    assert small.n_connections * factor == pytest.approx(13_750_010)
    assert small.n_connections / small.n_in == pytest.approx(0.5, rel=1e-3)


def test_what_is_small_is_measured_as_it_is():
    for layer in (LayerSize(784, 1000, 35_680), LayerSize(NARROW, NARROW, 10**7), LayerSize(10**6, 10**6, 2 * 10**6)):
        assert smaller_layer(layer, ROW_BYTES) == (layer, 1.0)


def test_cost_grows_at_least_with_the_size():
    seconds = Seconds(1.0, 2.0, 3.0, 4.0)
    assert calibration.scaled_up(seconds, 1.0) == seconds
    for one, ten in zip(seconds.numbers, calibration.scaled_up(seconds, 10.0).numbers, strict=True):
        assert 10 * one <= ten <= 14 * one


def test_seconds_add_up_and_multiply():
    assert Seconds(1, 2, 3, 4) + Seconds(evolve=5).times(2) == Seconds(1, 2, 3, 14)
    assert Seconds(1, 2, 3, 4).times(Seconds(2, 3, 4, 5)) == Seconds(2, 6, 12, 20)


def test_a_round_that_compiles_does_not_count():
    calls = []
    assert timed(lambda: calls.append("work"), 3, before=lambda: calls.append("before")) >= 0
    assert calls == ["before", "work"] * 4


@pytest.fixture
def _clock_of_work(monkeypatch):
    """Let the clock of the probe go on by a second for each pass over a layer, its drawing and its change.

    The processor may be taken away in the middle of a pass of some microseconds.
    """
    now = [0.0]

    def counted(function):
        def run(*arguments, **options):
            now[0] += 1
            return function(*arguments, **options)

        return run

    for name in ("forward", "backward", "rewire"):
        monkeypatch.setattr(SparseLayer, name, counted(getattr(SparseLayer, name)))
    monkeypatch.setattr(csr, "draw_weights", counted(csr.draw_weights))
    monkeypatch.setattr(probe, "time", SimpleNamespace(perf_counter=lambda: now[0]))


@pytest.mark.usefixtures("_clock_of_work")
@pytest.mark.parametrize("strategy", ["set", "static", "rigl", "gse", "cht", "top_kast"])
def test_all_parts_of_a_network_are_timed(make_config, strategy):
    acting = ["evolution.top_kast.acting_share=0.5"] if strategy == "top_kast" else []
    config = make_config(f"evolution.strategy={strategy}", *acting)
    seconds = time_network(config, NetworkSize.expected(config.network, 12, 3), 1)
    # Three layers: each forward; in a step each backward, too. The last one does not evolve.
    assert (seconds.construct, seconds.forward, seconds.step) == (3, 3, 6)
    assert seconds.evolve == (0 if strategy == "static" else 2)


@pytest.mark.parametrize("width", machine.WIDTHS)
@pytest.mark.parametrize("batch_size", [20, 200])
@pytest.mark.parametrize("is_fused", [True, False])
def test_layers_are_timed_by_their_place(make_config, batch_size, width, is_fused, monkeypatch):
    monkeypatch.setattr(Sgd, "is_fused", is_fused)
    if not is_fused:
        monkeypatch.setattr(Sgd, "sink", Optimizer.sink)
    config = make_config(f"training.batch_size={batch_size}")
    seconds = {
        place: time_layer(config, LayerSize(40, 30, 200), place, 1, width) for place in ("first", "middle", "last")
    }
    assert all(each.step > each.forward > 0 for each in seconds.values())
    assert seconds["last"].evolve == 0 < seconds["middle"].evolve


@pytest.mark.parametrize(("connections", "settings"), [("block", "block=[4,4]"), ("n_of_m", "pattern=2:4")])
def test_networks_of_other_connections_are_measured(make_config, connections, settings):
    config = make_config("network.hidden=[24, 24]", f"network.connections={connections}", f"network.{settings}")
    size = NetworkSize.expected(config.network, 12, 3)
    assert calibrate(config, size, 1).n_measured == size.n_connections
    middle = time_layer(config, size.layers[1], "middle", 1, machine.WIDTHS[0])
    assert middle.step > middle.forward > 0
    assert [layer.section.connections for layer in size.layers] == [connections, connections, "csr"]


@pytest.mark.parametrize("keys", [(), ("network.transposable=true", "evolution.strategy=static")])
def test_connections_in_groups_are_timed_as_such(make_config, monkeypatch, keys):
    passes = []
    product = NOfM.product
    monkeypatch.setattr(NOfM, "product", lambda *arguments: (passes.append(arguments[0].index), product(*arguments))[1])
    config = make_config("network.hidden=[24, 24]", "network.connections=n_of_m", "network.pattern=3:12", *keys)
    size = NetworkSize.expected(config.network, 12, 3)
    time_network(config, size, 1)
    assert {(index.shape, str(index.pattern)) for index in passes} == {((24, 12), "3:12"), ((24, 24), "3:12")}


def test_a_wide_layer_in_groups_is_measured_with_fewer_neurons(make_config):
    config = make_config("network.hidden=[400000, 400000]", "network.connections=n_of_m", "network.pattern=1:256")
    layer = NetworkSize.expected(config.network, 1000, 3).layers[1]
    small, factor = smaller_layer(layer, ROW_BYTES)
    assert small.n_in == 400_000
    assert small.n_connections == small.n_out * 1563 <= PROBE_CONNECTIONS
    assert factor == pytest.approx(400_000 / small.n_out)


def test_a_network_too_large_to_be_measured_whole_is_measured_by_kinds_of_layers(make_config, monkeypatch):
    config = make_config("network.hidden=[400, 400, 400, 400]")
    size = NetworkSize.expected(config.network, 12, 3)
    assert calibrate(config, size, 1).n_measured == size.n_connections
    monkeypatch.setattr(calibration, "PROBE_CONNECTIONS", 1000)
    monkeypatch.setattr(calibration, "NARROW", 50)
    by_kinds = calibrate(config, size, 1)
    assert 0 < by_kinds.n_measured <= 3 * 1000
    assert min(by_kinds.seconds.numbers) > 0


def test_an_epoch_is_the_sum_of_its_parts(make_config, info):
    config = make_config("parallel.sync_every_steps=4", "evolution.every_epochs=2")
    size = NetworkSize.expected(config.network, info.n_features, info.n_classes)
    found = predict(CTX, config, size, info, n_ranks=3)
    assert (found.n_steps, found.n_syncs) == (4, 1)
    parts = found.n_steps * found.step + found.n_syncs * found.sync + found.evaluation + found.evolution / 2
    assert found.epoch == pytest.approx(parts)
    assert predict(CTX, config, size, info, n_ranks=1).sync == 0


@pytest.mark.parametrize("kind", ["float32", "uint8", "csr"])
def test_samples_of_every_kind_are_fetched(make_config, make_dataset, kind):
    data = make_dataset(kind=kind).info
    size = NetworkSize.expected(make_config().network, data.n_features, data.n_classes)
    assert predict(CTX, make_config(), size, dataclasses.replace(data, file_bytes=9000), n_ranks=1).step > 0


def test_a_checkpoint_has_the_planned_size(make_config, tmp_path):
    config = make_config("network.hidden=[5000, 4001]")
    replica = random_replica(config, 12, 3)
    states = replica_to_states(replica)
    write_checkpoint(CTX, tmp_path / "file.h5", Checkpoint(config.to_toml(), 1, 1, 1, states, {}, None))
    size = NetworkSize.of_layers((state.shape, state.parameters["weight"].size) for state in states)
    assert checkpoint_file_bytes(config, size) == pytest.approx((tmp_path / "file.h5").stat().st_size, rel=0.03)


def test_messages_are_weights_biases_and_their_velocities(make_config):
    size = NetworkSize((LayerSize(10, 20, 50), LayerSize(20, 3, 60)))
    assert message_bytes(make_config(), size) == 2 * 4 * (50 + 60 + 20 + 3)
    assert message_bytes(make_config("parallel.velocity_at_sync=reset"), size) == 4 * (50 + 60 + 20 + 3)
    assert message_bytes(make_config("parallel.replica_topology=independent"), size) > message_bytes(
        make_config(), size
    )


@pytest.mark.parametrize(("override", "expected"), [("epoch", 1), ("1", 10), ("4", 3), ("5", 2), ("99", 1)])
def test_every_epoch_ends_with_a_sync(make_config, override, expected):
    assert n_syncs(make_config(f"parallel.sync_every_steps={override}"), 10) == expected


def test_a_serving_rank_answers_every_step(make_config):
    assert n_syncs(make_config("parallel.algorithm=wasap"), 10) == 10
