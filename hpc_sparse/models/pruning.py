"""Pruning of a network that is trained, by neurons or by blocks: to a percentile or a size, and a curve of both."""

from __future__ import annotations

from bisect import bisect_left
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpc_sparse.errors import InputError, OutputError
from hpc_sparse.evolution.importance import (
    Importance,
    ImportancePruner,
    LayerSignals,
    distinct_percentiles,
    fold_means,
)
from hpc_sparse.kernels.threads import use_threads
from hpc_sparse.models.block_removal import connections_left, numbers_of_blocks, without_weakest_blocks
from hpc_sparse.models.stored import StoredNetwork
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.network.network import Network
from hpc_sparse.network.replica import Replica
from hpc_sparse.parallel.collectives import collective_errors, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.rng import Purpose, stream
from hpc_sparse.storage.checkpoint.file import write_checkpoint
from hpc_sparse.storage.dataset.samples import Dataset
from hpc_sparse.training.growth_pool import GrowthSource
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.replica_states import (
    replica_to_states,
)

CURVE_PERCENTILES = tuple(float(percentile) for percentile in range(0, 100, 5))


@dataclass(frozen=True)
class PruningRequest:
    """Request of a user to prune a checkpoint.

    Attributes
    ----------
    checkpoint : Path
    percentile : float or None
        Percentile of each hidden layer's importances, or of the scores of each map's blocks, in [0, 100).
    target_connections : int or None
        Instead: the largest number of connections left; the least percentile that reaches it is taken.
    input_percentile : float
        Percentile of the inputs' importances, independent of the hidden layers.
    output : Path or None
        The checkpoint to write; beside the one that is read if None.
    dataset : Path or None
        Whose test part tells what pruning does.
    has_curve : bool
        Evaluate at :data:`CURVE_PERCENTILES`; with neither percentile nor target, do nothing else.
    importance : "incoming", "two_sided" or "taylor"
        See :class:`hpc_sparse.evolution.importance.ImportancePruner`.
    folds_means : bool
        Add what removed neurons contribute on average, for training samples of the data set, to the biases above.
    """

    checkpoint: Path
    percentile: float | None = None
    target_connections: int | None = None
    input_percentile: float = 0.0
    output: Path | None = None
    dataset: Path | None = None
    has_curve: bool = False
    importance: Importance = "incoming"
    folds_means: bool = False

    @property
    def needs_samples(self) -> bool:
        """Whether pruning looks at what samples do in the network."""
        return self.folds_means or self.importance == "taylor"

    @property
    def writes(self) -> bool:
        """Whether a pruned checkpoint is asked for."""
        return self.percentile is not None or self.target_connections is not None

    @property
    def target_file(self) -> Path:
        """The checkpoint to write."""
        return self.output or self.checkpoint.with_name(f"{self.checkpoint.stem}-pruned.h5")

    def check(self) -> None:
        """Check everything that can be told without reading the checkpoint.

        Raises
        ------
        InputError
            The request contradicts itself or would overwrite something.
        """
        if self.percentile is not None and self.target_connections is not None:
            raise InputError("--percentile and --target-connections exclude each other: give one of them")
        if not self.writes and not self.has_curve:
            raise InputError("nothing to do: expected --percentile, --target-connections or --curve")
        if self.has_curve and self.dataset is None:
            raise InputError("--curve: expected --data with the data set to evaluate on")
        if self.needs_samples and self.dataset is None:
            option = "--fold-means" if self.folds_means else "--importance taylor"
            raise InputError(f"{option}: expected --data with the data set that the network was trained on")
        if self.output is not None and not self.writes:
            raise InputError(f"--output {self.output}: expected --percentile or --target-connections with it")
        for name, value in (("percentile", self.percentile), ("inputs", self.input_percentile)):
            if value is not None and not 0 <= value < 100:
                raise InputError(f"--{name} = {value}: must be >= 0 and < 100")
        if self.writes and self.target_file.exists():
            raise OutputError(f"{self.target_file}: exists already; choose another --output")


