"""Style of all pictures, and their files."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.figure import Figure

DOTS_PER_INCH = 130
TEXT = "#22262b"
COLOURS = ("#2a6f97", "#d1603d", "#4c956c", "#8a5aa5", "#c9971c", "#4a4e57", "#c2477f", "#2ca6a4")

STYLE: Any = {
    "text.color": TEXT,
    "axes.labelcolor": TEXT,
    "axes.edgecolor": TEXT,
    "axes.linewidth": 0.8,
    "axes.titlesize": "medium",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=COLOURS),
    "grid.color": "#e3e6ea",
    "grid.linewidth": 0.6,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "legend.frameon": False,
    "legend.fontsize": "small",
    "lines.linewidth": 1.6,
    "font.size": 9.5,
    "text.parse_math": False,  # names are foreign text
}


def to_png(draw: Callable[[], Figure]) -> bytes:
    """Draw a figure in this style; matplotlib's own settings stay as they are."""
    content = io.BytesIO()
    with mpl.rc_context(STYLE):
        draw().savefig(content, dpi=DOTS_PER_INCH, format="png", metadata={"Software": None})
    return content.getvalue()
