"""The command ``hpc-sparse data import graph``: by all ranks together."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import typer

from hpc_sparse.cli.data_import_options import OrderSeed, OutputFile, Overwrite, Title, progress_bar
from hpc_sparse.cli.display import show
from hpc_sparse.cli.guard import guarded
from hpc_sparse.cli.options import JsonFlag
from hpc_sparse.parallel.context import ParallelContext

if TYPE_CHECKING:
    from hpc_sparse.importers.graphs.options import GraphOptions
    from hpc_sparse.importers.graphs.plan import ImportPlan
    from hpc_sparse.importers.graphs.source import GraphSource

GIGABYTE = 10**9

Hops = Annotated[int, typer.Option(help="How far features go, at least 1.")]
Threshold = Annotated[float, typer.Option(help="Entries of the transition matrix at or below it go, below 1.")]
CutOption = Annotated[
    Literal["pre", "post", "each"],
    typer.Option(help="Cut entries before the first hop (pre), of each power (post), or after each hop (each)."),
]
UnitLength = Annotated[
    bool, typer.Option("--unit-length", help="Divide the features of each hop of a node by their Euclidean length.")
]
Directed = Annotated[bool, typer.Option("--directed", help="Each edge goes one way: its source gets from its target.")]
NoLoops = Annotated[bool, typer.Option("--no-loops", help="Leave out edges from a node to itself.")]
SplitOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        metavar="published|random|FILE",
        help="Division of the nodes; a FILE has a line per node: train, validation, test or nothing.",
        show_default="published if there is one, else random",
    ),
]
TestShare = Annotated[float, typer.Option("--test-fraction", help="Share of each class for testing, if random.")]
ValidationShare = Annotated[
    float, typer.Option("--validation-fraction", help="Share of each class for validation, if random.")
]
ForChoices = Annotated[
    bool, typer.Option("--test-on-validation", help="The validation nodes become the test part, as for choices.")
]
SplitSeed = Annotated[int, typer.Option("--seed", min=0, help="Seed of a random split.")]
Nodes = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        metavar="FILE",
        help="Nodes of a list of edges: id, features, label (.csv, .tsv, .parquet); of Matrix Market edges: the "
        "features (.mtx).",
        show_default=False,
    ),
]
Labels = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(metavar="FILE", help="Of Matrix Market edges: a text file, a label per node.", show_default=False),
]
IdColumn = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--id", metavar="COLUMN", help="The nodes' names in their table.", show_default="the first"),
]
SparseNodes = Annotated[bool, typer.Option("--sparse", help="Keep only features of a table that are not 0.")]
LabelColumn = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--label", metavar="COLUMN", help="Their labels.", show_default='"label", "class", ..., or the last'),
]


def import_graph_command(
    source: Annotated[
        Path,
        typer.Argument(help="The edges: .npz, .csv, .tsv, .parquet or .mtx; an .npz has all else.", show_default=False),
    ],
    output: OutputFile,
    hops: Hops = 2,
    threshold: Threshold = 0.0,
    cut: CutOption = "pre",
    unit_length: UnitLength = False,
    directed: Directed = False,
    no_loops: NoLoops = False,
    nodes: Nodes = None,
    labels: Labels = None,
    id_column: IdColumn = None,
    label_column: LabelColumn = None,
    sparse: SparseNodes = False,
    split: SplitOption = None,
    test_fraction: TestShare = 1 / 3,
    validation_fraction: ValidationShare = 1 / 3,
    test_on_validation: ForChoices = False,
    seed: SplitSeed = 0,
    order_seed: OrderSeed = 0,
    title: Title = None,
    overwrite: Overwrite = False,
    plan: Annotated[bool, typer.Option("--plan", help="Say what it needs, and leave.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """A graph: features of the nodes spread over its edges; each labelled node is a sample. Also under mpirun."""

    def make_options() -> GraphOptions:
        from hpc_sparse.importers.graphs.options import Diffusion, GraphOptions

        file = Path(split) if split not in (None, "published", "random") else None
        return GraphOptions(
            Diffusion(hops, threshold, cut, unit_length),
            is_directed=directed,
            keeps_loops=not no_loops,
            split="given" if file else split,  # type: ignore[arg-type]
            split_file=file,
            test_fraction=test_fraction,
            validation_fraction=validation_fraction,
            tests_on_validation=test_on_validation,
            split_seed=seed,
            order_seed=order_seed,
            title=title,
            overwrite=overwrite,
        )

    def open_source() -> GraphSource:
        from hpc_sparse.importers.graphs.opening import open_graph

        return open_graph(
            source, nodes=nodes, labels=labels, id_column=id_column, label_column=label_column, is_sparse=sparse
        )

    _run(open_source, make_options, source, output, only_plan=plan, as_json=as_json)


def _run(
    open_source: Callable[[], GraphSource],
    make_options: Callable[[], GraphOptions],
    source: Path,
    output: Path,
    *,
    only_plan: bool,
    as_json: bool,
) -> None:
    """Open, plan, and import unless the plan is all that is wanted."""

    def work(ctx: ParallelContext) -> None:
        from hpc_sparse.importers.graphs.plan import plan_import
        from hpc_sparse.parallel.collectives import collective_errors

        with collective_errors(ctx, f"opening {source}"):
            options, graph = make_options(), open_source()
        plan = plan_import(graph.size, options, ctx.size)
        if only_plan:
            if ctx.is_root:
                show(_described(plan, graph, ctx), as_json=as_json)
            return
        _refuse_what_cannot_fit(ctx, plan)
        if ctx.is_root and sys.stderr.isatty():
            print(f"needs at most {plan.peak / GIGABYTE:.3g} GB of memory per rank", file=sys.stderr)
        _import(ctx, graph, output, source.name.partition(".")[0], options, as_json=as_json)

    guarded(work)


def _import(
    ctx: ParallelContext, graph: GraphSource, output: Path, title: str, options: GraphOptions, *, as_json: bool
) -> None:
    from hpc_sparse.importers.graphs.importing import import_graph
    from hpc_sparse.models.dataset_description import describe_dataset

    with progress_bar(is_shown=ctx.is_root and sys.stderr.isatty()) as report:
        info = import_graph(ctx, graph, output, title, replace(options, report=report))
    if ctx.is_root:
        show(describe_dataset(info), as_json=as_json)


def _refuse_what_cannot_fit(ctx: ParallelContext, plan: ImportPlan) -> None:
    """Refuse (MachineError) a graph for whose smallest needs the node has no room."""
    from hpc_sparse.errors import MachineError
    from hpc_sparse.parallel.collectives import on_root
    from hpc_sparse.planning.machine import available_memory

    def check() -> None:
        available, needed = available_memory(), plan.least * ctx.node_size
        if available is not None and needed > available.n_bytes:
            raise MachineError(
                f"not enough memory: the import needs at least {needed / GIGABYTE:.3g} GB on this node, "
                f"{available.n_bytes / GIGABYTE:.3g} GB are left ({available.source}); use more nodes, or fewer hops"
            )

    on_root(ctx, check)


def _described(plan: ImportPlan, graph: GraphSource, ctx: ParallelContext) -> dict[str, Any]:
    size = graph.size
    return {
        "nodes": size.n_nodes,
        "edges_listed": size.n_edges,
        "features": size.n_features,
        "ranks": ctx.size,
        "gigabytes_per_rank_at_most": {name: round(n / GIGABYTE, 4) for name, n in plan.items.items()},
        "peak_gigabytes_per_rank_at_most": round(plan.peak / GIGABYTE, 4),
        "multiplications_at_most": plan.multiplications,
    }
