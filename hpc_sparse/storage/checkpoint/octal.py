"""Names of numbered members, in groups of at most 8."""

from __future__ import annotations


def octal_place(number: int, n_members: int) -> str:
    """Octal digits of one of ``n_members`` numbers, the highest first, as names of groups within groups."""
    width = len(f"{n_members - 1:o}")
    return "/".join(f"{number:0{width}o}")
