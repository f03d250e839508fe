"""The commands ``hpc-sparse data import`` for tables, text, and the arrays of other programs; read piece by piece."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from hpc_sparse.cli.data_import_options import (
    Drop,
    Label,
    Log2,
    OrderSeed,
    OutputFile,
    Overwrite,
    Report,
    Sparse,
    SplitSeed,
    Stratify,
    Symbolic,
    TestFile,
    TestFraction,
    TfIdf,
    Title,
    X,
    XTest,
    Y,
    YTest,
    run_import,
)

files_app = typer.Typer()


@files_app.command("csv")
def import_csv(
    source: Annotated[Path, typer.Argument(help="A .csv or .tsv file, plain, .gz, .bz2 or .xz.", show_default=False)],
    output: OutputFile,
    label: Label = None,
    symbolic: Symbolic = None,
    drop: Drop = None,
    sparse: Sparse = False,
    header: Annotated[
        Optional[bool],  # noqa: UP045
        typer.Option(
            "--header/--no-header", help="Whether the first line has names.", show_default="if it has no numbers"
        ),
    ] = None,
    delimiter: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Between cells.", show_default="comma, tab, semicolon or bar"),
    ] = None,
    test: TestFile = None,
    test_fraction: TestFraction = 0.2,
    seed: SplitSeed = 0,
    stratify: Stratify = True,
    log2: Log2 = False,
    tf_idf: TfIdf = False,
    title: Title = None,
    overwrite: Overwrite = False,
    order_seed: OrderSeed = 0,
) -> None:
    """Comma- or tab-separated text; columns of text become one feature per symbol. Needs PyArrow."""

    def work(report: Report) -> Any:
        from hpc_sparse.importers import options
        from hpc_sparse.importers.tables import columns, delimited

        return delimited.import_delimited(
            source,
            output,
            test=test,
            delimiter=delimiter,
            has_header=header,
            table=columns.TableOptions(label, tuple(symbolic or ()), tuple(drop or ()), sparse),
            options=options.ImportOptions(
                title, test_fraction, seed, stratify, order_seed, log2, tf_idf, overwrite, report
            ),
        )

    run_import(work)


@files_app.command("parquet")
def import_parquet(
    source: Annotated[Path, typer.Argument(help="A Parquet file.", show_default=False)],
    output: OutputFile,
    label: Label = None,
    symbolic: Symbolic = None,
    drop: Drop = None,
    sparse: Sparse = False,
    test: TestFile = None,
    test_fraction: TestFraction = 0.2,
    seed: SplitSeed = 0,
    stratify: Stratify = True,
    log2: Log2 = False,
    tf_idf: TfIdf = False,
    title: Title = None,
    overwrite: Overwrite = False,
    order_seed: OrderSeed = 0,
) -> None:
    """A Parquet table; columns of text become one feature per symbol. Needs PyArrow."""

    def work(report: Report) -> Any:
        from hpc_sparse.importers import options
        from hpc_sparse.importers.tables import columns, parquet

        return parquet.import_parquet(
            source,
            output,
            test=test,
            table=columns.TableOptions(label, tuple(symbolic or ()), tuple(drop or ()), sparse),
            options=options.ImportOptions(
                title, test_fraction, seed, stratify, order_seed, log2, tf_idf, overwrite, report
            ),
        )

    run_import(work)


@files_app.command("svmlight")
def import_svmlight(
    source: Annotated[Path, typer.Argument(help="The file, plain, .gz, .bz2 or .xz.", show_default=False)],
    output: OutputFile,
    features: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="How many there are.", show_default="by the highest number"),
    ] = None,
    zero_based: Annotated[
        Optional[bool],  # noqa: UP045
        typer.Option("--zero-based/--one-based", help="Number of the first feature.", show_default="1 if none is 0"),
    ] = None,
    test: TestFile = None,
    test_fraction: TestFraction = 0.2,
    seed: SplitSeed = 0,
    stratify: Stratify = True,
    tf_idf: TfIdf = False,
    title: Title = None,
    overwrite: Overwrite = False,
    order_seed: OrderSeed = 0,
) -> None:
    """Text of svmlight and libsvm, "label number:value ..."; stays sparse. Needs scikit-learn."""

    def work(report: Report) -> Any:
        from hpc_sparse.importers import options
        from hpc_sparse.importers.text import svmlight

        return svmlight.import_svmlight(
            source,
            output,
            test=test,
            zero_based=zero_based,
            n_features=features,
            options=options.ImportOptions(
                title, test_fraction, seed, stratify, order_seed, False, tf_idf, overwrite, report
            ),
        )

    run_import(work)


@files_app.command("npy")
def import_npy(
    x: Annotated[Path, typer.Argument(help="Samples x features (.npy).", show_default=False)],
    y: Annotated[Path, typer.Argument(help="Labels (.npy).", show_default=False)],
    output: OutputFile,
    test: Annotated[
        Optional[tuple[Path, Path]],  # noqa: UP045
        typer.Option("--test", metavar="X Y", help="The same for testing, instead of a split.", show_default=False),
    ] = None,
    test_fraction: TestFraction = 0.2,
    seed: SplitSeed = 0,
    stratify: Stratify = True,
    log2: Log2 = False,
    title: Title = None,
    overwrite: Overwrite = False,
    order_seed: OrderSeed = 0,
) -> None:
    """A pair of NumPy arrays."""

    def work(report: Report) -> Any:
        from hpc_sparse.importers import options
        from hpc_sparse.importers.arrays import npy

        return npy.import_npy(
            (x, y),
            output,
            test=test,
            options=options.ImportOptions(
                title, test_fraction, seed, stratify, order_seed, log2, False, overwrite, report
            ),
        )

    run_import(work)


@files_app.command("mat")
def import_mat(
    source: Annotated[Path, typer.Argument(help="A MATLAB file, up to version 7.2.", show_default=False)],
    output: OutputFile,
    x: X = None,
    y: Y = None,
    x_test: XTest = None,
    y_test: YTest = None,
    test_fraction: TestFraction = 0.2,
    seed: SplitSeed = 0,
    stratify: Stratify = True,
    log2: Log2 = False,
    tf_idf: TfIdf = False,
    title: Title = None,
    overwrite: Overwrite = False,
    order_seed: OrderSeed = 0,
) -> None:
    """Variables of a MATLAB file."""

    def work(report: Report) -> Any:
        from hpc_sparse.importers import options
        from hpc_sparse.importers.arrays import mat
        from hpc_sparse.importers.arrays import names as array_names

        return mat.import_mat(
            source,
            output,
            names=array_names.ArrayNames(x, y, x_test, y_test),
            options=options.ImportOptions(
                title, test_fraction, seed, stratify, order_seed, log2, tf_idf, overwrite, report
            ),
        )

    run_import(work)


@files_app.command("hdf5")
def import_hdf5(
    source: Annotated[Path, typer.Argument(help="An HDF5 file of another program.", show_default=False)],
    output: OutputFile,
    x: X = None,
    y: Y = None,
    x_test: XTest = None,
    y_test: YTest = None,
    transposed: Annotated[
        bool, typer.Option("--transposed", help="Features x samples, as MATLAB 7.3 stores them.")
    ] = False,
    test_fraction: TestFraction = 0.2,
    seed: SplitSeed = 0,
    stratify: Stratify = True,
    log2: Log2 = False,
    tf_idf: TfIdf = False,
    title: Title = None,
    overwrite: Overwrite = False,
    order_seed: OrderSeed = 0,
) -> None:
    """Arrays of an HDF5 file, by their paths in it; groups of sparse rows stay sparse."""

    def work(report: Report) -> Any:
        from hpc_sparse.importers import options
        from hpc_sparse.importers.arrays import hdf5 as hdf5_arrays
        from hpc_sparse.importers.arrays import names as array_names

        return hdf5_arrays.import_hdf5(
            source,
            output,
            names=array_names.ArrayNames(x, y, x_test, y_test),
            transposed=transposed,
            options=options.ImportOptions(
                title, test_fraction, seed, stratify, order_seed, log2, tf_idf, overwrite, report
            ),
        )

    run_import(work)