def prune_checkpoint(ctx: ParallelContext, request: PruningRequest) -> dict[str, Any]:
    """Prune as requested and return what came of it, as plain values (collective).

    Raises
    ------
    InputError
        On every rank: a file is not what it should be, or the request cannot be met; nothing was written.
    """
    on_root(ctx, request.check)
    with collective_errors(ctx, "starting threads"):
        use_threads(ctx.threads)
    stored = StoredNetwork.read(ctx, request.checkpoint)
    with collective_errors(ctx, "pruning"):
        _check_layers(request, stored.replica.network)
    dataset = None if request.dataset is None else stored.load_data(ctx, request.dataset)
    signals = _signals(ctx, stored, dataset) if request.needs_samples and dataset is not None else None
    result: dict[str, Any] = {
        "checkpoint": str(request.checkpoint),
        "epoch": stored.checkpoint.epoch,
        "dataset": None if request.dataset is None else str(request.dataset),
        "input_percentile": request.input_percentile,
    }
    if request.writes:
        result |= _prune(ctx, request, stored, dataset, signals)
    if request.has_curve:
        result["curve"] = _curve(ctx, request, stored, dataset, signals)
    return result


def _check_layers(request: PruningRequest, network: Network) -> None:
    """Refuse layers whose neurons are those of several maps, unless blocks go and no neurons."""
    if numbers_of_blocks(network):
        if request.input_percentile:
            raise InputError(
                f"--inputs = {request.input_percentile}: {request.checkpoint} has connections in blocks, which hold "
                "several neurons: expected 0"
            )
        if request.folds_means or request.importance != "incoming":
            option = "--fold-means" if request.folds_means else f"--importance {request.importance}"
            raise InputError(
                f"{option}: {request.checkpoint} has connections in blocks, of which the weakest go and no neuron"
            )
        return
    for number, layer in enumerate(network.layers):
        shapes = [each.shape for each in layer.connections().values()]
        if shapes != [layer.shape] or layer.n_places > 1:
            raise InputError(
                f'{request.checkpoint}: layer {number} is of the kind "{layer.kind}": expected layers with one map '
                "from the neurons below, whose neurons can go, or connections in blocks"
            )


def _signals(ctx: ParallelContext, stored: StoredNetwork, dataset: Dataset) -> LayerSignals:
    """Signals of a growth batch of the run's own size, the same on every rank (collective)."""
    job = TrainingJob(ctx, stored.config, dataset, stored.replica, SilentReporter(), fitted=stored.front_end)
    with collective_errors(ctx, "looking at the classes"):
        objective = job.objective
    rng = stream(stored.config.training.seed, Purpose.GROWTH_BATCH, epoch=stored.checkpoint.epoch + 1)
    return GrowthSource.start(job, objective).signals(stored.replica.network, rng)


def _prune(
    ctx: ParallelContext,
    request: PruningRequest,
    stored: StoredNetwork,
    dataset: Dataset | None,
    signals: LayerSignals | None,
) -> dict[str, Any]:
    """Write the pruned checkpoint; percentile, file, and sizes before and after (collective)."""
    with collective_errors(ctx, "pruning"):
        what = "block" if numbers_of_blocks(stored.replica.network) else "neuron"
        percentile = _percentile(request, stored, signals)
        pruned = _pruned_replica(request, stored, percentile, signals)
        if pruned is stored.replica:
            raise InputError(f"{request.checkpoint}: no {what} goes at percentile {percentile:g}: nothing to prune")
    before = _measured(ctx, stored, stored.replica, dataset)
    after = _measured(ctx, stored, pruned, dataset)
    _write(ctx, request, stored, pruned, {"pruning_percentile": percentile, **_numbers(after)})
    sizes = [{"network": "before", **before}, {"network": "after", **after}]
    return {"percentile": percentile, "pruned": f"{what}s", "output": str(request.target_file), "sizes": sizes}


def _percentile(request: PruningRequest, stored: StoredNetwork, signals: LayerSignals | None) -> float:
    """The percentile that is asked for, or the least that leaves no more connections than asked for."""
    if request.percentile is not None:
        return request.percentile
    target, network = request.target_connections, stored.replica.network
    assert target is not None
    n_blocks = numbers_of_blocks(network)

    def n_left(percentile: float) -> int:
        if n_blocks:
            return connections_left(network, percentile, stored.config.evolution.block_score)
        pruner = ImportancePruner("compact", percentile, request.input_percentile, request.importance)
        change = pruner.prune(network, signals)
        return network.n_connections if change is None else change.n_connections

    percentiles = distinct_percentiles(n_blocks or network.widths[1:-1])
    found = bisect_left(percentiles, -target, key=lambda percentile: -n_left(float(percentile)))
    if found == len(percentiles):
        lost = "map in blocks has lost all of them" if n_blocks else "hidden layer has lost all neurons"
        raise InputError(
            f"--target-connections = {target}: {request.checkpoint} has {n_left(float(percentiles[-1]))} connections "
            f"left when every {lost} but the strongest; ask for at least as many"
        )
    return float(percentiles[found])


