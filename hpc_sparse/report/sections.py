"""Sections of a report: their tables, pictures and captions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from hpc_sparse.analysis.pictures import draw_degrees
from hpc_sparse.analysis.reports import report_degrees
from hpc_sparse.errors import InputError
from hpc_sparse.report.curves import draw_changes, draw_learning, draw_sizes
from hpc_sparse.report.groups import RunGroup
from hpc_sparse.report.image_shape import ImageShape
from hpc_sparse.report.neurons import draw_importance, draw_pixels
from hpc_sparse.report.page import PageSection, Picture
from hpc_sparse.report.stored_run import StoredRun
from hpc_sparse.report.strengths import Strengths, read_strengths
from hpc_sparse.report.style import to_png
from hpc_sparse.report.tables import group_table, inputs_table, settings_table, summary_table
from hpc_sparse.report.times import draw_epoch_times, draw_rank_times

STEMS = re.compile(r"learning|sizes|changes|(degrees|importance|pixels)-\d+|time-by-(rank|epoch)")
"""Names of all pictures that there can be."""

MOST_NETWORKS = 6
"""Experiments of which neurons are shown."""

COINCIDING = "Where lines coincide, all can be seen: the first is the widest."
EARLY = "Of long runs the first epochs may be beyond the vertical axis."
BANDS = "Of runs that differ in the seed only: their mean, with a band of one standard deviation to both sides."


def summary_section(runs: Sequence[StoredRun], groups: Sequence[RunGroup]) -> PageSection:
    """Tables of results and of what the runs differ in."""
    tables = [summary_table(runs), group_table(groups), settings_table(groups)]
    return PageSection("Results", tables=[table for table in tables if table is not None])


def learning_section(groups: Sequence[RunGroup]) -> PageSection:
    """Loss and accuracy."""
    picture = Picture(
        "learning", f"Loss and accuracy over the epochs. {BANDS} {EARLY}", to_png(lambda: draw_learning(groups))
    )
    return PageSection("Learning", pictures=[picture])


def topology_section(groups: Sequence[RunGroup]) -> PageSection:
    """Connections and neurons, and how many connections evolution replaced."""
    sizes = Picture("sizes", f"Size of the network over the epochs. {COINCIDING}", to_png(lambda: draw_sizes(groups)))
    changes = Picture(
        "changes",
        "Connections that evolution grew before each epoch; as many went, unless the network was to shrink.",
        to_png(lambda: draw_changes(groups)),
    )
    return PageSection("Topology", pictures=[sizes, changes])


def degrees_section(groups: Sequence[RunGroup]) -> PageSection:
    """Degrees of the last network of each experiment."""
    section = PageSection("Degrees")
    for number, run in _shown(groups):
        path = run.checkpoints[max(run.checkpoints)]
        try:
            found = _without_full_layers(report_degrees(path, 0))
        except InputError as error:
            section.notes.append(str(error))
            continue
        caption = (
            f"{run.name}, epoch {found['epoch']}: connections per neuron, beside what a random topology of the same "
            "density would have. Layers that have all connections are left out."
        )
        section.pictures.append(Picture(f"degrees-{number}", caption, to_png(lambda found=found: draw_degrees(found))))  # type: ignore[misc]
    return section


def neurons_section(
    groups: Sequence[RunGroup], shapes: dict[str, ImageShape | None], names: dict[str, tuple[str, ...]]
) -> PageSection:
    """Importance of neurons, of pixels (of images), and of features that have names.

    Parameters
    ----------
    groups : sequence of RunGroup
    shapes, names : dict
        Shapes of the samples as images, and names of the features, by the name of the run.
    """
    section = PageSection("Neurons")
    for number, run in _shown(groups):
        series, problems = read_strengths(run)
        section.notes += problems
        if series:
            caption = f"{run.name}: importance of neurons, the sum of the absolute weights of their connections."
            picture = to_png(lambda series=series: draw_importance(series))  # type: ignore[misc]
            section.pictures.append(Picture(f"importance-{number}", caption, picture))
            section.pictures += _pixels(run, number, series, shapes[run.name])
            if series[-1].inputs.size <= len(named := names.get(run.name, ())):
                section.tables.append(inputs_table(run, series[-1], named))
    return section


def time_section(runs: Sequence[StoredRun], groups: Sequence[RunGroup]) -> PageSection:
    """Time of the runs by part."""
    ranks = Picture(
        "time-by-rank",
        "Mean seconds of an epoch on each rank. Sync includes waiting for other ranks and, on a server, all of its "
        "exchange with workers; I/O is reading data, and writing metrics and checkpoints (for a server: of rank 0).",
        to_png(lambda: draw_rank_times(runs)),
    )
    epochs = Picture(
        "time-by-epoch",
        "Seconds of each epoch, mean over the ranks; I/O counts for the epoch after it, reading data for the first.",
        to_png(lambda: draw_epoch_times(groups)),
    )
    return PageSection("Time", pictures=[ranks, epochs])


def configuration_section(runs: Sequence[StoredRun]) -> PageSection:
    """The complete configurations."""
    return PageSection("Configurations", listings=[(run.name, run.config.to_toml()) for run in runs])


def _without_full_layers(found: dict[str, Any]) -> dict[str, Any]:
    """The report without the layers in which all neurons have the same degree; all of it if there are no others."""
    varied = {each["layer"] for each in found["distributions"] if np.count_nonzero(each["counts"]) > 1}
    kept = [each for each in found["distributions"] if each["layer"] in varied]
    return {**found, "distributions": kept or found["distributions"]}


def _shown(groups: Sequence[RunGroup]) -> list[tuple[int, StoredRun]]:
    runs = [group.shown_run for group in groups]
    return list(enumerate([run for run in runs if run.checkpoints][:MOST_NETWORKS], 1))


def _pixels(run: StoredRun, number: int, series: list[Strengths], shape: ImageShape | None) -> list[Picture]:
    if shape is None or any(each.inputs.size > shape.n_features for each in series):
        return []
    caption = f"{run.name}: strength of the input pixels ({shape}), the sum of their outgoing absolute weights."
    if any(each.has_lost_inputs for each in series):
        caption += " Pixels without a colour were removed."
    return [Picture(f"pixels-{number}", caption, to_png(lambda: draw_pixels(series, shape)))]
