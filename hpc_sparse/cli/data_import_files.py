"""The commands ``hpc-sparse data import`` for tables, text, and the arrays of other programs; read piece by piece."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from hpc_sparse.cli.data_import_options import (
    Columns,
    Divided,
    FilledAs,
    MissingValues,
    Names,
    OutputFile,
    Report,
    Stored,
    TestFile,
    importer,
)

files_app = typer.Typer()


@importer(files_app, "csv")
def import_csv(
    report: Report,
    source: Annotated[Path, typer.Argument(help="A .csv or .tsv file, plain, .gz, .bz2 or .xz.", show_default=False)],
    output: OutputFile,
    *,
    columns: Columns,
    header: Annotated[
        bool | None,
        typer.Option(
            "--header/--no-header", help="Whether the first line has names.", show_default="if it has no numbers"
        ),
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option(help="Separator of cells.", show_default="comma, tab, semicolon or bar"),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(help="What the text is written in, such as cp1252.", show_default="by its first bytes, or utf-8"),
    ] = None,
    decimal: Annotated[str, typer.Option(help="Mark before the fraction of a number: a point or a comma.")] = ".",
    missing: MissingValues = "refuse",
    filled_as: FilledAs = None,
    test: TestFile = None,
    divided: Divided,
) -> Any:
    """Comma- or tab-separated text; each distinct text of a column becomes a feature. Needs PyArrow."""
    from hpc_sparse.importers.tables import delimited

    return delimited.import_delimited(
        source,
        output,
        test=test,
        delimiter=delimiter,
        has_header=header,
        encoding=encoding,
        decimal=decimal,
        table=columns.options(),
        options=divided.options(report, missing, filled_as),
    )


@importer(files_app, "parquet")
def import_parquet(
    report: Report,
    source: Annotated[Path, typer.Argument(help="A Parquet file.", show_default=False)],
    output: OutputFile,
    *,
    columns: Columns,
    missing: MissingValues = "refuse",
    filled_as: FilledAs = None,
    test: TestFile = None,
    divided: Divided,
) -> Any:
    """A Parquet table; each distinct text of a column becomes a feature. Needs PyArrow."""
    from hpc_sparse.importers.tables import parquet

    options = divided.options(report, missing, filled_as)
    return parquet.import_parquet(source, output, test=test, table=columns.options(), options=options)


@importer(files_app, "svmlight", without=("log2",))
def import_svmlight(
    report: Report,
    source: Annotated[Path, typer.Argument(help="The file, plain, .gz, .bz2 or .xz.", show_default=False)],
    output: OutputFile,
    *,
    features: Annotated[
        int | None,
        typer.Option(min=1, help="Number of features.", show_default="the highest number"),
    ] = None,
    zero_based: Annotated[
        bool | None,
        typer.Option("--zero-based/--one-based", help="Number of the first feature.", show_default="1 if none is 0"),
    ] = None,
    test: TestFile = None,
    divided: Divided,
) -> Any:
    """Text of svmlight and libsvm, "label number:value ..."; stays sparse. Needs scikit-learn."""
    from hpc_sparse.importers.text import svmlight

    return svmlight.import_svmlight(
        source, output, test=test, zero_based=zero_based, n_features=features, options=divided.options(report)
    )


@importer(files_app, "text", without=("order_seed",))
def import_text(
    source: Annotated[Path, typer.Argument(help="The text, in UTF-8; plain, .gz, .bz2 or .xz.", show_default=False)],
    output: OutputFile,
    *,
    words: Annotated[
        bool, typer.Option("--words", help="Words, signs and ends of lines instead of characters.")
    ] = False,
    time_steps: Annotated[int, typer.Option(min=2, help="Tokens of a sequence.")] = 50,
    vocabulary: Annotated[
        int | None,
        typer.Option(min=2, help="Most frequent tokens that are kept, the unknown one included.", show_default="all"),
    ] = None,
    test: TestFile = None,
    test_fraction: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of the text for testing, at its end.")
    ] = 0.1,
    stored: Stored,
) -> Any:
    """A text as characters or words, for the prediction of the next one."""
    from hpc_sparse.importers.text import tokens

    options = tokens.TextOptions("word" if words else "character", time_steps, vocabulary, test_fraction)
    return tokens.import_text(
        source, output, options=options, test=test, title=stored.title, overwrite=stored.overwrite
    )


@importer(files_app, "npy", without=("tf_idf",))
def import_npy(
    report: Report,
    x: Annotated[Path, typer.Argument(help="Samples x features (.npy).", show_default=False)],
    y: Annotated[Path, typer.Argument(help="Labels (.npy).", show_default=False)],
    output: OutputFile,
    *,
    test: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--test", metavar="X Y", help="The same for testing, instead of a split.", show_default=False),
    ] = None,
    divided: Divided,
) -> Any:
    """A pair of NumPy arrays."""
    from hpc_sparse.importers.arrays import npy

    return npy.import_npy((x, y), output, test=test, options=divided.options(report))


@importer(files_app, "mat")
def import_mat(
    report: Report,
    source: Annotated[Path, typer.Argument(help="A MATLAB file, up to version 7.2.", show_default=False)],
    output: OutputFile,
    *,
    names: Names,
    divided: Divided,
) -> Any:
    """Variables of a MATLAB file."""
    from hpc_sparse.importers.arrays import mat

    return mat.import_mat(source, output, names=names.of_arrays(), options=divided.options(report))


@importer(files_app, "hdf5")
def import_hdf5(
    report: Report,
    source: Annotated[Path, typer.Argument(help="An HDF5 file of another program.", show_default=False)],
    output: OutputFile,
    *,
    names: Names,
    transposed: Annotated[
        bool, typer.Option("--transposed", help="Features x samples, as MATLAB 7.3 stores them.")
    ] = False,
    drop_missing: Annotated[
        bool, typer.Option("--drop-missing", help="Leave samples without a category out (code -1).")
    ] = False,
    target_sum: Annotated[
        float | None,
        typer.Option(help="Store log(1 + x) of counts scaled to this sum per sample.", show_default=False),
    ] = None,
    divided: Divided,
) -> Any:
    """Arrays of an HDF5 file (also .h5ad), by their paths in it; sparse ones stay sparse."""
    from hpc_sparse.importers.arrays import hdf5

    return hdf5.import_hdf5(
        source,
        output,
        names=names.of_arrays(),
        transposed=transposed,
        drop_missing=drop_missing,
        options=replace(divided.options(report), target_sum=target_sum),
    )
