"""The command ``hpc-sparse``: the only place that starts MPI and ends the process."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
import traceback
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer

from hpc_sparse import __version__
from hpc_sparse.cli_analyze import analyze_app
from hpc_sparse.cli_import import import_app
from hpc_sparse.cli_model import model_app
from hpc_sparse.cli_report import report, tensorboard
from hpc_sparse.errors import HpcSparseError, printable
from hpc_sparse.parallel.context import ParallelContext, launched_rank, launched_ranks, start_mpi

GRACE_SECONDS = 5.0
"""How long a rank that fails waits for the others to fail alike before it ends the whole job."""

END_SECONDS = 9
"""How long MPI and other libraries may take to end once all ranks leave after an error or a request to stop."""

END_WELL_SECONDS = 60
"""The same once the work is done, which a machine with too much to do must not make a failure of."""

EXIT_CRASHED = 1
EXIT_USAGE = 2
EXIT_OUT_OF_MEMORY = 2
EXIT_INTERRUPTED = 130

USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""Every kind of wrong command line; Typer has no public name for it."""

app = typer.Typer(
    name="hpc-sparse",
    help="Train truly sparse neural networks on CPUs, alone or across MPI ranks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")
data_app.add_typer(import_app, name="import")
app.add_typer(analyze_app, name="analyze")
app.add_typer(model_app, name="model")
app.command()(report)
app.command()(tensorboard)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def main() -> None:
    """Entry point of the command."""
    if launched_rank() in (None, 0):
        app()
    else:
        _run_beside_root()


def _run_beside_root() -> None:
    """Run the command on a rank that leaves it to root to say what is wrong with the command line."""
    try:
        exit_code = app(standalone_mode=False)
    except USAGE_ERROR:
        # A launcher ends the job with the first rank that fails: root's message must be out by then.
        time.sleep(GRACE_SECONDS)
        exit_code = EXIT_USAGE
    sys.exit(exit_code)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if version:
        print(f"hpc-sparse {__version__}")
        raise typer.Exit


@app.command()
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="The run's configuration.", show_default=False)],
    overrides: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Replace a value of the configuration; repeatable."),
    ] = None,
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
    from hpc_sparse.training.stopping import StopRequest

    stop_request = StopRequest()

    def work(ctx: ParallelContext) -> None:
        if debug:
            from hpc_sparse.training.debug import enable_debug_mode

            enable_debug_mode()
        from hpc_sparse.training.pace import shown_rate
        from hpc_sparse.training.progress import make_reporter
        from hpc_sparse.training.run import train as run_training
        from hpc_sparse.training.run_plan import RunRequest

        request = RunRequest(config, tuple(overrides or ()), output, resume, debug)
        is_terminal = ctx.comm is None and sys.stdout.isatty()
        reporter = make_reporter(progress, is_root=ctx.is_root, is_terminal=is_terminal)
        summary = run_training(ctx, request, reporter, stop_request)
        if ctx.is_root and progress != "none":
            _print(
                f"test accuracy {summary['test_accuracy']:.2%} after {summary['epochs']} epochs "
                f"(best {summary['best_test_accuracy']:.2%} in epoch {summary['best_test_epoch']}); training "
                f"{summary['median_train_seconds']:.2f} s per epoch, "
                f"{shown_rate(summary['training_rate'], 'connections x samples')}, {summary['total_seconds']:.1f} s "
                "in all"
            )

    # From the very start: a signal that comes while kernels are compiled must not end the process.
    with stop_request.listening(until_the_end=True):
        guarded(work)


@app.command()
def plan(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="The run's configuration.", show_default=False)],
    overrides: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Replace a value of the configuration; repeatable."),
    ] = None,
    ranks: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Ranks of the run.", show_default="as many as this command has"),
    ] = None,
    ranks_per_node: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Of these, on each node.", show_default="all"),
    ] = None,
    memory: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(metavar="GB", help="Memory of a node.", show_default="what this one has left"),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """What a run will need: memory by item, disk, messages, time; and the largest network that fits.

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


@app.command()
def config() -> None:
    """Every key of a configuration: default, values, meaning; as Markdown."""
    from hpc_sparse.config.reference import configuration_reference

    _print(configuration_reference().rstrip())


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint of a run.", show_default=False)],
    dataset: Annotated[Path, typer.Argument(help="The data set whose test part is used.", show_default=False)],
    as_json: JsonFlag = False,
) -> None:
    """Loss and accuracy of a checkpoint on the test part of a data set."""

    def work(ctx: ParallelContext) -> None:
        from hpc_sparse.training.inspection import evaluate_checkpoint

        result = evaluate_checkpoint(ctx, checkpoint, dataset)
        if ctx.is_root:
            show(result, as_json=as_json)

    guarded(work)


@app.command()
def prune(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint of a run.", show_default=False)],
    percentile: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Of each hidden layer's neuron importances; neurons at or below it go."),
    ] = None,
    target_connections: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Instead: the least percentile that leaves at most so many connections."),
    ] = None,
    inputs: Annotated[float, typer.Option(help="The same percentile for the input neurons.")] = 0.0,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="The checkpoint to write.", show_default="<CHECKPOINT>-pruned.h5"),
    ] = None,
    data: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A data set on whose test part loss and accuracy are found.", show_default=False),
    ] = None,
    curve: Annotated[bool, typer.Option("--curve", help="Show the accuracy at percentiles 0, 5, ..., 95.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Remove the unimportant neurons of a trained network and write what is left as a checkpoint."""

    def work(ctx: ParallelContext) -> None:
        from hpc_sparse.training.pruning import PruningRequest, prune_checkpoint

        request = PruningRequest(checkpoint, percentile, target_connections, inputs, output, data, curve)
        result = prune_checkpoint(ctx, request)
        if ctx.is_root:
            show(result, as_json=as_json)

    guarded(work)


