"""The commands ``hpc-sparse model``: networks to and from other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer

from hpc_sparse.cli.display import print_text
from hpc_sparse.cli.guard import guarded
from hpc_sparse.cli.options import CheckpointFile, JsonFlag
from hpc_sparse.cli.results import show_from_root, show_result
from hpc_sparse.parallel.context import ParallelContext

model = typer.Typer(help="Networks to and from other programs.", no_args_is_help=True)


@model.command("export")
def export_command(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint of a run.", show_default=False)],
    output: Annotated[Path, typer.Argument(metavar="OUT.npz", help="The archive to write.", show_default=False)],
    as_json: JsonFlag = False,
) -> None:
    """Write a trained network as a NumPy archive: the weights of each layer as SciPy's CSR."""

    def find() -> dict[str, Any]:
        from hpc_sparse.interop.exchange import export_model

        return export_model(checkpoint, output)

    show_from_root(find, as_json=as_json)


@model.command("import")
def import_command(
    source: Annotated[
        Path, typer.Argument(help="An exported archive, or dense weights: .npz, .safetensors.", show_default=False)
    ],
    output: Annotated[Path, typer.Argument(help="The checkpoint to write (.h5).", show_default=False)],
    config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            metavar="CONFIG.toml",
            help="For dense weights: widths, activation, data set, and the density to keep.",
            show_default=False,
        ),
    ] = None,
    layout: Annotated[
        Literal["auto", "torch", "keras"],
        typer.Option(help="Rows of dense matrices are outputs (torch) or inputs (keras); auto: by the widths."),
    ] = "auto",
    as_json: JsonFlag = False,
) -> None:
    """Write a checkpoint of an exported network, or of a dense one that is pruned by magnitude."""

    def find() -> dict[str, Any]:
        from hpc_sparse.interop.exchange import import_model

        return import_model(source, output, config, layout)

    show_from_root(find, as_json=as_json)


@model.command("prune-pattern")
def prune_pattern_command(
    checkpoint: CheckpointFile,
    pattern: Annotated[str, typer.Argument(metavar="N:M", help="Such as 2:4.", show_default=False)],
    output: Annotated[Path, typer.Option(help="The checkpoint to write (.h5).", show_default=False)],
    permute: Annotated[
        Optional[Literal["channel_swap", "stripes"]],  # noqa: UP045
        typer.Option(help="Look for an order of the hidden neurons that keeps more: swap inputs, or share them out."),
    ] = None,
    transposable: Annotated[
        bool, typer.Option("--transposable", help="At most N of each M neurons keep an input, too.")
    ] = False,
    data: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Data set for loss and accuracy (test part).", show_default=False),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Keep the N largest of each M inputs of every hidden neuron; write a checkpoint to train again from."""

    def find(ctx: ParallelContext) -> dict[str, Any]:
        from hpc_sparse.models.pattern_pruning import PatternRequest, prune_to_pattern

        return prune_to_pattern(ctx, PatternRequest(checkpoint, pattern, output, data, permute, transposable))

    show_result(find, as_json=as_json)


@model.command("generate")
def generate_command(
    checkpoint: CheckpointFile,
    text: Annotated[str, typer.Argument(help="What the text begins with.", show_default=False)],
    length: Annotated[int, typer.Option(min=0, help="Characters or words to add.")] = 200,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="Lower ones give likelier characters or words, 0 always the likeliest.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
) -> None:
    """Go on with a text, by a network that was trained on one."""

    def work(ctx: ParallelContext) -> None:
        from hpc_sparse.inference.model import load_model
        from hpc_sparse.parallel.collectives import on_root

        def generate() -> str:
            return load_model(checkpoint).generate(text, length=length, temperature=temperature, seed=seed)

        written = on_root(ctx, generate)
        if ctx.is_root:
            print_text(written)

    guarded(work)