def _pruned_replica(
    request: PruningRequest, stored: StoredNetwork, percentile: float, signals: LayerSignals | None
) -> Replica:
    """The replica without its weakest blocks, or neurons where there are no blocks; the stored one if nothing goes."""
    if numbers_of_blocks(stored.replica.network):
        return without_weakest_blocks(stored.replica, percentile, stored.config.evolution.block_score)
    return pruned_replica(
        stored.replica,
        percentile,
        request.input_percentile,
        signals,
        importance=request.importance,
        folds_means=request.folds_means,
    )


def pruned_replica(
    replica: Replica,
    percentile: float,
    input_percentile: float,
    signals: LayerSignals | None = None,
    *,
    importance: Importance = "incoming",
    folds_means: bool = False,
) -> Replica:
    """The pruned replica, a new one; the given replica if nothing goes.

    ``signals`` of some samples are needed for Taylor's importance and to fold means.
    """
    change = ImportancePruner("compact", percentile, input_percentile, importance).prune(replica.network, signals)
    if change is None:
        return replica
    # Layers and states get new arrays and leave the old ones alone.
    network = replace(replica.network, layers=[copy(layer) for layer in replica.network.layers])
    pruned = Replica(network, [state.shared() for state in replica.states])
    if folds_means:
        assert signals is not None
        for layer in network.layers:
            layer.bind({"bias": layer.parameters()["bias"].values.copy()})
        fold_means(network, change, signals)
    pruned.apply(change)
    return pruned


def _curve(
    ctx: ParallelContext,
    request: PruningRequest,
    stored: StoredNetwork,
    dataset: Dataset | None,
    signals: LayerSignals | None,
) -> list[dict[str, Any]]:
    """Size and accuracy at a series of percentiles (collective)."""
    points = []
    for percentile in CURVE_PERCENTILES:
        with collective_errors(ctx, "pruning"):
            pruned = _pruned_replica(request, stored, percentile, signals)
        points.append({"percentile": percentile, **_measured(ctx, stored, pruned, dataset)})
    return points


def _measured(ctx: ParallelContext, stored: StoredNetwork, replica: Replica, dataset: Dataset | None) -> dict[str, Any]:
    """Size of a network, and how good it is if there are data (collective)."""
    network = replica.network
    loss, accuracy = (None, None) if dataset is None else stored.evaluate(ctx, network, dataset)
    return {
        "widths": network.widths,
        "neurons": network.n_neurons,
        "connections": network.n_connections,
        "parameters": network.n_parameters,
        "density": network.density,
        "test_loss": loss,
        "test_accuracy": accuracy,
    }


def _numbers(measured: dict[str, Any]) -> dict[str, float]:
    """The measurements that a checkpoint stores: loss and accuracy of the network now."""
    return {name: measured[name] for name in ("test_loss", "test_accuracy") if measured[name] is not None}


def _write(
    ctx: ParallelContext, request: PruningRequest, stored: StoredNetwork, pruned: Replica, metrics: dict[str, float]
) -> None:
    """Write the pruned network with the metrics it has now; those of its run hold no longer (collective).

    It is one network, although there may have been several, with no unfinished epoch to be taken up.
    """
    before = stored.checkpoint
    checkpoint = replace(
        before,
        step=before.step - before.step_in_epoch,
        layers=replica_to_states(pruned),
        neuron_ids=tuple(pruned.network.neuron_ids),
        metrics={"pruning_input_percentile": request.input_percentile, **metrics},
        history_best=None,
        replica=None,
        target_connections=(),
        step_in_epoch=0,
        progress=None,
        progress_names=(),
    )
    write_checkpoint(ctx, request.target_file, checkpoint)
