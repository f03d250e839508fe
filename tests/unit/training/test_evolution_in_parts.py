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
    "set, late": ["evolution.strategy=set", "evolution.drop_schedule=cosine", "evolution.begin_epoch=2"],
    "deep_r": ["evolution.strategy=deep_r", "evolution.deep_r.shrinkage=0.01", "evolution.deep_r.noise=0.02"],
    "deep_r, fewer": ["evolution.strategy=deep_r", "evolution.deep_r.shrinkage=0.01", "evolution.final_density=0.05"],
    "gse, uniform": ["evolution.strategy=gse", "evolution.gse.candidates=uniform"],
    "gse, grabo": ["evolution.strategy=gse", "evolution.gse.candidate_ratio=2"],
    "gse, graest": ["evolution.strategy=gse", "evolution.gse.candidates=graest", "evolution.final_density=0.1"],
    "gse, global": ["evolution.strategy=gse", "evolution.gse.scope=global"],
    "srigl": ["evolution.strategy=srigl"],
    "constant fan-in, srigl": [
        "evolution.strategy=srigl",
        "network.initial_topology=constant_fan_in",
        "evolution.srigl.min_salient=0.8",
        "evolution.final_density=0.1",
    ],
    "constant fan-in, set": ["evolution.strategy=set", "network.initial_topology=constant_fan_in"],
    "rigl": ["evolution.strategy=rigl"],
    "rigl, initial": ["evolution.strategy=rigl", "evolution.grown_weights=initial", "evolution.final_density=0.1"],
    "pruned": [
        "importance_pruning.mode=compact",
        "importance_pruning.percentile=15",
        "importance_pruning.after_epoch=1",
        "importance_pruning.every_epochs=1",
    ],
    "pruned, two-sided": [
        "importance_pruning.mode=compact",
        "importance_pruning.percentile=20",
        "importance_pruning.input_percentile=10",
        "importance_pruning.importance=two_sided",
        "importance_pruning.after_epoch=0",
        "importance_pruning.every_epochs=2",
        "importance_pruning.fold_means=true",
        "evolution.strategy=gse",
    ],
    "pruned, released": [
        "importance_pruning.mode=released",
        "importance_pruning.percentile=40",
        "importance_pruning.after_epoch=0",
        "importance_pruning.every_epochs=2",
        "evolution.strategy=rigl",
    ],
    "pruned, almost empty": [
        "importance_pruning.mode=compact",
        "importance_pruning.percentile=97",
        "importance_pruning.after_epoch=1",
        "importance_pruning.every_epochs=1",
        "network.density=0.05",
        "importance_pruning.fold_means=false",
    ],
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
