"""Training steps of one network over several ranks have the bits of those of one rank."""

from collections.abc import Sequence

import numpy as np
import pytest

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.errors import MachineError
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.network.optimizers.sgd import Sgd
from hpc_sparse.network.partitioned.connections import PartitionedCsr
from hpc_sparse.network.partitioned.division import divided
from hpc_sparse.network.replica import Replica
from hpc_sparse.network.tiles import Tiles
from hpc_sparse.parallel import part_exchange
from hpc_sparse.parallel.collectives import all_gather_parts
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.part_exchange import MpiExchange
from hpc_sparse.parallel.shared_arrays import shared_arrays

WIDTHS, N_SAMPLES, STEPS = [31, 47, 29, 38, 4], 40, 4


def new_replica() -> Replica:
    densities = [0.15, 0.2, 0.2, 1.0]
    network = Network.random(WIDTHS, densities, activation="all_relu", alpha=0.6, initializer="he_uniform", seed=7)
    network.tile_width = 16
    return Replica.at_rest(network)


def train(replica: Replica) -> list[float]:
    """Losses of some steps."""
    rng, sgd, losses = np.random.default_rng(3), Sgd(0.9, 2e-3), []
    workspace = replica.network.make_workspace(N_SAMPLES)
    for step in range(STEPS):
        batch = Tiles.of(rng.normal(size=(WIDTHS[0], N_SAMPLES)).astype(np.float32), 16)
        labels = rng.integers(0, WIDTHS[-1], N_SAMPLES).astype(np.int32)
        dropouts = [Dropout(0.3, np.uint64(9 * step + number)) for number in range(3)]
        losses.append(replica.train_batch(batch, labels, CrossEntropy(), dropouts, sgd, 0.05, workspace).loss)
    return losses


def own_arrays(replica: Replica) -> Sequence[AnyArray]:
    """Parameters and velocities of own neurons."""
    found: list[AnyArray] = []
    for layer, state in zip(replica.network.layers, replica.states, strict=True):
        own = layer.connections()["input"]
        n = own.n_primary if isinstance(own, PartitionedCsr) else own.weight.size
        for name, parameter in layer.parameters().items():
            arrays = (parameter.values, *state.of(name).values())
            found += [values[:n] if name == "weight" else values for values in arrays]
    return found


def check_steps(ctx: ParallelContext, *, shares_memory: bool) -> None:
    whole = new_replica()
    expected = train(whole)
    exchange = MpiExchange(ctx.split(ctx.size).model, shares_memory=shares_memory)
    assert exchange.shares_memory == shares_memory
    own = divided(exchange, new_replica())
    assert train(own) == expected
    assert not exchange.shared, "memory of a workspace that is gone"
    for of_whole, of_part in zip(own_arrays(whole), own_arrays(own), strict=True):
        together = np.concatenate(all_gather_parts(ctx, np.ascontiguousarray(of_part)))
        assert together.tobytes() == of_whole.tobytes()


@pytest.mark.mpi(ranks=[2, 3])
def test_steps_over_ranks_have_the_bits_of_one_rank(ctx: ParallelContext, monkeypatch: pytest.MonkeyPatch) -> None:
    check_steps(ctx, shares_memory=True)
    check_steps(ctx, shares_memory=False)
    monkeypatch.setattr(part_exchange, "CHUNK_BYTES", 100)
    check_steps(ctx, shares_memory=False)


@pytest.mark.mpi(ranks=[2])
def test_without_memory_that_both_can_open_rows_travel(ctx: ParallelContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> int:
        raise PermissionError(name)

    if ctx.rank == 1:
        monkeypatch.setattr("os.memfd_create", refuse)
    assert ctx.comm is not None
    with pytest.raises(MachineError, match=r"^memory that ranks of a node share: hpc_sparse$"):
        shared_arrays(ctx.comm, 5, np.float32)
    assert not MpiExchange(ctx.split(2).model).shares_memory
