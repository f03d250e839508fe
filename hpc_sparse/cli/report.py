"""The commands ``hpc-sparse report`` and ``tensorboard``: results of runs in pictures and in TensorBoard."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Optional

import typer

from hpc_sparse.cli.guard import guarded
from hpc_sparse.errors import printable
from hpc_sparse.parallel.context import ParallelContext

Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.", show_default=False)]


def report(
    runs: Runs,
    html: Annotated[
        bool, typer.Option("--html/--no-html", help="One page with everything, or the pictures alone.")
    ] = True,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FOLDER", help="Folder to write.", show_default="RUN/report, of several runs report"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the files of a report that is there already.")
    ] = False,
    image_shape: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="HxW|HxWxC|none", help="Shape of the inputs as an image.", show_default="guessed"),
    ] = None,
) -> None:
    """Pictures of runs, finished or not: curves, topology, neurons, time; and one page with all of it.

    Runs that differ in the seed only are shown as one, with a band. Needs the extra 'report'.
    """

    def work(ctx: ParallelContext) -> None:
        from hpc_sparse.parallel.collectives import on_root

        written = on_root(ctx, lambda: _write(tuple(runs), html, output, overwrite, image_shape))
        if ctx.is_root:
            shown = f"{written[0]} and {len(written) - 1} pictures" if html else "\n".join(map(str, written[::-1]))
            print(printable(shown), flush=True)

    guarded(work)


def tensorboard(
    runs: Runs,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FOLDER", help="Folder to write.", show_default="each into the folder of its run"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the event files of an earlier time.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until the runs are over: adds each epoch as it is done.")
    ] = False,
) -> None:
    """Metrics of runs, finished or not, as TensorBoard's event files: then tensorboard --logdir FOLDER.

    Needs the extra 'tensorboard'.
    """

    def work(ctx: ParallelContext) -> None:
        from hpc_sparse.parallel.collectives import on_root

        on_root(ctx, lambda: _write_events(tuple(runs), output, overwrite, follow))

    guarded(work)


def _write_events(runs: tuple[Path, ...], output: Path | None, overwrite: bool, follow: bool) -> None:
    from hpc_sparse.report.requirements import check_libraries

    check_libraries("tensorboardX", extra="tensorboard")
    from hpc_sparse.report.tensorboard import SECONDS_BETWEEN_LOOKS, EventsRequest, event_files

    with event_files(EventsRequest(runs, output, overwrite)) as files:
        is_over = files.update()
        print(printable("\n".join(map(str, files.paths))), flush=True)
        while follow and not is_over:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            is_over = files.update()


def _write(
    runs: tuple[Path, ...],
    html: bool,
    output: Path | None,
    overwrite: bool,
    image_shape: str | None,
) -> list[Path]:
    from hpc_sparse.report.requirements import check_libraries

    check_libraries("matplotlib", "jinja2")
    from hpc_sparse.report.make import ReportRequest, make_report

    return make_report(ReportRequest(runs, output, html, overwrite, image_shape))
