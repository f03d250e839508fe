"""Options of the import of a graph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hpc_sparse.errors import ParameterError
from hpc_sparse.importers.options import Report, report_nothing

Cut = Literal["pre", "post", "each"]
"""When entries at or below the threshold go: before the first hop, from each power, or after each hop."""

Split = Literal["published", "random", "given"]

MOST_HOPS = 1000


@dataclass(frozen=True)
class Diffusion:
    """How features spread: Y_h = P^h X with P = A / (d + 1), d the column sums of A.

    Attributes
    ----------
    hops : int
        The features of a node are those of hops 0 to this one.
    threshold : float
        Entries at or below it go, at least 0 and below 1.
    cut : "pre", "post" or "each"
        Which entries: those of P; those of each power of P; or those of each product of what is left with P.
    unit_length : bool
        Whether the features of each hop of a node are brought to Euclidean length 1 in the end. It is no part of the
        published method. Without it, nodes with many neighbours have much larger features than others.
    """

    hops: int = 2
    threshold: float = 0.0
    cut: Cut = "pre"
    unit_length: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.hops <= MOST_HOPS:
            raise ParameterError(f"hops = {self.hops}: must be at least 1 and at most {MOST_HOPS}")
        if not 0 <= self.threshold < 1:
            raise ParameterError(f"threshold = {self.threshold}: must be at least 0 and below 1")
        if self.cut not in ("pre", "post", "each"):
            raise ParameterError(f'cut = "{self.cut}": must be "pre", "post" or "each"')

    @property
    def follows_rows(self) -> bool:
        """Whether rows of powers are made, which a threshold of powers needs."""
        return self.cut != "pre" and self.threshold > 0

    def __str__(self) -> str:
        threshold = f", threshold {self.threshold:g} ({self.cut})" if self.threshold else ""
        length = ", unit length" if self.unit_length else ""
        return f"diffused over {self.hops} hop{'s' if self.hops > 1 else ''}{threshold}{length}"


@dataclass(frozen=True)
class GraphOptions:
    """Edges, diffusion, division and title of a graph.

    Attributes
    ----------
    diffusion : Diffusion
    is_directed : bool
        Whether an edge (i, j) is an entry A[i, j] alone; else A[j, i], too.
    keeps_loops : bool
        Whether edges from a node to itself stay.
    split : "published", "random", "given" or None
        Division of the nodes; None: as published if the source says how, else at random.
    split_file : Path or None
        Of a given split: a line per node, which is "train", "validation", "test" or empty.
    test_fraction, validation_fraction : float
        Shares of each class for testing and validation in a random split.
    tests_on_validation : bool
        Whether the validation nodes become the test part, as for choices; else they are left out.
    split_seed, order_seed : int
        Seeds of a random split, and of the order of training samples.
    title : str or None
    overwrite : bool
        Whether an existing file may be replaced.
    report : callable
        Callback for the progress.
    """

    diffusion: Diffusion = Diffusion()
    is_directed: bool = False
    keeps_loops: bool = True
    split: Split | None = None
    split_file: Path | None = None
    test_fraction: float = 1 / 3
    validation_fraction: float = 1 / 3
    tests_on_validation: bool = False
    split_seed: int = 0
    order_seed: int = 0
    title: str | None = None
    overwrite: bool = False
    report: Report = report_nothing
