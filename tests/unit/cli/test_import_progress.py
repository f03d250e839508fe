"""The progress of an import is shown on a terminal and nowhere else."""

from __future__ import annotations

import io
import sys

import pytest

from hpc_sparse.cli.data_import_options import progress_bar


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("is_shown", [True, False])
def test_a_bar_is_drawn_only_if_shown(monkeypatch: pytest.MonkeyPatch, is_shown: bool) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar(is_shown=is_shown) as report:
        for done in (1, 2, 3):
            report("reading", done, 3)
        report("writing", 1, 7)
    assert ("reading" in terminal.getvalue()) == ("writing" in terminal.getvalue()) == is_shown
