"""Keys of a configuration before it is checked: tables in tables, reached by a path (``evolution.gse.scope``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Tree = dict[str, Any]


def has(tree: Mapping[str, Any], path: str) -> bool:
    """Whether the key is there."""
    table, name = _place(tree, path)
    return table is not None and name in table


def get(tree: Mapping[str, Any], path: str, default: Any) -> Any:
    """The value of the key, or ``default``."""
    table, name = _place(tree, path)
    return default if table is None else table.get(name, default)


def take(tree: Mapping[str, Any], path: str) -> Any:
    """The value of a key that is there, and is not any more."""
    table, name = _place(tree, path)
    assert table is not None, path
    return table.pop(name)


def put(tree: Tree, path: str, value: Any) -> None:
    """Set the key, making the tables on the way.

    Raises
    ------
    ValueError
        There is something else than a table on the way; the message says where.
    """
    *tables, name = path.split(".")
    table = tree
    for number, step in enumerate(tables, 1):
        table = table.setdefault(step, {})
        if not isinstance(table, dict):
            raise ValueError(f"{'.'.join(tables[:number])} is not a section")
    table[name] = value


def _place(tree: Mapping[str, Any], path: str) -> tuple[Tree | None, str]:
    """The table that a key is in, if there is one, and the key's own name."""
    *tables, name = path.split(".")
    table: Any = tree
    for step in tables:
        table = table.get(step) if isinstance(table, Mapping) else None
    return (table if isinstance(table, dict) else None), name
