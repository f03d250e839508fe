"""A network in parts evolves to the bits of the same network on one rank."""

import numpy as np
import pytest
from evolving_parts import digests, evolving_config, new_replica, train
from parts import in_parts

from hpc_sparse.network.partitioned.connections import PartitionedCsr
from hpc_sparse.network.partitioned.division import divided
from hpc_sparse.network.partitioned.exchange import Exchange

SETTINGS = {
    "static": ["evolution.strategy=static"],
    "set": ["evolution.strategy=set", "evolution.drop_fraction=0.3"],
    "set, zero": ["evolution.strategy=set", "evolution.grown_weights=zero", "optimizer.nesterov=true"],
    "set, fewer": ["evolution.strategy=set", "evolution.final_density=0.05", "training.optimizer=adamw"],
    "set, crowded": ["evolution.strategy=set", "network.density=0.7", "network.initializer=he_fan_in"],
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("n_parts", [1, 2, 3, 4])
def test_a_network_in_parts_evolves_as_the_whole(name: str, n_parts: int) -> None:
    config = evolving_config(*SETTINGS[name])
    whole = new_replica(config)
    before = whole.network.layers[1].connections()["input"].topology
    expected = train(whole, config)
    changes = whole.network.layers[1].connections()["input"].topology.row_contents() != before.row_contents()
    assert changes is (name != "static")

    def work(exchange: Exchange) -> tuple[list[tuple[float, int]], list[str]]:
        own = divided(exchange, new_replica(config))
        found = train(own, config)
        for layer in own.network.layers:
            connections = layer.connections()["input"]
            assert isinstance(connections, PartitionedCsr)
            mirrored = connections.mirrored(connections.weight[: connections.n_primary])
            assert np.array_equal(mirrored.view(np.uint32), connections.weight.view(np.uint32))
        return found, digests(own, exchange)

    for found, own_digests in in_parts(n_parts, work):
        assert found == expected
        assert own_digests == digests(whole)
