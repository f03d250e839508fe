"""The commands ``hpc-sparse train``, ``plan`` and ``config``: runs and what they are going to need."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer

from hpc_sparse.cli.display import print_text, show
from hpc_sparse.cli.guard import guarded
from hpc_sparse.cli.loading import without_collector
from hpc_sparse.cli.options import ConfigFile, JsonFlag, Overrides
from hpc_sparse.parallel.context import ParallelContext


def train(
    config: ConfigFile,
    overrides: Overrides = None,
    resume: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="auto|FILE", help="Continue from the newest checkpoint of the run folder, or from FILE."),
    ] = None,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="The run folder.", show_default="runs/<name of CONFIG>"),
    ] = None,
    progress: Annotated[
        Literal["auto", "live", "lines", "none"],
        typer.Option(help="Live display, a line per epoch, or nothing; auto: live on a terminal, lines under mpirun."),
    ] = "auto",
    debug: Annotated[
        bool, typer.Option("--debug", help="Check bounds, invariants and the replicas' agreement; small chunks; slow.")
    ] = False,
) -> None:
    """Train a network. The same command runs alone and under mpirun or srun."""
    from hpc_sparse.monitor.stopping import StopRequest

    stop_request = StopRequest()

    def work(ctx: ParallelContext) -> None:
        if debug:
            from hpc_sparse.runs.debug import enable_debug_mode

            enable_debug_mode()
        with without_collector():
            from hpc_sparse.monitor.reporter import make_reporter
            from hpc_sparse.monitor.throughput import shown_rate
            from hpc_sparse.runs.plan import RunRequest
            from hpc_sparse.runs.run import train_run

        request = RunRequest(config, tuple(overrides or ()), output, resume, debug)
        is_terminal = ctx.comm is None and sys.stdout.isatty()
        reporter = make_reporter(progress, is_root=ctx.is_root, is_terminal=is_terminal)
        summary = train_run(ctx, request, reporter, stop_request)
        if ctx.is_root and progress != "none":
            print_text(
                f"{accuracies(summary)}; training "
                f"{summary['median_train_seconds']:.2f} s per epoch, "
                f"{shown_rate(summary['training_rate'], 'connections x samples')}, {summary['total_seconds']:.1f} s "
                "in all"
            )

    # From the very start: a signal that comes while kernels are compiled must not end the process.
    with stop_request.listening(until_the_end=True):
        guarded(work)


def accuracies(summary: dict[str, Any]) -> str:
    """Accuracies of the last and the best epoch, with the part on which they were measured."""

    def percent(name: str) -> str:
        return "nan%" if summary[name] is None else f"{summary[name]:.2%}"

    last = f"test accuracy {percent('test_accuracy')} after {summary['epochs']} epochs"
    if "validation_accuracy" not in summary:
        return f"{last} (best on the test part {percent('best_test_accuracy')} in epoch {summary['best_test_epoch']})"
    return (
        f"{last}, validation accuracy {percent('validation_accuracy')} (best on the validation part "
        f"{percent('best_validation_accuracy')} in epoch {summary['best_validation_epoch']}, test accuracy "
        f"{percent('test_accuracy_of_best')} there)"
    )


def plan(
    config: ConfigFile,
    overrides: Overrides = None,
    ranks: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Ranks of the run.", show_default="as many as this command has"),
    ] = None,
    ranks_per_node: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Ranks on each node.", show_default="all"),
    ] = None,
    memory: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(metavar="GB", help="Memory of a node.", show_default="what this one has left"),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Needs of a run: memory by item, disk, messages, time; and the largest network that fits.

    Measures this machine for some seconds; under mpirun also the exchange between the ranks.
    """

    def work(ctx: ParallelContext) -> None:
        from hpc_sparse.planning.report import PlanRequest, plan_run
        from hpc_sparse.planning.tables import print_plan

        found = plan_run(ctx, PlanRequest(config, tuple(overrides or ()), ranks, ranks_per_node, memory))
        if ctx.is_root and as_json:
            show(found, as_json=True)
        elif ctx.is_root:
            print_plan(found)

    guarded(work)


def config() -> None:
    """Every key of a configuration: default, values, meaning; as Markdown."""
    import hpc_sparse.evolution  # noqa: F401  (its strategies have sections)
    from hpc_sparse.config.reference import configuration_reference

    print_text(configuration_reference().rstrip())
