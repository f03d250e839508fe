"""The commands ``hpc-sparse analyze``: structure and differences of the topologies of checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from hpc_sparse.cli.display import show
from hpc_sparse.cli.guard import guarded
from hpc_sparse.parallel.context import ParallelContext

analyze = typer.Typer(help="Analyze the topologies of checkpoints.", no_args_is_help=True)

JSON_ONLY = ("distributions", "from_input", "to_output", "outputs_reached", "agreement")
"""Long lists, which the tables leave out."""

CheckpointFile = Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint.", show_default=False)]
CheckpointFiles = Annotated[
    list[Path], typer.Argument(metavar="CHECKPOINT...", help="Checkpoints.", show_default=False)
]
ReplicaNumber = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--replica", min=0, help="Number of the network, if the checkpoint holds one per worker."),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table; with more values.")]
PictureFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--picture", metavar="FILE.png", help="Also draw it (.png, .svg, .pdf). Needs matplotlib.", show_default=False
    ),
]


@analyze.command()
def distance(
    checkpoints: CheckpointFiles,
    replica: ReplicaNumber = None,
    exact_width: Annotated[
        int, typer.Option(min=0, help="Pair the neurons of layers up to this width exactly, of wider ones to 0.0001.")
    ] = 2048,  # EXACT_WIDTH, which lives beside compiled code
    picture: PictureFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Topology distance (NNSTD) of each pair of networks: 0 if equal up to the order of neurons, 1 if disjoint.

    Replicas of one checkpoint count as networks. Ranks share the pairs.
    """

    def find(ctx: ParallelContext) -> dict[str, Any]:
        from hpc_sparse.analysis.reports import report_distances

        return report_distances(ctx, checkpoints, replica, exact_width)

    _analyze(find, "draw_distances", picture, as_json=as_json)


@analyze.command()
def overlap(
    checkpoints: CheckpointFiles,
    replica: ReplicaNumber = None,
    picture: PictureFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Connections that checkpoints of different epochs share, and the number tried so far."""
    _analyze_on_root(
        lambda reports: reports.report_overlap(checkpoints, replica), "draw_overlap", picture, as_json=as_json
    )


@analyze.command()
def degrees(
    checkpoint: CheckpointFile,
    replica: ReplicaNumber = None,
    data: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="The data set: also name the features with most connections.", show_default=False),
    ] = None,
    picture: PictureFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Connections per neuron, beside those of a random topology."""
    _analyze_on_root(
        lambda reports: reports.report_degrees(checkpoint, replica, data), "draw_degrees", picture, as_json=as_json
    )


@analyze.command()
def paths(
    checkpoint: CheckpointFile, replica: ReplicaNumber = None, picture: PictureFile = None, as_json: JsonFlag = False
) -> None:
    """Paths from inputs to outputs, and the pairs that they connect."""
    _analyze_on_root(lambda reports: reports.report_paths(checkpoint, replica), "draw_paths", picture, as_json=as_json)


@analyze.command()
def summary(
    checkpoint: CheckpointFile, replica: ReplicaNumber = None, picture: PictureFile = None, as_json: JsonFlag = False
) -> None:
    """Size, dead neurons, and connections that are on a path from an input to an output."""
    _analyze_on_root(
        lambda reports: reports.report_summary(checkpoint, replica), "draw_summary", picture, as_json=as_json
    )


@analyze.command()
def shifts(
    checkpoint: CheckpointFile,
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="A data set of images.", show_default=False)],
    images: Annotated[int, typer.Option(min=1, help="Test images that are shifted, at most.")] = 256,
    largest: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Most pixels in either direction.", show_default="all; cropped ones: an eighth"),
    ] = None,
    picture: PictureFile = None,
    as_json: JsonFlag = False,
) -> None:
    """How often a network with convolutions gives shifted images the same class, and the same bits.

    Circular shifts move images around the edges; cropped ones lose what leaves and repeat the edge.
    """

    def find(_: Any) -> dict[str, Any]:
        from hpc_sparse.models.shifts import measure_shifts

        found: dict[str, Any] = measure_shifts(ParallelContext.serial(), checkpoint, dataset, images, largest)
        return found

    _analyze_on_root(find, "draw_shifts", picture, as_json=as_json)


def _analyze_on_root(
    find: Callable[[Any], dict[str, Any]], drawing: str, picture: Path | None, *, as_json: bool
) -> None:
    """As :func:`_analyze`, on one rank; ``find`` gets the module of the reports, which imports compiled code."""

    def on_one_rank(ctx: ParallelContext) -> dict[str, Any]:
        from hpc_sparse.parallel.collectives import on_root

        found: dict[str, Any] = {}  # stays on root: the other ranks have no use for it

        def find_here() -> None:
            from hpc_sparse.analysis import reports

            found.update(find(reports))

        on_root(ctx, find_here)
        return found

    _analyze(on_one_rank, drawing, picture, as_json=as_json)


def _analyze(
    find: Callable[[ParallelContext], dict[str, Any]], drawing: str, picture: Path | None, *, as_json: bool
) -> None:
    """Find something out, draw it with the named function if a picture is wanted, and show it."""

    def work(ctx: ParallelContext) -> None:
        from hpc_sparse.analysis import pictures
        from hpc_sparse.kernels.threads import use_threads
        from hpc_sparse.parallel.collectives import collective_errors, on_root

        if picture is not None:
            on_root(ctx, lambda: pictures.check_picture(picture))
        with collective_errors(ctx, "starting threads"):
            use_threads(ctx.threads)
        report = find(ctx)
        if picture is not None:
            on_root(ctx, lambda: pictures.write_picture(getattr(pictures, drawing), report, picture))
        if ctx.is_root:
            show({name: value for name, value in report.items() if as_json or name not in JSON_ONLY}, as_json=as_json)

    guarded(work)
