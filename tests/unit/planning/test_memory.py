"""The bytes of a plan, against the arrays of a replica and its buffers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from hpc_sparse.inputs.batches import BatchAssembler
from hpc_sparse.inputs.chain import FrontEndChain
from hpc_sparse.inputs.standardise import Standardise
from hpc_sparse.network.dropout import NO_DROPOUT
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.network.optimizers.protocol import Optimizer
from hpc_sparse.network.optimizers.registry import make_optimizer
from hpc_sparse.network.optimizers.sgd import Sgd
from hpc_sparse.network.tiles import Tiles
from hpc_sparse.planning.memory import plan_memory, shard_bytes
from hpc_sparse.planning.network_size import LayerSize, NetworkSize
from hpc_sparse.storage.dataset.validation import set_apart, validation_counts
from hpc_sparse.training.replica_states import (
    random_replica,
)

N_OUTPUTS = 7


def items(plan, group: str) -> dict[str, int]:
    """Bytes by name of the items of one group."""
    return {item.name: item.n_bytes for item in plan.items if item.group == group}


def size_of(network) -> NetworkSize:
    return NetworkSize(
        tuple(
            LayerSize(
                *each.shape[::-1], each.weight.size, "sparse", "csr" if each.unit == (1, 1) else each.kind, each.unit
            )
            for each in network.incoming()
        )
    )


def transposed_arrays(network) -> Iterator[np.ndarray]:
    for layer in network.layers[1:]:
        index = layer.topology.transposed
        yield from (index.indptr, index.outs, index.position)


BLOCKS = ("network.connections=block", "network.block=[4,8]")


@pytest.mark.parametrize(("velocity", "named"), [("float32", "velocities"), ("bfloat16", "velocities (bfloat16)")])
@pytest.mark.parametrize("stored", [(), BLOCKS], ids=["csr", "block"])
@pytest.mark.parametrize("hidden", ["[9000, 7001, 11000]", "[333]", "[]"])
def test_the_network_is_counted_byte_by_byte(wide_config, info, hidden, stored, velocity, named):
    config = wide_config(f"network.hidden={hidden}", f"optimizer.velocity={velocity}", *stored)
    replica = random_replica(config, info.n_features, N_OUTPUTS)
    network = replica.network
    plan = plan_memory(config, size_of(network), info, n_ranks=1)
    assert items(plan, "network") == {
        "connections": sum(layer.topology.indices.nbytes for layer in network.layers),
        "row pointers": sum(layer.topology.indptr.nbytes for layer in network.layers),
        "weights": sum(layer.weight.nbytes for layer in network.layers),
        "biases": sum(layer.bias.nbytes for layer in network.layers),
        named: sum(values.nbytes for state in replica.states for values in state["velocity"].values()),
        "connections by input neuron": sum(array.nbytes for array in transposed_arrays(network)),
    }


@pytest.mark.parametrize(
    ("batch_size", "activations"),
    [(1, "float32"), (16, "bfloat16"), (20, "float32"), (64, "float32"), (100, "float32"), (100, "bfloat16")],
)
@pytest.mark.parametrize(
    ("hidden", "stored"),
    [
        *((hidden, ()) for hidden in ("[9000, 7001, 11000]", "[40, 30]", "[300]", "[]")),
        ("[40, 3000, 30]", BLOCKS),
    ],
)
@pytest.mark.parametrize("is_fused", [True, False])
def test_the_working_memory_of_an_epoch_is_counted_byte_by_byte(
    wide_config, info, monkeypatch, batch_size, activations, hidden, stored, is_fused
):
    if not is_fused:
        monkeypatch.setattr(Sgd, "is_fused", False)
        monkeypatch.setattr(Sgd, "sink", Optimizer.sink)
    names = [f"network.hidden={hidden}", f"training.batch_size={batch_size}", f"training.activations={activations}"]
    names += stored
    config = wide_config(*names)
    replica = random_replica(config, info.n_features, N_OUTPUTS)
    network = replica.network
    plan = items(plan_memory(config, size_of(network), info, n_ranks=1), "working")
    workspace = network.make_workspace(batch_size, activations=activations)
    for n_samples in {min(batch_size, info.n_train), info.n_train % batch_size} - {0}:
        batch = Tiles.of(np.ones((info.n_features, n_samples), np.float32), network.tile_width)
        labels, dropouts = np.zeros(n_samples, np.int32), [NO_DROPOUT] * (len(network.layers) - 1)
        replica.train_batch(batch, labels, CrossEntropy(), dropouts, make_optimizer(config), 1e-6, workspace)
    batch = plan.pop("batch of samples")
    assert sum(plan.values()) == workspace.n_bytes
    values = np.zeros(info.n_features, np.float32)
    front_end = FrontEndChain((Standardise(values, values + 1),))
    assembler = BatchAssembler(front_end, info.n_features, batch_size, network.tile_width)
    arrays = (assembler._buffer, assembler._shift, assembler._scale)
    assert batch == sum(array.nbytes for array in arrays)


def test_connections_that_do_not_act_need_room_in_every_step(wide_config, info, peak_of):
    config = wide_config("evolution.strategy=top_kast", "evolution.top_kast.acting_share=0.5")
    network = random_replica(config, info.n_features, N_OUTPUTS).network
    planned = items(plan_memory(config, size_of(network), info, n_ranks=1), "working")["weights that act"]
    reserves = network.incoming()[:-1]

    def choose() -> None:
        for connections in reserves:
            connections.multipliers()

    def forget() -> None:
        for connections in reserves:
            connections._acting = None

    assert peak_of(choose, forget) == pytest.approx(planned, rel=0.03)


@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_dense_samples_are_counted_byte_by_byte(make_dataset, kind):
    data = make_dataset(kind=kind)
    parts = (data.train, data.test)
    assert shard_bytes(data.info, 1) == sum(part.features.values.nbytes + part.labels.nbytes for part in parts)
    assert shard_bytes(data.info, 3) == pytest.approx(shard_bytes(data.info, 1) / 3, rel=0.02)


@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_held_out_samples_are_counted_byte_by_byte(wide_config, make_dataset, kind):
    data = make_dataset(kind=kind)
    size = NetworkSize.expected(wide_config().network, 12, N_OUTPUTS)
    config = wide_config("data.validation_fraction=0.2")
    n_held_out = int(validation_counts(data.info, 0.2).sum())
    is_held_out = np.arange(data.info.n_train) < n_held_out
    held_out = set_apart(data.train, is_held_out)[1]
    own = held_out.features.values.nbytes + held_out.labels.nbytes
    planned = [items(plan_memory(each, size, data.info, 1), "data") for each in (wide_config(), config)]
    # The shard stays in its arrays; orders of the samples are shorter.
    assert planned[1] == {"samples": planned[0]["samples"] - 8 * n_held_out, "validation samples": own}
    served = wide_config("data.validation_fraction=0.2", "parallel.algorithm=wasap")
    of_ranks = [items(plan_memory(each, size, data.info, 3), "data")["validation samples"] for each in (config, served)]
    assert of_ranks == [round(own / 3), own]


def test_more_ranks_need_room_for_what_they_exchange(wide_config, info):
    def resident(n_ranks: int, *overrides: str) -> int:
        config = wide_config(*overrides)
        return plan_memory(config, NetworkSize.expected(config.network, 12, N_OUTPUTS), info, n_ranks).resident

    overlapped = ("parallel.overlap=true", "parallel.sync_every_steps=2")
    shared = resident(2)
    for overrides in (("parallel.replica_topology=independent",), ("parallel.algorithm=wassp",), overlapped):
        assert resident(2, *overrides) > shared
        assert resident(1, *overrides) == resident(1)


def test_the_peak_is_that_of_the_worst_phase(wide_config, info):
    config = wide_config()
    plan = plan_memory(config, NetworkSize.expected(config.network, 12, N_OUTPUTS), info, n_ranks=1)
    assert plan.peak == plan.peaks["evolution"] > plan.peaks["training"] == plan.resident
    assert plan.peak - plan.allocated == items(plan, "program")["program and libraries"]
    assert sum(plan.by_group().values()) == plan.resident
    static = wide_config("evolution.strategy=static")
    still = plan_memory(static, NetworkSize.expected(static.network, 12, N_OUTPUTS), info, n_ranks=1)
    assert still.peak == still.resident
