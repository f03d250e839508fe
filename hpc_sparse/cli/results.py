"""Commands whose result root shows: names and values, as a table or as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hpc_sparse.cli.display import show
from hpc_sparse.cli.guard import guarded
from hpc_sparse.parallel.context import ParallelContext


def show_result(find: Callable[[ParallelContext], dict[str, Any]], *, as_json: bool) -> None:
    """Run ``find`` on all ranks and show what it returns on root."""

    def work(ctx: ParallelContext) -> None:
        found = find(ctx)
        if ctx.is_root:
            show(found, as_json=as_json)

    guarded(work)


def show_from_root(find: Callable[[], dict[str, Any]], *, as_json: bool) -> None:
    """Run ``find`` on root alone and show what it returns; its errors are raised on all ranks."""

    def on_one_rank(ctx: ParallelContext) -> dict[str, Any]:
        from hpc_sparse.parallel.collectives import on_root

        return on_root(ctx, find)

    show_result(on_one_rank, as_json=as_json)
