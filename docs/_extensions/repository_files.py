"""Links from the pages to other files of the repository, and pages that show such files.

In the repository every link is a path, so that it works wherever the files are read. In the built pages, a link to a
Markdown file outside this folder leads to a page with its text. A link to any other file leads to a copy.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

PAGES = {
    "CONTRIBUTING.md": "develop/contributing",
    "README.md": "index",
    "SECURITY.md": "security",
    "CHANGELOG.md": "changes",
}
"""Files that are pages of their own, by a marker in that page."""

MARKER = re.compile(r"<!-- text of (\S+) -->")
IMAGE = re.compile(r"(!\[[^\]\n]*\]\()([^)\s:]+)\)")
LINK = re.compile(r"(?<!!)(\[[^\]\n]*\]\()([^)\s#:]+)(#[^)\s]*)?\)")

RESULTS = "tools/results"
RESULT_PAGES = "results/files"
"""Folder of the pages that are written of the Markdown files in RESULTS."""


def write_result_pages(app: Sphinx) -> None:
    """Write a page for each Markdown file of results."""
    folder = Path(app.srcdir) / RESULT_PAGES
    folder.mkdir(exist_ok=True)
    results = sorted((Path(app.srcdir).parent / RESULTS).glob("*.md"))
    for old in set(folder.glob("*.md")) - {folder / file.name for file in results}:
        old.unlink()
    for file in results:
        page, text = folder / file.name, f"---\norphan: true\n---\n<!-- text of ../../../{RESULTS}/{file.name} -->\n"
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def resolve_links(app: Sphinx, document: str, source: list[str]) -> None:
    """Insert the text of a file where a page has a marker; make links lead to what is built."""
    pages = Path(app.srcdir)
    here = (pages / document).parent
    if found := MARKER.search(source[0]):
        file = (here / found.group(1)).resolve()
        app.env.note_dependency(str(file))
        text = _resolved(file.read_text(encoding="utf-8"), file.parent, here, pages)
        source[0] = source[0].replace(found.group(), text)
    elif here.is_dir():
        source[0] = _resolved(source[0], here, here, pages)


def _resolved(text: str, base: Path, here: Path, pages: Path) -> str:
    """Markdown whose relative links start from ``base``, for a page in the folder ``here``."""

    def image(found: re.Match[str]) -> str:
        return f"{found.group(1)}{os.path.relpath(base / found.group(2), here)})"

    def link(found: re.Match[str]) -> str:
        start, target, anchor = found.group(1), (base / found.group(2)).resolve(), found.group(3) or ""
        if target.is_relative_to(pages):
            return f"{start}/{target.relative_to(pages).as_posix()}{anchor})"
        name = target.relative_to(pages.parent).as_posix()
        if name in PAGES:
            return f"{start}/{PAGES[name]}.md{anchor})"
        if name.startswith(f"{RESULTS}/") and name.endswith(".md"):
            return f"{start}/{RESULT_PAGES}/{target.name}{anchor})"
        return f"{start}path:{os.path.relpath(target, here)})"

    return LINK.sub(link, IMAGE.sub(image, text))


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry point."""
    app.connect("builder-inited", write_result_pages)
    app.connect("source-read", resolve_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
