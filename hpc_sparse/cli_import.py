"""The commands ``hpc-sparse data import``: other formats become data set files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from hpc_sparse.parallel.context import ParallelContext

import_app = typer.Typer(help="Turn data of other formats into a data set file.", no_args_is_help=True)

OutputFile = Annotated[Path, typer.Argument(help="The data set file to write (.h5).", show_default=False)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")]
Title = Annotated[Optional[str], typer.Option(help="What the data are, for people.", show_default=False)]  # noqa: UP045
OrderSeed = Annotated[int, typer.Option(min=0, help="Seed of the order in which the training samples are stored.")]


@import_app.command("fashion-mnist")
def import_fashion_mnist(
    output: OutputFile,
    source: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder of the four files.  [default: where Debian's dataset-fashion-mnist puts them]"),
    ] = None,
    overwrite: Overwrite = False,
    order_seed: OrderSeed = 0,
) -> None:
    """Fashion-MNIST, from the four idx files."""

    def work() -> Any:
        from hpc_sparse.storage.importers import idx

        return idx.import_fashion_mnist(source, output, overwrite=overwrite, order_seed=order_seed)

    _import(work)


@import_app.command("idx")
def import_idx(
    source: Annotated[Path, typer.Argument(help="Folder of the four *-ubyte or *-ubyte.gz files.", show_default=False)],
    output: OutputFile,
    title: Title = None,
    overwrite: Overwrite = False,
    order_seed: OrderSeed = 0,
) -> None:
    """MNIST-like data in idx files."""

    def work() -> Any:
        from hpc_sparse.storage.importers import idx

        return idx.import_idx(
            source, output, title=title or source.resolve().name, overwrite=overwrite, order_seed=order_seed
        )

    _import(work)


@import_app.command("npz")
def import_npz(
    source: Annotated[Path, typer.Argument(help="A NumPy archive (.npz).", show_default=False)],
    output: OutputFile,
    title: Title = None,
    log2: Annotated[
        bool, typer.Option("--log2", help="Store log2(max(x, 1)) of each value x: for intensities of microarrays.")
    ] = False,
    test_fraction: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the samples for testing, where the file has no split.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(min=0, help="Seed of that split.")] = 0,
    overwrite: Overwrite = False,
    order_seed: OrderSeed = 0,
) -> None:
    """A NumPy archive: x_train, y_train, x_test, y_test; or x, y; or CSR arrays."""

    def work() -> Any:
        from hpc_sparse.storage.importers import npz

        return npz.import_npz(
            source,
            output,
            title=title,
            log2=log2,
            test_fraction=test_fraction,
            split_seed=seed,
            overwrite=overwrite,
            order_seed=order_seed,
        )

    _import(work)


@import_app.command("cifar10")
def import_cifar10(
    source: Annotated[Path, typer.Argument(help="An archive of JPEG images with one header.", show_default=False)],
    output: OutputFile,
    title: Title = None,
    overwrite: Overwrite = False,
    order_seed: OrderSeed = 0,
) -> None:
    """CIFAR-10, from JPEG images: not exactly the original. Needs Pillow."""

    def work() -> Any:
        from hpc_sparse.storage.importers import cifar10

        return cifar10.import_cifar10(source, output, title=title, overwrite=overwrite, order_seed=order_seed)

    _import(work)


@import_app.command("make-classification")
def import_classification(
    output: OutputFile,
    samples: Annotated[int, typer.Option(help="Samples, for training and testing.")] = 2000,
    features: Annotated[
        int, typer.Option(help="Features; 4 bytes of disk each, 16 of memory while it is made.")
    ] = 54_675,
    informative: Annotated[int, typer.Option(help="Those that carry signal.")] = 100,
    redundant: Annotated[int, typer.Option(help="Those that mix the informative ones; the rest is noise.")] = 10_000,
    classes: Annotated[int, typer.Option(help="Classes.")] = 18,
    separation: Annotated[float, typer.Option(help="Half the distance of the classes' centres.")] = 3.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the problem and of its division.")] = 0,
    test_fraction: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of the samples for testing.")] = 0.25,
    title: Title = None,
    overwrite: Overwrite = False,
    order_seed: OrderSeed = 0,
) -> None:
    """A synthetic problem, by default of the size of leukemia microarrays. Needs scikit-learn."""

    def work() -> Any:
        from hpc_sparse.storage.importers import classification

        return classification.import_classification(
            output,
            n_samples=samples,
            n_features=features,
            n_informative=informative,
            n_redundant=redundant,
            n_classes=classes,
            separation=separation,
            seed=seed,
            test_fraction=test_fraction,
            title=title,
            order_seed=order_seed,
            overwrite=overwrite,
        )

    _import(work)


def _import(work: Callable[[], Any]) -> None:
    """Write a data set on one rank and show what it is."""
    from hpc_sparse.cli import guarded, show  # which imports this module

    def on_one_rank(ctx: ParallelContext) -> None:
        from hpc_sparse.parallel.collectives import on_root
        from hpc_sparse.training.inspection import describe_dataset

        info = on_root(ctx, work)
        if ctx.is_root:
            show(describe_dataset(info), as_json=False)

    guarded(on_one_rank)
