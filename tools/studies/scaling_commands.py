"""The command ``tools/scaling_model``: the model's table, and how it compares with runs on this machine."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Annotated, NamedTuple

import typer
from benchmarks.report import machine

from hpc_sparse.config import RunConfig, find_data, load_config
from hpc_sparse.kernels.threads import use_threads
from hpc_sparse.network.objectives.registry import make_objective
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.planning.largest import largest_fitting
from hpc_sparse.planning.memory import plan_memory
from hpc_sparse.planning.network_size import NetworkSize
from hpc_sparse.planning.prediction import predict
from hpc_sparse.planning.refusal import GIGABYTE, gigabytes
from hpc_sparse.planning.traffic import n_syncs, reduction_rate
from hpc_sparse.storage.dataset.file import read_info
from hpc_sparse.storage.dataset.samples import DatasetInfo
from studies.crowding import crowded_step
from studies.link_speed import Link, measure_link
from studies.runs import ROOT, PlannedRun, result_of
from studies.scaling_model import Constants, Point, model, most_useful_ranks, ranks_that_fit, unevenness

app = typer.Typer(add_completion=False)

MEASURED = ("train_seconds", "sync_seconds", "evolve_seconds", "evaluate_seconds")
CHECK_EPOCHS = 3
CALIBRATED = 2
"""Ranks of the run that tells how uneven steps are; runs of more ranks are then checks."""


class _Runs(NamedTuple):
    """Runs of one configuration."""

    path: Path
    settings: tuple[str, ...]
    config: RunConfig
    size: NetworkSize
    info: DatasetInfo

    def short(self, n_ranks: int, folder: Path) -> PlannedRun:
        """A few epochs, one thread per rank."""
        more = (f"training.epochs={CHECK_EPOCHS}", "runtime.threads=1", "runtime.oversubscribe=true")
        return PlannedRun(self.path, (*self.settings, *more), n_ranks, folder, 0)


@app.command()
def main(
    config_path: Annotated[Path, typer.Argument(metavar="CONFIG", help="Such as jobs/scale_1m.toml.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Replace a value; repeatable.")
    ] = None,
    ranks: Annotated[
        str, typer.Option(help="With commas between them; numbers above those of --check are left out.")
    ] = "1,2,4,8,16,32,64",
    ranks_per_node: Annotated[int, typer.Option(min=1, help="Ranks on each node.")] = 1,
    node_memory: Annotated[float, typer.Option(help="GB of each node.")] = 24.0,
    latency: Annotated[
        float | None, typer.Option(help="Microseconds; measured between local ranks by default.")
    ] = None,
    bandwidth: Annotated[float | None, typer.Option(help="GB/s; measured between local ranks by default.")] = None,
    check: Annotated[
        str, typer.Option(help="Ranks on which real runs are compared, such as 1,2,4; none by default.")
    ] = "",
    output: Annotated[Path | None, typer.Option(help="Markdown file to write.")] = None,
) -> None:
    """Time per epoch and memory on P ranks, from constants measured here on one thread per rank."""
    to_check, output = _numbers(check) if check else [], None if output is None else output.resolve()
    numbers = [number for number in _numbers(ranks) if not check or number <= max(to_check)]
    if not numbers:
        raise typer.BadParameter(f"--ranks {ranks}: all are above those of --check {check}")
    path, chosen = config_path.resolve(), tuple(settings or ())
    os.chdir(ROOT)  # where data/ is looked for
    use_threads(1)
    config = load_config(path, chosen)
    info = read_info(find_data(config.data.path, path))
    n_outputs = make_objective(config).n_outputs(info.n_classes)
    size = NetworkSize.of_run(config, info, n_outputs)
    constants = _constants(config, size, info, latency, bandwidth)
    several = ranks_per_node > 1 or bool(check)
    crowding = _crowding(config, size, info, constants) if several else 1.0
    among_others = crowding if ranks_per_node > 1 else 1.0
    runs = _Runs(path, chosen, config, size, info)
    if check:
        constants = _with_unevenness(runs, constants, crowding)
    points = [model(config, size, info, constants, number, crowding=among_others) for number in numbers]
    words = " ".join(["tools/scaling_model", str(config_path), *(f"--set {text}" for text in chosen)])
    words += f" --check {check}" if check else ""
    lines = [f"# Scaling model: {path.name}, {size.n_neurons:,} neurons, {size.n_connections:,} connections", ""]
    lines += [f"`{words}`; {', '.join(f'{name} {version}' for name, version in machine().items())}", ""]
    lines += [_constants_line(constants, crowding), "", *_table(points), ""]
    lines += _limits(config, size, info, points, ranks_per_node, round(node_memory * GIGABYTE))
    if check:
        lines += ["", *_checked(runs, constants, crowding, to_check)]
    else:
        lines += ["", "No row was checked by a run, and none has a time of waiting: that takes `--check 1,2,4`."]
    print("\n".join(lines))
    if output is not None:
        output.write_text("\n".join(lines) + "\n")


def _constants(
    config: RunConfig, size: NetworkSize, info: DatasetInfo, latency: float | None, bandwidth: float | None
) -> Constants:
    alone = ParallelContext.serial(threads=1)
    local = measure_link() if latency is None or bandwidth is None else Link(0.0, 1.0)
    link = Link(
        local.latency if latency is None else latency * 1e-6,
        local.bandwidth if bandwidth is None else bandwidth * GIGABYTE,
    )
    return Constants(predict(alone, config, size, info, 1), reduction_rate(alone, 1), link)


def _crowding(config: RunConfig, size: NetworkSize, info: DatasetInfo, constants: Constants) -> float:
    """Slow-down of a step while all cores of this machine train."""
    n_cores = len(os.sched_getaffinity(0))
    return max(1.0, crowded_step(config, size, info, n_cores) / constants.alone.step)


def _with_unevenness(runs: _Runs, constants: Constants, crowding: float) -> Constants:
    """The constants with the unevenness of steps, from a run with a rank on each core, but no more than CALIBRATED."""
    n_ranks = min(CALIBRATED, len(os.sched_getaffinity(0)))
    if n_ranks == 1:
        return constants
    with tempfile.TemporaryDirectory() as folder:
        result = result_of(runs.short(n_ranks, Path(folder) / "calibration"))
    if result is None:
        raise typer.Exit(1)
    point = model(runs.config, runs.size, runs.info, constants, n_ranks, crowding=crowding)
    seconds = median(each["sync_seconds"] for each in result.epochs[1:])
    return replace(constants, unevenness=unevenness(seconds, point, n_syncs(runs.config, point.n_steps)))


def _constants_line(constants: Constants, crowding: float) -> str:
    alone, link = constants.alone, constants.link
    crowded = f" ({crowding:.2f} times that while all cores of this machine train)" if crowding > 1.0 else ""
    return (
        f"Constants, one thread: step {alone.step:.3g} s{crowded}, evaluation {alone.evaluation:.3g} s, evolution "
        f"{alone.evolution:.3g} s; packing {constants.packing / GIGABYTE:.3g} GB/s; link {link.latency * 1e6:.3g} us, "
        f"{link.bandwidth / GIGABYTE:.3g} GB/s; unevenness of a step {constants.unevenness:.2g} s."
    )


def _table(points: list[Point]) -> list[str]:
    first = points[0]
    columns = ["ranks", "steps", "compute, s", "transfers, s", "waiting, s", "rest, s", "epoch, s"]
    lines = _head([*columns, "speed-up", "efficiency", "GB per rank"])
    for point in points:
        speedup = first.epoch / point.epoch * first.n_ranks
        seconds = (point.compute, point.transfer, point.waiting, point.other, point.epoch, speedup)
        cells = [f"{point.n_ranks:,}", f"{point.n_steps:,}", *(f"{number:.3g}" for number in seconds)]
        lines.append(_row([*cells, f"{speedup / point.n_ranks:.0%}", gigabytes(point.rank_bytes)]))
    return lines


def _head(columns: list[str]) -> list[str]:
    return [_row(columns), _row(["---:"] * len(columns))]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _limits(
    config: RunConfig, size: NetworkSize, info: DatasetInfo, points: list[Point], ranks_per_node: int, node_bytes: int
) -> list[str]:
    most = points[-1].n_ranks
    node_ranks = min(most, ranks_per_node)
    plan = plan_memory(config, size, info, most)
    room = max(0, node_bytes - node_ranks * (plan.peak - plan.allocated))
    largest = largest_fitting(config, info, size.widths[-1], most, node_ranks, room).hidden
    too_many = ranks_that_fit(points, ranks_per_node, node_bytes)
    where = f"a node of {gigabytes(node_bytes)} GB with {node_ranks} of the ranks"
    fit = f"fits into {where}" if too_many is None else f"no longer fits into {where} from {too_many} ranks on"
    lines = [f"A replica {fit}. The epoch is shortest on {most_useful_ranks(points):,} of these numbers of ranks."]
    if largest is not None:
        neurons = sum(largest) + size.widths[0] + size.widths[-1]
        lines.append(f"With all hidden layers wider alike, a replica no longer fits above {neurons:,} neurons.")
    return lines


def _checked(runs: _Runs, constants: Constants, crowding: float, ranks: list[int]) -> list[str]:
    """Real runs of some epochs beside the model; ranks beyond the cores share them."""
    n_cores = len(os.sched_getaffinity(0))
    lines = [f"Checked on this machine ({n_cores} cores, one thread per rank; medians of epochs after the first):", ""]
    columns = ["ranks", "epoch, s: model", "measured", "model / measured", "syncs, s: model", "measured"]
    lines += _head([*columns, "model / measured", "GB: model", "measured"])
    with tempfile.TemporaryDirectory() as folder:
        for n_ranks in ranks:
            result = result_of(runs.short(n_ranks, Path(folder) / f"ranks-{n_ranks}"))
            point = model(runs.config, runs.size, runs.info, constants, n_ranks, n_cores, crowding)
            if result is None:
                lines.append(_row([str(n_ranks), f"{point.epoch:.3g}", "failed", *[""] * 6]))
                continue
            epoch = median(sum(each[name] for name in MEASURED) for each in result.epochs[1:])
            sync = median(each["sync_seconds"] for each in result.epochs[1:])
            cells = [str(n_ranks), f"{point.epoch:.3g}", f"{epoch:.3g}", f"{point.epoch / epoch:.2f}"]
            cells += [f"{point.sync:.3g}", f"{sync:.3g}", f"{point.sync / sync:.2f}"]
            lines.append(_row([*cells, gigabytes(point.rank_bytes), gigabytes(result.summary["peak_rss_bytes"])]))
    return lines


def _numbers(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.strip().isdigit() and int(part) for part in parts):
        raise typer.BadParameter(f"{text!r}: expected numbers of ranks with commas between them, such as 1,2,4")
    return [int(part) for part in parts]