@app.command()
def info(
    file: Annotated[Path, typer.Argument(help="A data set or a checkpoint.", show_default=False)],
    as_json: JsonFlag = False,
) -> None:
    """What is in a data set or a checkpoint."""

    def work(ctx: ParallelContext) -> None:
        from hpc_sparse.parallel.collectives import on_root
        from hpc_sparse.training.inspection import describe_file

        description = on_root(ctx, lambda: describe_file(file))
        if ctx.is_root:
            show(description, as_json=as_json)

    guarded(work)


@app.command()
def upgrade(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Data sets and checkpoints.")],
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Where to write the one FILE.", show_default="in place of FILE"),
    ] = None,
) -> None:
    """Rewrite files of older format versions as the newest; each stays as it is until the new one is proven good."""
    if output is not None and len(files) > 1:
        raise typer.BadParameter(f"{len(files)} files: expected one", param_hint="'--output'")

    def work(ctx: ParallelContext) -> None:
        from hpc_sparse.parallel.collectives import on_root
        from hpc_sparse.storage.upgrade import upgrade_file

        for file in files:
            result = on_root(ctx, lambda file=file: upgrade_file(file, output))  # type: ignore[misc]
            if ctx.is_root:
                _print(str(result))

    guarded(work)


@app.command()
def check(as_json: JsonFlag = False) -> None:
    """What this installation can do, in one paste: MPI, threads, HDF5, a real collective write, the cache."""

    def work(ctx: ParallelContext) -> None:
        from hpc_sparse.training.installation import check_installation

        found = check_installation(ctx)
        if ctx.is_root:
            show(found, as_json=as_json)
        failed = [name.replace("_", " ") for name, value in found.items() if str(value).startswith("failed")]
        if failed:
            raise HpcSparseError(f"check: failed: {', '.join(failed)}")

    guarded(work)


def show(values: dict[str, Any], *, as_json: bool) -> None:
    """Print names and values as a table or as JSON."""
    if as_json:
        from hpc_sparse.training.metrics import to_json

        _print(to_json(values, indent=2))
    else:
        from hpc_sparse.training.display import table_lines

        _print("\n".join(table_lines(values)))


def _print(text: str) -> None:
    """Print, unless nobody reads any more (``| head``), which is no failure."""
    try:
        print(printable(text), flush=True)
    except BrokenPipeError:
        # Python flushes once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def guarded(work: Callable[[ParallelContext], None]) -> None:
    """Run a command's work; end the process with one message and the right code, and never leave ranks waiting."""
    ctx = ParallelContext.serial(threads=1)
    try:
        ctx = start_mpi()
        work(ctx)
    except HpcSparseError as error:
        _leave_together(ctx, f"hpc-sparse: {error}", error.exit_code)
    except MemoryError as error:
        _leave_together(ctx, f"hpc-sparse: not enough memory: {error}", EXIT_OUT_OF_MEMORY)
    except KeyboardInterrupt:
        _leave_together(ctx, "hpc-sparse: interrupted", EXIT_INTERRUPTED)
    except Exception:  # noqa: BLE001  (third tier: say what happened, then end the job)
        print(f"{_name(ctx)}:\n{traceback.format_exc()}", file=sys.stderr, flush=True)
        _abort(ctx, EXIT_CRASHED)
    else:
        # Others may have work left, so this can take long.
        _do_all_leave(ctx, 0, math.inf)
        _end_in_time(ctx, END_WELL_SECONDS)


def _name(ctx: ParallelContext) -> str:
    """The name of this rank in a message; before MPI has started, the launcher knows it."""
    if ctx.comm is None and (rank := launched_rank()) is not None:
        return f"rank {rank} of {launched_ranks()}"
    return f"rank {ctx.rank} of {ctx.size}"


def _leave_together(ctx: ParallelContext, message: str, exit_code: int) -> None:
    """Leave after root has printed the message; if the other ranks do not leave alike, end the job instead."""
    message = printable(message)
    if ctx.is_root:
        print(message, file=sys.stderr, flush=True)
    if not _do_all_leave(ctx, exit_code, GRACE_SECONDS):
        print(f"{message} ({_name(ctx)} alone)", file=sys.stderr, flush=True)
        _abort(ctx, exit_code)
    _end_in_time(ctx, END_SECONDS)
    raise typer.Exit(exit_code)


def _do_all_leave(ctx: ParallelContext, exit_code: int, seconds: float) -> bool:
    """Whether every rank comes here within so many seconds, and with the same exit code."""
    if ctx.comm is None or ctx.size == 1:
        return True
    from mpi4py import MPI

    # On a communicator of its own: a rank that does not leave may be in a barrier of the context's.
    own, extremes = array("q", (exit_code, -exit_code)), array("q", (0, 0))
    request = MPI.COMM_WORLD.Iallreduce(own, extremes, op=MPI.MAX)
    deadline = time.monotonic() + seconds
    while not request.Test():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return extremes[0] == -extremes[1]


def _end_in_time(ctx: ParallelContext, seconds: int) -> None:
    """Have the system end this process if MPI or another library keeps it, and the launcher then the others.

    An alarm, because MPI ends without letting go of Python's lock: no thread of ours could look at a clock.
    """
    if ctx.comm is not None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds)


def _abort(ctx: ParallelContext, exit_code: int) -> None:
    if ctx.comm is not None and ctx.size > 1:
        time.sleep(0.5)
        ctx.comm.Abort(exit_code)
    raise typer.Exit(exit_code)
