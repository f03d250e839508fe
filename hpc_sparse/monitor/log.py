"""Log messages that say which rank speaks."""

from __future__ import annotations

import logging
import sys

from hpc_sparse.parallel.context import ParallelContext


def start_logging(ctx: ParallelContext, level: str, *, shows_all_ranks: bool) -> None:
    """Send the package's messages to standard error: root's from ``level`` on, or all messages of every rank."""
    logger = logging.getLogger("hpc_sparse")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"[rank {ctx.rank}] %(message)s" if ctx.size > 1 else "%(message)s"))
    logger.handlers = [handler] if ctx.is_root or shows_all_ranks else [logging.NullHandler()]
    logger.setLevel(logging.DEBUG if shows_all_ranks else level.upper())
    logger.propagate = False
