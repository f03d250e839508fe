"""TOML text from anywhere: parsed, or refused within a moment."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

MOST_BYTES = 1024 * 1024
"""Largest configuration that is parsed; real ones have a few thousand bytes."""

TOO_LARGE = f"more than {MOST_BYTES} bytes: expected a configuration"

MOST_DOTS = 100
"""In a line that is not a comment: the time that the parser takes grows with the square of a key's parts."""


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of TOML text.

    Raises
    ------
    ValueError
        The text is not TOML, or too large, too deeply nested or has too large a number to be a configuration.
    """
    if len(text.encode()) > MOST_BYTES:
        raise ValueError(TOO_LARGE)
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > MOST_DOTS and not line.lstrip().startswith("#"):
            raise ValueError(f"{line.count('.')} dots: expected at most {MOST_DOTS} (at line {number})")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("lists in lists without end: expected a configuration") from None


def read_text(path: Path) -> str:
    """The text of a file, of which no more is read than a configuration can have.

    Raises
    ------
    OSError
        It cannot be read.
    ValueError
        It is not text in UTF-8 (UnicodeDecodeError), or too large.
    """
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(TOO_LARGE)
    return content.decode("utf-8")
