"""The commands ``hpc-sparse data import``: other formats become data set files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hpc_sparse.cli.data_import_files import files_app
from hpc_sparse.cli.data_import_graph import import_graph_command
from hpc_sparse.cli.data_import_options import Divided, OutputFile, Padding, Stored, TimeSteps, importer

data = typer.Typer(help="Data sets.", no_args_is_help=True)
import_app = typer.Typer(help="Turn data of other formats into a data set file.", no_args_is_help=True)
import_app.add_typer(files_app)
import_app.command("graph")(import_graph_command)
data.add_typer(import_app, name="import")


@importer(import_app, "fashion-mnist", without=("title",))
def import_fashion_mnist(
    output: OutputFile,
    *,
    source: Annotated[
        Path | None,
        typer.Option(help="Folder of the four files.", show_default="where Debian's dataset-fashion-mnist puts them"),
    ] = None,
    time_steps: TimeSteps = 1,
    padding: Padding = 0,
    stored: Stored,
) -> Any:
    """Fashion-MNIST, from the four idx files; with 28 time steps by rows."""
    from hpc_sparse.importers.images import idx

    return idx.import_fashion_mnist(
        source,
        output,
        order_seed=stored.order_seed,
        overwrite=stored.overwrite,
        time_steps=time_steps,
        padding=padding,
    )


@importer(import_app, "idx")
def import_idx(
    source: Annotated[Path, typer.Argument(help="Folder of the four *-ubyte or *-ubyte.gz files.", show_default=False)],
    output: OutputFile,
    *,
    time_steps: TimeSteps = 1,
    padding: Padding = 0,
    stored: Stored,
) -> Any:
    """MNIST-like data in idx files."""
    from hpc_sparse.importers.images import idx

    return idx.import_idx(
        source,
        output,
        title=stored.title or source.resolve().name,
        order_seed=stored.order_seed,
        overwrite=stored.overwrite,
        time_steps=time_steps,
        padding=padding,
    )


@importer(import_app, "npz", without=("stratify", "time_steps"))
def import_npz(
    source: Annotated[Path, typer.Argument(help="A NumPy archive (.npz).", show_default=False)],
    output: OutputFile,
    *,
    time_steps: Annotated[
        int | None,
        typer.Option(
            min=1, help="Steps of each sample, if it is a sequence.", show_default="the second of three dimensions"
        ),
    ] = None,
    divided: Divided,
) -> Any:
    """A NumPy archive: x_train, y_train, x_test, y_test; or x, y; or CSR arrays."""
    from hpc_sparse.importers.arrays import npz

    return npz.import_npz(
        source,
        output,
        title=divided.title,
        log2=divided.log2,
        tf_idf=divided.tf_idf,
        test_fraction=divided.test_fraction,
        split_seed=divided.seed,
        time_steps=time_steps,
        overwrite=divided.overwrite,
        order_seed=divided.order_seed,
    )


@importer(import_app, "cifar10")
def import_cifar10(
    source: Annotated[Path, typer.Argument(help="An archive of JPEG images with one header.", show_default=False)],
    output: OutputFile,
    *,
    stored: Stored,
) -> Any:
    """CIFAR-10, from JPEG images: not exactly the original. Needs Pillow."""
    from hpc_sparse.importers.images import cifar10

    return cifar10.import_cifar10(source, output, **vars(stored))


@importer(import_app, "make-classification")
def import_classification(
    output: OutputFile,
    *,
    samples: Annotated[int, typer.Option(help="Samples, for training and testing.")] = 2000,
    features: Annotated[
        int, typer.Option(help="Features; 4 bytes of disk each, 16 of memory while it is made.")
    ] = 54_675,
    informative: Annotated[int, typer.Option(help="Informative features.")] = 100,
    redundant: Annotated[int, typer.Option(help="Mixtures of informative features; all others are noise.")] = 10_000,
    classes: Annotated[int, typer.Option(help="Classes.")] = 18,
    separation: Annotated[float, typer.Option(help="Half the distance between class centres.")] = 3.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the problem and of its division.")] = 0,
    test_fraction: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of the samples for testing.")] = 0.25,
    stored: Stored,
) -> Any:
    """A synthetic problem, by default of the size of leukemia microarrays. Needs scikit-learn."""
    from hpc_sparse.importers import synthetic

    return synthetic.import_classification(
        output,
        n_samples=samples,
        n_features=features,
        n_informative=informative,
        n_redundant=redundant,
        n_classes=classes,
        separation=separation,
        seed=seed,
        test_fraction=test_fraction,
        **vars(stored),
    )
