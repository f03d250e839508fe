"""Making a report: look at everything first, then draw, then write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpc_sparse.config import find_data
from hpc_sparse.errors import InputError
from hpc_sparse.report.groups import RunGroup, group_runs
from hpc_sparse.report.image_shape import ImageShape, guess_image_shape, parse_image_shape
from hpc_sparse.report.page import PageSection, render_page
from hpc_sparse.report.sections import (
    STEMS,
    configuration_section,
    degrees_section,
    learning_section,
    neurons_section,
    summary_section,
    time_section,
    topology_section,
)
from hpc_sparse.report.stored_run import StoredRun, read_runs
from hpc_sparse.report.writing import check_folder, remove_files, write_files
from hpc_sparse.storage.dataset.feature_summary import read_feature_names
from hpc_sparse.storage.dataset.file import read_info

PAGE = "report.html"


@dataclass(frozen=True)
class ReportRequest:
    """Request for a report.

    Attributes
    ----------
    runs : tuple of Path
        Folders of runs.
    output : Path or None
        By default ``report`` in the folder of the run, of several runs in the working folder.
    has_page : bool
        Whether there is to be a page beside the pictures.
    overwrites : bool
        Whether a report that is there already is replaced; what the new one does not have goes.
    image_shape : str or None
        Rows x columns (x colours) of the samples, ``none``, or None to find out.
    """

    runs: tuple[Path, ...]
    output: Path | None = None
    has_page: bool = True
    overwrites: bool = False
    image_shape: str | None = None


def make_report(request: ReportRequest) -> list[Path]:
    """Write the pictures, and the page last; returns what was written, the page first.

    Raises
    ------
    InputError
        A folder is not that of a run, the image shape is none, or the report cannot be written.
    """
    shape = None if request.image_shape is None else parse_image_shape(request.image_shape)
    runs = read_runs(request.runs)
    folder = request.output or _default_folder(runs)
    check_folder(folder, overwrites=request.overwrites)
    groups = group_runs(runs)
    shapes = {run.name: shape if request.image_shape else _find_shape(run) for run in runs}
    names = {run.name: _find_names(run) for run in runs}
    sections = _make_sections(runs, groups, shapes, names)
    files = {f"{picture.stem}.png": picture.content for section in sections for picture in section.pictures}
    if request.has_page:
        files[PAGE] = render_page(_title(groups), _subtitle(runs), sections).encode()
    written = write_files(folder, files)
    remove_files(folder, lambda name: name not in files and _is_of_a_report(name))
    return written


def _make_sections(
    runs: Sequence[StoredRun],
    groups: Sequence[RunGroup],
    shapes: dict[str, ImageShape | None],
    names: dict[str, tuple[str, ...]],
) -> list[PageSection]:
    first, last = summary_section(runs, groups), configuration_section(runs)
    if not any(run.history for run in runs):
        first.notes.append("No epoch is complete yet.")
        return [first, last]
    begun = [group for group in groups if any(run.history for run in group.runs)]
    return [
        first,
        learning_section(begun),
        topology_section(begun),
        degrees_section(begun),
        neurons_section(begun, shapes, names),
        time_section(runs, begun),
        last,
    ]


def _is_of_a_report(name: str) -> bool:
    """Whether a file belongs to a report; other files in the folder stay."""
    return name == PAGE or (name.endswith(".png") and STEMS.fullmatch(name.removesuffix(".png")) is not None)


def _default_folder(runs: Sequence[StoredRun]) -> Path:
    return runs[0].folder.path / "report" if len(runs) == 1 else Path("report")


def _find_shape(run: StoredRun) -> ImageShape | None:
    try:
        return guess_image_shape(read_info(find_data(run.config.data.path, run.folder.config)))
    except InputError:
        return None  # data sets need not be where the report is made


def _find_names(run: StoredRun) -> tuple[str, ...]:
    try:
        return read_feature_names(find_data(run.config.data.path, run.folder.config)) or ()
    except InputError:
        return ()


def _title(groups: Sequence[RunGroup]) -> str:
    return groups[0].legend if len(groups) == 1 else f"{len(groups)} experiments"


def _subtitle(runs: Sequence[StoredRun]) -> str:
    data = sorted({run.config.data.path for run in runs})
    n_epochs = sum(len(run.history) for run in runs)
    return f"{len(runs)} run{'s' if len(runs) > 1 else ''} on {', '.join(data)}; {n_epochs:,} epochs in all"
