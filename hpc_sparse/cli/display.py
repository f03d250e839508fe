"""Printing what commands find out: as a table for people, or as JSON."""

from __future__ import annotations

import os
import sys
from typing import Any

from hpc_sparse.errors import printable

JOINED = ("class_names", "class_counts_train", "class_counts_test", "reduced_layers", "target_connections")
"""Lists that are shown on one line; others have a line per item."""


def show(values: dict[str, Any], *, as_json: bool) -> None:
    """Print names and values as a table or as JSON."""
    if as_json:
        from hpc_sparse.monitor.metrics import to_json

        print_text(to_json(values, indent=2))
    else:
        print_text("\n".join(table_lines(values)))


def print_text(text: str) -> None:
    """Print, unless nobody reads any more (``| head``), which is no failure."""
    try:
        print(printable(text), flush=True)
    except BrokenPipeError:
        # Python flushes once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def table_lines(values: dict[str, Any]) -> list[str]:
    """A line per value, or several under one name; a value that there is not is a dash."""
    width = max(len(name) for name in values)
    shown = []
    for name, value in values.items():
        for number, line in enumerate(_value_lines(name, value) or ["-"]):
            shown.append(f"{name.replace('_', ' ') if number == 0 else '':<{width}}  {line}")
    return shown


def _value_lines(name: str, value: Any) -> list[str]:
    if value is None or value == []:
        return []
    if name in JOINED:
        return [", ".join(str(item) for item in value)]
    if isinstance(value, list) and isinstance(value[0], dict):
        return [_layer_line(layer) for layer in value] if name == "layers" else column_lines(value)
    if isinstance(value, list):
        return [str(item) for item in value]
    if isinstance(value, dict):
        return [f"{key.replace('_', ' ')} {_number(item)}" for key, item in value.items()]
    return str(value).strip().splitlines()


def _number(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, str)):
        return str(value)
    return "-" if value is None else format(value, "g")


def column_lines(records: list[dict[str, Any]]) -> list[str]:
    """A line per record under a line of the names of their values, in columns; all have the same names."""
    rows = [[name.replace("_", " ") for name in records[0]]]
    rows += [[_cell(value) for value in record.values()] for record in records]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return "-".join(str(item) for item in value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _layer_line(layer: dict[str, Any]) -> str:
    size = f"{layer['n_in']:,} -> {layer['n_out']:,} {layer['activation']}"
    line = f"{size}, {layer['n_connections']:,} connections"
    for name, kind in layer.get("kinds_of_connections", {}).items():
        settings = "".join(f", {key} {value}" for key, value in layer["settings"][name].items())
        line += f" ({kind}{settings})"
    return line
