"""Time and bytes of one change of topology by SET, of a whole network and of one in parts."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks import report
from hpc_sparse.config.loading import parse_config
from hpc_sparse.dtypes import AnyArray, Int64Array
from hpc_sparse.kernels.threads import use_threads
from hpc_sparse.network.network import Network
from hpc_sparse.network.partitioned.division import divided
from hpc_sparse.network.replica import Replica
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.part_exchange import MpiExchange
from hpc_sparse.training.evolution_step import Evolution

ROOT = Path(__file__).resolve().parents[2]
N_INPUTS, N_OUTPUTS, OUTPUT_CONNECTIONS = 1_000, 10, 100_000
DROP_FRACTION = 0.3


@dataclass(frozen=True)
class Measured:
    """One change.

    Attributes
    ----------
    seconds : list of float
        Of each round; of the slowest rank.
    mb_sent : float
        By one rank to the others, per round.
    n_connections, n_grown : int
        Of layers that evolve, and grown by one change.
    n_mirrors : int
        Of one rank.
    """

    seconds: list[float]
    mb_sent: float
    n_connections: int
    n_grown: int
    n_mirrors: int


class CountingExchange(MpiExchange):
    """Messages whose bytes are counted, those of sums as sent once."""

    n_bytes = 0

    def swap(self, sends: Sequence[AnyArray], receives: Sequence[AnyArray]) -> None:
        """Count, and send."""
        self.n_bytes += sum(array.nbytes for part, array in enumerate(sends) if part != self.part)
        super().swap(sends, receives)

    def totals(self, numbers: Int64Array) -> Int64Array:
        """Count, and add up."""
        self.n_bytes += numbers.nbytes if self.n_parts > 1 else 0
        return super().totals(numbers)


def measure_changes(n_neurons: int, fan_in: int, n_rounds: int) -> Measured:
    """Changes of three layers of so many neurons, as one of the ranks that were started."""
    from mpi4py import MPI

    ctx = ParallelContext.from_comm(MPI.COMM_WORLD, 1)
    use_threads(1)
    hidden = [n_neurons] * 3
    densities = [fan_in / N_INPUTS, fan_in / n_neurons, fan_in / n_neurons, OUTPUT_CONNECTIONS / N_OUTPUTS / n_neurons]
    config = parse_config(
        f'[data]\npath = "none.h5"\n[network]\nhidden = {hidden}\n[training]\nepochs = {n_rounds + 3}\n'
        f"[evolution]\ndrop_fraction = {DROP_FRACTION}\n",
        "partition.toml",
        [],
    )
    settings = config.network
    network = Network.random(
        [N_INPUTS, *hidden, N_OUTPUTS],
        densities,
        activation=settings.activation,
        alpha=settings.alpha,
        initializer=settings.initializer,
        seed=config.training.seed,
    )
    exchange, replica = CountingExchange(ctx.split(ctx.size).model), Replica.at_rest(network)
    n_mirrors = 0
    if ctx.size > 1:
        replica = divided(exchange, replica)
        n_mirrors = sum(
            own.weight.size - replica.network.rows(place).n_connections for place, own in replica.network.connections()
        )
    del network
    evolution, seconds, n_grown = Evolution(config, keeps_changes=False), list[float](), 0
    for epoch in range(2, n_rounds + 3):
        exchange.n_bytes = 0
        exchange.total(0)
        start = time.perf_counter()
        step = evolution.step(replica, epoch)
        exchange.total(0)
        seconds.append(time.perf_counter() - start)
        assert step is not None
        n_grown = step.n_grown
    sizes = [replica.network.share(place).n_connections for place in replica.network.evolving()]
    return Measured(seconds[1:], exchange.n_bytes / 1e6, sum(sizes), n_grown, n_mirrors)


def print_changes(n_neurons: int, fan_in: int, n_rounds: int) -> None:
    """Measure as one of the ranks; rank 0 prints."""
    from mpi4py import MPI

    measured = measure_changes(n_neurons, fan_in, n_rounds)
    if MPI.COMM_WORLD.Get_rank() == 0:
        print(json.dumps(asdict(measured)))


def compare_parts(n_neurons: int, fan_in: int, n_rounds: int, most_parts: int, *, as_json: bool) -> None:
    """Print seconds and bytes of one change on one rank and on several, one thread each."""
    rows: list[dict[str, object]] = []
    for n_parts in range(1, most_parts + 1):
        numbers = [str(each) for each in (n_neurons, fan_in, n_rounds)]
        words = [sys.executable, str(ROOT / "tools" / "bench"), "partition-rank", *numbers]
        start = ["bash", "-c", f'. jobs/openmpi.sh && exec mpirun -n {n_parts} "$@"', "bash", *words]
        printed = subprocess.run(start, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        found = Measured(**json.loads(printed))
        rows.append(
            {
                "parts": n_parts,
                "connections": found.n_connections,
                "replaced": found.n_grown,
                "mirrors of a rank": found.n_mirrors,
                "seconds": median(found.seconds),
                "least": min(found.seconds),
                "most": max(found.seconds),
                "MB sent by a rank": found.mb_sent,
            }
        )
    report.show(
        f"One change of 3 layers of {n_neurons:,} neurons by SET, drop fraction {DROP_FRACTION}, one thread each",
        rows,
        [],
        as_json=as_json,
    )
