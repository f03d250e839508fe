"""The page: sections of text, tables and pictures in one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources

from jinja2 import Environment, StrictUndefined

from hpc_sparse.report.style import COLOURS
from hpc_sparse.report.tables import Table

TEMPLATE = "page.html.jinja"


@dataclass(frozen=True)
class Picture:
    """A picture with its place among the files and in the text.

    Attributes
    ----------
    stem : str
        Name of its PNG file without the ending.
    caption : str
        Explanation of the picture.
    content : bytes
        PNG.
    """

    stem: str
    caption: str
    content: bytes


@dataclass
class PageSection:
    """A part of the page.

    Attributes
    ----------
    title, text : str
    tables : list of Table
    pictures : list of Picture
    notes : list of str
        Omissions and their reasons.
    listings : list of (title, text)
        Long texts that are folded up.
    """

    title: str
    text: str = ""
    tables: list[Table] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    listings: list[tuple[str, str]] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show, not even a reason."""
        return not (self.tables or self.pictures or self.notes or self.listings)


def render_page(title: str, subtitle: str, sections: Sequence[PageSection]) -> str:
    """The page as HTML; whatever is in a name or a setting is shown as text."""
    template = resources.files(__package__ or "").joinpath(TEMPLATE).read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["as_data"] = _as_data
    shown = [section for section in sections if not section.is_empty]
    return environment.from_string(template).render(title=title, subtitle=subtitle, sections=shown, colour=COLOURS[0])


def _as_data(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")
