"""What the importing commands share: their options, the progress bar, and how they run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from hpc_sparse.cli.display import show
from hpc_sparse.cli.guard import guarded
from hpc_sparse.parallel.context import ParallelContext

Report = Callable[[str, int, int], None]

OutputFile = Annotated[Path, typer.Argument(help="The data set file to write (.h5).", show_default=False)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")]
Title = Annotated[Optional[str], typer.Option(help="What the data are, for people.", show_default=False)]  # noqa: UP045
OrderSeed = Annotated[int, typer.Option(min=0, help="Seed of the order in which the training samples are stored.")]
Log2 = Annotated[
    bool, typer.Option("--log2", help="Store log2(max(x, 1)) of each value x: for intensities of microarrays.")
]
TfIdf = Annotated[
    bool,
    typer.Option("--tf-idf", help="Weigh sparse term counts by the training part's frequencies; rows of one length."),
]
TestFraction = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="Share of the samples for testing, where the source does not say which.")
]
SplitSeed = Annotated[int, typer.Option("--seed", min=0, help="Seed of that split.")]
Stratify = Annotated[bool, typer.Option("--stratify/--no-stratify", help="Take that share of each class.")]
TestFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--test", help="A file of the same kind for testing, instead of a split.", show_default=False),
]
Label = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        metavar="COLUMN",
        help="The labels, by name or number (1 the first, -1 the last).",
        show_default='"label", "class", ..., or the last',
    ),
]
Symbolic = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(metavar="COLUMN", help="Numbers that are symbols: a feature for each; repeatable. Text always is."),
]
Drop = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(metavar="COLUMN", help="Leave a column out; repeatable."),
]
Sparse = Annotated[bool, typer.Option("--sparse", help="Store what is not 0 alone: for columns of many symbols.")]
X = Annotated[Optional[str], typer.Option("--x", help="Its features.", show_default="by name")]  # noqa: UP045
Y = Annotated[Optional[str], typer.Option("--y", help="Its labels.", show_default="by name")]  # noqa: UP045
XTest = Annotated[Optional[str], typer.Option("--x-test", help="Features for testing.", show_default=False)]  # noqa: UP045
YTest = Annotated[Optional[str], typer.Option("--y-test", help="Labels for testing.", show_default=False)]  # noqa: UP045


def run_import(work: Callable[[Report], Any]) -> None:
    """Write a data set on one rank, which shows how far it is, and then what the data set is."""

    def on_one_rank(ctx: ParallelContext) -> None:
        from hpc_sparse.models.dataset_description import describe_dataset
        from hpc_sparse.parallel.collectives import on_root

        def import_and_describe() -> dict[str, Any]:
            with progress_bar(is_shown=sys.stderr.isatty()) as report:
                info = work(report)
            return describe_dataset(info)

        description = on_root(ctx, import_and_describe)
        if ctx.is_root:
            show(description, as_json=False)

    guarded(on_one_rank)


@contextmanager
def progress_bar(*, is_shown: bool) -> Iterator[Report]:
    """A bar for each thing that is done, which goes away in the end."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not is_shown) as progress:

        def report(doing: str, done: int, total: int) -> None:
            if doing not in tasks:
                tasks[doing] = progress.add_task(doing)
            progress.update(tasks[doing], completed=done, total=total)

        yield report
