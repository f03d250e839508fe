"""The commands ``hpc-sparse info``, ``evaluate``, ``prune`` and ``upgrade``: files and the networks in them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer

from hpc_sparse.cli.display import print_text
from hpc_sparse.cli.guard import guarded
from hpc_sparse.cli.options import CheckpointFile, JsonFlag
from hpc_sparse.cli.results import show_from_root, show_result
from hpc_sparse.parallel.context import ParallelContext


def info(
    file: Annotated[Path, typer.Argument(help="A data set or a checkpoint.", show_default=False)],
    as_json: JsonFlag = False,
) -> None:
    """Contents of a data set or a checkpoint."""

    def find() -> dict[str, Any]:
        from hpc_sparse.models.inspection import describe_file

        return describe_file(file)

    show_from_root(find, as_json=as_json)


def evaluate(
    checkpoint: CheckpointFile,
    dataset: Annotated[Path, typer.Argument(help="The data set whose test part is used.", show_default=False)],
    as_json: JsonFlag = False,
) -> None:
    """Loss and accuracy of a checkpoint on the test part of a data set."""

    def find(ctx: ParallelContext) -> dict[str, Any]:
        from hpc_sparse.models.inspection import evaluate_checkpoint

        return evaluate_checkpoint(ctx, checkpoint, dataset)

    show_result(find, as_json=as_json)


def prune(
    checkpoint: CheckpointFile,
    percentile: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Remove neurons of each hidden layer, or blocks, up to this percentile of importance."),
    ] = None,
    target_connections: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Instead: connections to leave at most, by the least percentile."),
    ] = None,
    inputs: Annotated[float, typer.Option(help="The same percentile for the input neurons.")] = 0.0,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="The checkpoint to write.", show_default="<CHECKPOINT>-pruned.h5"),
    ] = None,
    data: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Data set for loss and accuracy (test part).", show_default=False),
    ] = None,
    curve: Annotated[bool, typer.Option("--curve", help="Show the accuracy at percentiles 0, 5, ..., 95.")] = False,
    importance: Annotated[
        Literal["incoming", "two_sided", "taylor"],
        typer.Option(help="Importance of a neuron: by weights into it, into and out of it, or by its effect (--data)."),
    ] = "incoming",
    fold_means: Annotated[
        bool, typer.Option("--fold-means", help="Add the mean of removed neurons to the biases above (--data).")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Remove the unimportant neurons of a trained network, or its weakest blocks where connections are in blocks.

    A checkpoint of the smaller network is written.
    """

    def find(ctx: ParallelContext) -> dict[str, Any]:
        from hpc_sparse.models.pruning import PruningRequest, prune_checkpoint

        request = PruningRequest(
            checkpoint, percentile, target_connections, inputs, output, data, curve, importance, fold_means
        )
        return prune_checkpoint(ctx, request)

    show_result(find, as_json=as_json)


def upgrade(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Data sets and checkpoints.")],
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="File to write, if there is one FILE.", show_default="in place of FILE"),
    ] = None,
) -> None:
    """Rewrite files of older format versions in the newest; each stays until its new version is verified."""
    if output is not None and len(files) > 1:
        raise typer.BadParameter(f"{len(files)} files: expected one", param_hint="'--output'")

    def work(ctx: ParallelContext) -> None:
        from hpc_sparse.parallel.collectives import on_root
        from hpc_sparse.storage.upgrade import upgrade_file

        for file in files:
            result = on_root(ctx, lambda file=file: upgrade_file(file, output))  # type: ignore[misc]
            if ctx.is_root:
                print_text(str(result))

    guarded(work)
