"""The plan of a run: everything that can be told of it beforehand, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpc_sparse.config import RunConfig, find_data, load_config
from hpc_sparse.errors import ConfigError
from hpc_sparse.importers.initial_topologies import TopologyFile, described, find_topologies
from hpc_sparse.inputs.sequences import n_inputs
from hpc_sparse.kernels import INSTRUCTION_SET
from hpc_sparse.kernels.threads import use_threads
from hpc_sparse.network.connections.registry import check_widths
from hpc_sparse.network.objectives.registry import make_objective
from hpc_sparse.parallel.collectives import collective_errors, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.planning.effective import expected_effective
from hpc_sparse.planning.largest import largest_fitting
from hpc_sparse.planning.machine import AvailableMemory, available_memory
from hpc_sparse.planning.memory import plan_memory
from hpc_sparse.planning.network_size import NetworkSize
from hpc_sparse.planning.parts import check_parts, part_of, step_message_bytes
from hpc_sparse.planning.prediction import predict, ranges
from hpc_sparse.planning.refusal import GIGABYTE
from hpc_sparse.planning.topology_files import read_files, told_of
from hpc_sparse.planning.traffic import checkpoint_file_bytes, message_bytes
from hpc_sparse.storage.dataset.file import read_info
from hpc_sparse.storage.dataset.samples import DatasetInfo
from hpc_sparse.storage.dataset.validation import count_validation
from hpc_sparse.training.rates import learning_rate


@dataclass(frozen=True)
class PlanRequest:
    """Request for a plan.

    Attributes
    ----------
    config_path : Path
    overrides : tuple of str
        ``section.key=value`` each.
    n_ranks : int or None
        By default as many as take part.
    ranks_per_node : int or None
        By default all are on one node.
    memory : float or None
        GB that the ranks of a node have together; by default what this node has left.
    """

    config_path: Path
    overrides: tuple[str, ...] = ()
    n_ranks: int | None = None
    ranks_per_node: int | None = None
    memory: float | None = None


def plan_run(ctx: ParallelContext, request: PlanRequest) -> dict[str, Any]:
    """Plan a run, after some seconds of measuring (collective).

    Raises
    ------
    InputError
        On every rank: the configuration or the data set is not what it should be.
    """
    config, info, files = on_root(ctx, lambda: _read(request))
    given = {each.layer: each.connections for each in files}
    n_ranks = _ranks(ctx, request, config)
    n_node_ranks = min(n_ranks, request.ranks_per_node or n_ranks)
    threads = config.runtime.threads or (ctx.threads if ctx.size > 1 else max(1, ctx.threads // n_node_ranks))
    with collective_errors(ctx, "starting threads"):
        use_threads(threads)
    n_outputs = make_objective(config).n_outputs(info.n_classes)
    size, n_parts = NetworkSize.of_run(config, info, n_outputs, given), config.parallel.model
    check_parts(n_parts, size.widths)
    patterns = {config.network.random_pattern, config.network.initial_topology, *config.network.initial_topologies}
    effective = expected_effective(size, patterns.pop()) if len(patterns) == 1 else None
    report = {
        "config": str(request.config_path),
        "ranks": n_ranks,
        "ranks_per_node": n_node_ranks,
        "ranks_per_network": config.parallel.model,
        "threads_per_rank": threads,
        "instructions": INSTRUCTION_SET.name,
        "tile_width": size.tile_width,
        "samples": _samples(config, info),
        "neurons": size.n_neurons,
        "connections": size.n_connections,
        "effective": None if effective is None else asdict(effective),
        "layers": [asdict(layer) for layer in size.layers],
        **described(config.network, files),
        "memory": _memory(request, config, size, info, n_ranks, n_node_ranks, given),
        "schedule": _schedule(config, n_ranks // n_parts),
        "checkpoint_bytes": checkpoint_file_bytes(config, size),
        "sync_bytes": message_bytes(config, part_of(size, n_parts)) if n_ranks > n_parts else 0,
        "step_bytes": step_message_bytes(config, size, n_parts),
    }
    prediction = predict(ctx, config, size, info, n_ranks)
    return report | {"predicted": asdict(prediction), "predicted_ranges": ranges(prediction)}


def _ranks(ctx: ParallelContext, request: PlanRequest, config: RunConfig) -> int:
    """Ranks to plan for; as many as one network has parts where none are asked for and these are not enough."""
    n_parts = config.parallel.model
    n_ranks = request.n_ranks or (ctx.size if ctx.size % n_parts == 0 else n_parts)
    if n_ranks % n_parts:
        raise ConfigError(f"parallel.model = {n_parts}: not with --ranks {n_ranks}: expected a multiple of {n_parts}")
    return n_ranks


def _read(request: PlanRequest) -> tuple[RunConfig, DatasetInfo, tuple[TopologyFile, ...]]:
    for name, number in (("--ranks", request.n_ranks), ("--ranks-per-node", request.ranks_per_node)):
        if number is not None and number < 1:
            raise ConfigError(f"{name} {number}: must be >= 1")
    if request.memory is not None and not request.memory > 0:
        raise ConfigError(f"--memory {request.memory}: must be > 0 (GB)")
    config = load_config(request.config_path, request.overrides)
    info = read_info(find_data(config.data.path, request.config_path))
    count_validation(info, config.data.validation_fraction)
    check_widths(config.network, n_inputs(config, info))
    paths = find_topologies(config, request.config_path)
    return config, info, told_of(paths, read_files(config, paths, info))


def _schedule(config: RunConfig, n_ranks: int) -> dict[str, Any]:
    """The learning rate of the first epoch and the highest, and what is known of changes of the topology."""
    n_epochs, evolution = config.training.epochs, config.evolution
    n_replicas = n_ranks if config.parallel.algorithm == "local_sgd" else max(1, n_ranks - 1)
    rate = learning_rate(config, n_replicas)
    return {
        "first_learning_rate": rate.at(1),
        "highest_learning_rate": max(rate.at(epoch) for epoch in range(1, n_epochs + 1)),
        "strategy": evolution.strategy,
        "drop_fraction": evolution.first_fraction,
        "drop_schedule": evolution.decay,
        "last_change": evolution.last_change(n_epochs) or n_epochs - 1,
    }


def _samples(config: RunConfig, info: DatasetInfo) -> dict[str, int]:
    n_validation = count_validation(info, config.data.validation_fraction)
    return {"train": info.n_train - n_validation, "validation": n_validation, "test": info.n_test}


def _memory(
    request: PlanRequest,
    config: RunConfig,
    size: NetworkSize,
    info: DatasetInfo,
    n_ranks: int,
    n_node_ranks: int,
    given: Mapping[int, int],
) -> dict[str, Any]:
    plan = plan_memory(config, size, info, n_ranks)
    available = available_memory()
    if request.memory is not None:
        program = (plan.peak - plan.allocated) * n_node_ranks
        available = AvailableMemory(max(0, round(request.memory * GIGABYTE) - program), "as given")
    report: dict[str, Any] = {
        "items": [asdict(item) for item in plan.items],
        "all_the_time": plan.resident,
        "peaks": plan.peaks,
        "peak": plan.peak,
        "peak_per_node": plan.peak * n_node_ranks,
    }
    if available is None:
        return report
    sizes = size.widths[-1], n_ranks, n_node_ranks, available.n_bytes
    return report | {
        "available_to_node": available.n_bytes,
        "available_says": available.source,
        "fits": plan.allocated * n_node_ranks <= available.n_bytes,
        "largest": asdict(largest_fitting(config, info, *sizes, given)),
    }
