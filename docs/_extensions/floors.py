"""The picture of the floors: drawn from the list that the test of the imports enforces, in place of a marker."""

from __future__ import annotations

import ast
from html import escape
from pathlib import Path

from sphinx.application import Sphinx

MARKER = "<!-- floors -->"
BASE = "base"
BASE_TEXT = "Configuration, errors, random streams, division of rows, types of numbers"
MOST_CHARACTERS = 100
"""Longest description."""

WIDTH, ROW, GAP, NAME_WIDTH = 860, 26, 10, 118
FONT = 'font-family="inherit" fill="currentColor"'


def floors(root: Path) -> list[list[str]]:
    """The packages of each floor, from the ground up, as the test has them."""
    tree = ast.parse((root / "tests" / "unit" / "package" / "test_layers.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "FLOORS":
            return [sorted(ast.literal_eval(item)) for item in node.value.elts]
    raise LookupError("tests/unit/package/test_layers.py: FLOORS: not found")


def description(root: Path, name: str) -> str:
    """The first sentence of a package's docstring."""
    if name == BASE:
        return BASE_TEXT
    text = ast.get_docstring(ast.parse((root / "hpc_sparse" / name / "__init__.py").read_text(encoding="utf-8")))
    sentence = (text or "").split("\n\n")[0].replace("\n", " ").replace("`", "").split(". ")[0].removesuffix(".")
    if len(sentence) > MOST_CHARACTERS:
        raise ValueError(f"hpc_sparse/{name}/__init__.py: first sentence has more than {MOST_CHARACTERS} characters")
    return sentence


def picture(root: Path) -> str:
    """SVG in the colours of the page: a box per floor, a line per package, the command line on top."""
    parts, top = [], 0
    for floor in reversed(floors(root)):
        height = ROW * len(floor) + 8
        parts.append(
            f'<rect x="1" y="{top + 1}" width="{WIDTH - 2}" height="{height - 2}" rx="6" fill="currentColor" '
            'fill-opacity="0.06" stroke="currentColor" stroke-opacity="0.45"/>'
        )
        for number, name in enumerate(floor):
            y = top + 4 + ROW * number + 18
            parts.append(f'<text x="16" y="{y}" {FONT} font-size="15" font-weight="600">{name}</text>')
            text = escape(description(root, name))
            parts.append(f'<text x="{NAME_WIDTH}" y="{y}" {FONT} font-size="14">{text}</text>')
        top += height + GAP
    height = top - GAP + 2
    head = f'<svg role="img" aria-label="Packages, floor by floor" viewBox="0 0 {WIDTH} {height}" class="floors">'
    return head + "".join(parts) + "</svg>"


def insert(app: Sphinx, document: str, source: list[str]) -> None:
    """Replace the marker in a page's source."""
    if MARKER in source[0]:
        svg = picture(Path(app.srcdir).parent)
        source[0] = source[0].replace(MARKER, f"```{{raw}} html\n{svg}\n```")


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry point."""
    app.connect("source-read", insert)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
