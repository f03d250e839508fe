"""Shared parts of the import commands: options, progress bar, execution on one rank."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hpc_sparse.cli.display import show
from hpc_sparse.cli.guard import guarded
from hpc_sparse.cli.option_groups import expand_groups
from hpc_sparse.parallel.context import ParallelContext

if TYPE_CHECKING:
    from hpc_sparse.importers.arrays.names import ArrayNames
    from hpc_sparse.importers.options import ImportOptions, Missing
    from hpc_sparse.importers.tables.columns import TableOptions

Report = Callable[[str, int, int], None]
Importer = Callable[..., Any]
"""The body of a command, which writes and returns the data set; it may ask for a ``report`` of how far it is."""

OutputFile = Annotated[Path, typer.Argument(help="The data set file to write (.h5).", show_default=False)]
Title = Annotated[str | None, typer.Option(help="Title of the data set.", show_default=False)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")]
OrderSeed = Annotated[int, typer.Option(min=0, help="Seed of the order in which the training samples are stored.")]
TimeSteps = Annotated[
    int, typer.Option(min=1, help="Steps of each sample, if it is a sequence: each has an equal part of the features.")
]
Padding = Annotated[int, typer.Option(min=0, max=1024, help="Rows and columns of zeros on each side of the images.")]
Log2 = Annotated[
    bool, typer.Option("--log2", help="Store log2(max(x, 1)) instead of x, as for microarray intensities.")
]
TfIdf = Annotated[
    bool,
    typer.Option("--tf-idf", help="Store tf-idf weights of sparse term counts, rows of equal length."),
]
TestFraction = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="Share of samples for testing, if the source has no test part.")
]
SplitSeed = Annotated[int, typer.Option("--seed", min=0, help="Seed of that split.")]
Stratify = Annotated[bool, typer.Option("--stratify/--no-stratify", help="Split each class in the same proportion.")]
TestFile = Annotated[
    Path | None,
    typer.Option("--test", help="A file of the same kind for testing, instead of a split.", show_default=False),
]
Label = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="The labels, by name or number (1 the first, -1 the last).",
        show_default='"label", "class", ..., or the last',
    ),
]
Symbolic = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN", help="Column of numbers that are categories; repeatable. Text always is."),
]
Drop = Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="Leave a column out; repeatable.")]
Sparse = Annotated[bool, typer.Option("--sparse", help="Store nonzeros alone: for columns of many categories.")]
MissingValues = Annotated[
    Literal["refuse", "mean", "flag"],
    typer.Option(help="Missing values: an error, the means of the training part, or these and features as flags."),
]
FilledAs = Annotated[
    Path | None,
    typer.Option(help="A data set whose means and flags are taken, for samples that come later.", show_default=False),
]
X = Annotated[str | None, typer.Option("--x", help="Features for training.", show_default="by name")]
Y = Annotated[str | None, typer.Option("--y", help="Labels for training.", show_default="by name")]
XTest = Annotated[str | None, typer.Option("--x-test", help="Features for testing.", show_default=False)]
YTest = Annotated[str | None, typer.Option("--y-test", help="Labels for testing.", show_default=False)]


@dataclass(frozen=True)
class Stored:
    """Options of a data set that is stored as its source divides it."""

    title: Title = None
    overwrite: Overwrite = False
    order_seed: OrderSeed = 0


@dataclass(frozen=True)
class Divided:
    """Options of a data set that is divided, prepared and stored."""

    test_fraction: TestFraction = 0.2
    seed: SplitSeed = 0
    stratify: Stratify = True
    log2: Log2 = False
    tf_idf: TfIdf = False
    time_steps: TimeSteps = 1
    title: Title = None
    overwrite: Overwrite = False
    order_seed: OrderSeed = 0

    def options(self, report: Report, missing: Missing = "refuse", filled_as: Path | None = None) -> ImportOptions:
        """The same, for the importers."""
        from hpc_sparse.importers.options import ImportOptions

        division, steps = (self.test_fraction, self.seed, self.stratify), (self.log2, self.tf_idf, self.time_steps)
        return ImportOptions(
            self.title, *division, self.order_seed, *steps, self.overwrite, report, missing=missing, filled_as=filled_as
        )


@dataclass(frozen=True)
class Columns:
    """The columns of a table."""

    label: Label = None
    symbolic: Symbolic = None
    drop: Drop = None
    sparse: Sparse = False

    def options(self) -> TableOptions:
        """The same, for the readers of tables."""
        from hpc_sparse.importers.tables.columns import TableOptions

        return TableOptions(self.label, tuple(self.symbolic or ()), tuple(self.drop or ()), self.sparse)


@dataclass(frozen=True)
class Names:
    """The names of a file's arrays."""

    x: X = None
    y: Y = None
    x_test: XTest = None
    y_test: YTest = None

    def of_arrays(self) -> ArrayNames:
        """The same, for the readers of arrays."""
        from hpc_sparse.importers.arrays.names import ArrayNames

        return ArrayNames(**vars(self))


def importer(app: typer.Typer, name: str, *, without: tuple[str, ...] = ()) -> Callable[[Importer], Importer]:
    """A decorator: the function becomes the command ``name``, which runs it on one rank and shows the data set.

    Options of groups that are named in ``without`` are left out and keep their defaults.
    """

    def register(function: Importer) -> Importer:
        parameters = inspect.signature(function).parameters
        reports = "report" in parameters

        @wraps(function)
        def command(**given: Any) -> None:
            _run_import(lambda report: function(**given, **({"report": report} if reports else {})))

        shown = [parameter for name, parameter in parameters.items() if name != "report"]
        command.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
        app.command(name)(expand_groups(command, without))
        return function

    return register


def _run_import(work: Callable[[Report], Any]) -> None:
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
