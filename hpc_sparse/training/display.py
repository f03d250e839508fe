"""The plain values that commands find out, as a table for people."""

from __future__ import annotations

from typing import Any

JOINED = ("class_names", "class_counts_train", "class_counts_test")
"""Lists that are shown on one line; others have a line per item."""


def table_lines(values: dict[str, Any]) -> list[str]:
    """A line per value, or several under one name; a value that there is not is a dash."""
    width = max(len(name) for name in values)
    shown = []
    for name, value in values.items():
        for number, line in enumerate(_value_lines(name, value) or ["-"]):
            shown.append(f"{name.replace('_', ' ') if number == 0 else '':<{width}}  {line}")
    return shown


def _value_lines(name: str, value: Any) -> list[str]:
    if value is None:
        return []
    if name == "layers":
        return [_layer_line(layer) for layer in value]
    if name in JOINED:
        return [", ".join(str(item) for item in value)]
    if isinstance(value, list):
        return [str(item) for item in value]
    if isinstance(value, dict):
        return [f"{key} {'-' if item is None else format(item, 'g')}" for key, item in value.items()]
    return str(value).strip().splitlines()


def _layer_line(layer: dict[str, Any]) -> str:
    size = f"{layer['n_in']:,} -> {layer['n_out']:,} {layer['activation']}"
    return f"{size}, {layer['n_connections']:,} connections"
