"""Training steps over several parts have the bits of those of the whole network."""

from collections.abc import Iterator

import numpy as np
import pytest
from parts import in_parts

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.errors import InputError
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.network.optimizers.adamw import Adamw
from hpc_sparse.network.optimizers.protocol import Optimizer
from hpc_sparse.network.optimizers.sgd import Sgd
from hpc_sparse.network.partitioned.connections import PartitionedCsr
from hpc_sparse.network.partitioned.division import divided
from hpc_sparse.network.partitioned.exchange import ALONE, Exchange
from hpc_sparse.network.replica import Replica
from hpc_sparse.network.tiles import Tiles

WIDTHS = [23, 41, 29, 37, 5]
SGD, NESTEROV, ADAMW = Sgd(0.9, 2e-3), Sgd(0.9, 2e-3, is_nesterov=True), Adamw()
STEPS = 3


def new_replica(optimizer: Optimizer, width: int, widths: list[int]) -> Replica:
    densities = [0.2] * (len(widths) - 2) + [1.0]
    network = Network.random(widths, densities, activation="all_relu", alpha=0.6, initializer="he_uniform", seed=3)
    network.tile_width = width
    return Replica.at_rest(network, optimizer.state_types)


def train(replica: Replica, optimizer: Optimizer, n_samples: int, activations: str) -> list[tuple[float, float]]:
    """Losses of some steps, and of a prediction."""
    rng, network, losses = np.random.default_rng(5), replica.network, []
    workspace = network.make_workspace(n_samples, activations=activations)
    for step in range(STEPS):
        batch = Tiles.of(rng.normal(size=(network.widths[0], n_samples)).astype(np.float32), network.tile_width)
        labels = rng.integers(0, network.widths[-1], n_samples).astype(np.int32)
        dropouts = [Dropout(0.3, np.uint64(100 * step + number)) for number in range(len(network.layers) - 1)]
        outcome = replica.train_batch(batch, labels, CrossEntropy(), dropouts, optimizer, 0.05, workspace)
        sums = network.forward(batch, workspace)
        losses.append((outcome.loss, float(sums.values.sum(dtype=np.float64))))
    return losses


def arrays(replica: Replica) -> Iterator[AnyArray]:
    """Parameters and states, those of own neurons."""
    for layer, state in zip(replica.network.layers, replica.states, strict=True):
        own = layer.connections()["input"]
        n = own.n_primary if isinstance(own, PartitionedCsr) else own.weight.size
        for name, parameter in layer.parameters().items():
            for values in (parameter.values, *state.of(name).values()):
                yield values[:n] if name == "weight" else values


@pytest.mark.parametrize(
    ("n_parts", "shares_memory"),
    [(1, False), (2, False), (2, True), (3, False), (3, True), (4, False)],
)
@pytest.mark.parametrize(
    ("optimizer", "n_samples", "width", "activations", "widths"),
    [
        (SGD, 16, 16, "float32", WIDTHS),
        (NESTEROV, 50, 16, "float32", WIDTHS),
        (SGD, 32, 16, "bfloat16", WIDTHS),
        (ADAMW, 24, 32, "float32", WIDTHS),
        (SGD, 16, 16, "float32", [7, 3, 2, 1]),
        (SGD, 40, 16, "float32", [9, 2]),
    ],
)
def test_steps_in_parts_have_the_bits_of_the_whole_network(
    n_parts: int,
    shares_memory: bool,
    optimizer: Optimizer,
    n_samples: int,
    width: int,
    activations: str,
    widths: list[int],
) -> None:
    whole = new_replica(optimizer, width, widths)
    expected = train(whole, optimizer, n_samples, activations)

    def work(exchange: Exchange) -> tuple[list[tuple[float, float]], Replica]:
        own = divided(exchange, new_replica(optimizer, width, widths))
        losses = train(own, optimizer, n_samples, activations)
        for layer in own.network.layers:
            connections = layer.connections()["input"]
            assert isinstance(connections, PartitionedCsr)
            mirrored = connections.mirrored(connections.weight[: connections.n_primary])
            assert np.array_equal(mirrored.view(np.uint32), connections.weight.view(np.uint32))
        return losses, own

    found = in_parts(n_parts, work, shares_memory=shares_memory)
    for losses, _ in found:
        assert losses == expected
    for of_whole, *of_parts in zip(arrays(whole), *(arrays(own) for _, own in found), strict=True):
        assert np.concatenate(of_parts).tobytes() == of_whole.tobytes()


def test_what_parts_cannot_do_is_refused_by_name() -> None:
    rounded = new_replica(Sgd(0.9, velocity="bfloat16"), 16, WIDTHS)
    with pytest.raises(InputError, match="layer 0 has a velocity of uint16: expected float32"):
        divided(ALONE, rounded)
    network = Network.random(
        WIDTHS, [0.2] * 4, activation="relu", alpha=0.0, initializer="normal", seed=1, acting_share=0.5
    )
    with pytest.raises(InputError, match='layer 0 has connections "reserve": expected csr or dense'):
        divided(ALONE, Replica.at_rest(network))
    own = divided(ALONE, new_replica(SGD, 16, WIDTHS))
    batch, workspace = Tiles.of(np.zeros((WIDTHS[0], 3), np.float32), 16), own.network.make_workspace(3)
    with pytest.raises(InputError, match=r"clip_norm = 1\.0: not for a network in parts"):
        own.train_batch(batch, np.zeros(3, np.int32), CrossEntropy(), [], SGD, 0.1, workspace, 1.0)
