"""The reference of the commands, which Typer writes, in place of a marker in a page."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache

from sphinx.application import Sphinx

MARKER = "<!-- commands -->"
COMMAND = (sys.executable, "-m", "typer", "hpc_sparse.cli.app", "utils", "docs", "--name", "hpc-sparse")
COMPLETION = re.compile(r"^\* `--(install|show)-completion`.*\n", re.MULTILINE)


@cache
def command_reference() -> str:
    """Markdown: a section for each command, with its arguments and options."""
    text = subprocess.run(COMMAND, capture_output=True, text=True, check=True).stdout
    _, _, commands = COMPLETION.sub("", text).partition("\n## ")
    return f"## {commands}".replace("```console", "```text")


def insert(app: Sphinx, document: str, source: list[str]) -> None:
    """Replace the marker in a page's source."""
    if MARKER in source[0]:
        source[0] = source[0].replace(MARKER, command_reference())


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry point."""
    app.connect("source-read", insert)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
