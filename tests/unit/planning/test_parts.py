"""What a plan counts for parts of a network, against parts that exist."""

from __future__ import annotations

import numpy as np
import pytest
from parts import in_parts

from hpc_sparse.errors import ConfigError
from hpc_sparse.kernels.simd.buffers import padded_columns
from hpc_sparse.network.partitioned.connections import PartitionedCsr
from hpc_sparse.network.partitioned.division import divided
from hpc_sparse.network.partitioned.exchange import Exchange
from hpc_sparse.planning.memory import plan_memory
from hpc_sparse.planning.network_size import NetworkSize
from hpc_sparse.planning.parts import check_parts, part_of, shared_of, step_message_bytes
from hpc_sparse.training.replica_states import random_replica

N_OUTPUTS = 7


@pytest.mark.parametrize("n_parts", [2, 3, 5])
def test_what_parts_share_is_as_many_as_expected(wide_config, info, n_parts):
    config = wide_config("evolution.strategy=static", f"parallel.model={n_parts}")
    size = NetworkSize.expected(config.network, info.n_features, N_OUTPUTS)

    def count(exchange: Exchange) -> tuple[list[tuple[int, int, int]], int]:
        own = divided(exchange, random_replica(config, info.n_features, N_OUTPUTS))
        found, rows = [], 0
        for connections in own.network.incoming()[1:]:
            assert isinstance(connections, PartitionedCsr)
            assert connections.above is not None
            n_mirrors = connections.weight.size - connections.n_primary
            found.append((n_mirrors, connections.below.numbers.ghosts.size, connections.above.numbers.ghosts.size))
            rows += connections.below.route.n_received + connections.above.route.n_received
        return found, rows

    counted = in_parts(n_parts, count)
    mean = np.mean([found for found, _ in counted], axis=0)
    planned = [(each.n_mirrors, each.n_sources, each.n_targets) for each in shared_of(size, n_parts)]
    assert mean == pytest.approx(np.array(planned), rel=0.05, abs=0.5)
    n_columns, n_mirrors = padded_columns(config.training.batch_size), mean[:, 0].sum()
    n_bytes = 4 * (np.mean([rows for _, rows in counted]) * n_columns + n_mirrors)
    assert step_message_bytes(config, size, n_parts) == pytest.approx(n_bytes, rel=0.05)


def test_parts_have_their_share_of_the_connections_and_items_of_their_own(wide_config, info):
    config = wide_config("evolution.strategy=static", "parallel.model=4")
    size = NetworkSize.expected(config.network, info.n_features, N_OUTPUTS)
    assert part_of(size, 1) is size
    assert part_of(size, 4).n_connections == pytest.approx(size.n_connections / 4, rel=0.01)
    assert part_of(size, 4).tile_width == size.tile_width
    items = {item.name: item.n_bytes for item in plan_memory(config, size, info, 8).items}
    mirrors = sum(each.n_mirrors for each in shared_of(size, 4))
    assert items["mirrors of weights, and their states"] == 8 * mirrors
    whole = plan_memory(wide_config("evolution.strategy=static"), size, info, 2)
    assert not [item for item in whole.items if item.group == "parts"]


def test_more_parts_than_neurons_are_refused():
    check_parts(3, [100, 5, 3])
    with pytest.raises(ConfigError, match=r"parallel\.model = 4: the output layer has 3 neurons: expected at most 3"):
        check_parts(4, [100, 5, 3])
    with pytest.raises(ConfigError, match=r"parallel\.model = 6: hidden layer 0 has 5 neurons"):
        check_parts(6, [100, 5, 8])
