"""A network in parts evolves to the bits of the same network on one rank."""

import numpy as np
import pytest
from evolving_parts import SETTINGS, digests, evolving_config, new_replica, train
from parts import in_parts

from hpc_sparse.errors import ConfigError
from hpc_sparse.network.partitioned.connections import PartitionedCsr
from hpc_sparse.network.partitioned.division import divided
from hpc_sparse.network.partitioned.exchange import Exchange


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


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("evolution.strategy=snfs", 'evolution.strategy = "snfs": not for a network in parts; use .*, set'),
        ("evolution.strategy=cht", 'evolution.strategy = "cht": not for a network in parts; use .*, gse'),
        (
            "importance_pruning.importance=taylor",
            'importance = "taylor": not for a network in parts; use incoming or',
        ),
    ],
)
def test_what_does_not_work_in_parts_is_refused_by_name(setting: str, message: str) -> None:
    config = evolving_config(setting, "importance_pruning.mode=compact")

    def work(exchange: Exchange) -> None:
        with pytest.raises(ConfigError, match=message):
            train(divided(exchange, new_replica(config)), config)

    in_parts(2, work)
