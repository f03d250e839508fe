"""The whole report: what is on the page, and that nothing is lost when it cannot be written."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure

from hpc_sparse.errors import OutputError
from hpc_sparse.monitor.metrics import by_rank
from hpc_sparse.report.curves import draw_learning
from hpc_sparse.report.groups import group_runs
from hpc_sparse.report.make import ReportRequest, make_report
from hpc_sparse.report.page import PageSection, render_page
from hpc_sparse.report.panels import fit_to_later_epochs
from hpc_sparse.report.sections import STEMS
from hpc_sparse.report.stored_run import read_runs
from hpc_sparse.report.tables import Table, group_table, summary_table
from hpc_sparse.report.times import seconds_by_rank, time_bars
from hpc_sparse.runs.folder import RunFolder


class Page(HTMLParser):
    """Collects what a page refers to, and checks that its tags are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links, self.open, self.images = [], [], 0
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag not in {"meta", "img", "link", "br"}:
            self.open.append(tag)
        for name, value in attributes:
            if name in {"src", "href", "srcset"}:
                self.links.append(value[:30])
        self.images += tag == "img"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_holds_everything_and_needs_nothing_else(make_run, add_checkpoint, tmp_path):
    runs = tuple(make_run(f"seed{seed}", 3, f"training.seed={seed}") for seed in (1, 2))
    for epoch in (1, 3):
        add_checkpoint(runs[0], epoch)
    page, *pictures = make_report(ReportRequest(runs, tmp_path / "report", image_shape="10x10"))
    names = {"learning", "sizes", "changes", "degrees-1", "importance-1", "pixels-1", "time-by-rank", "time-by-epoch"}
    assert {path.stem for path in pictures} == names
    assert all(STEMS.fullmatch(name) for name in names)
    assert all(path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n") for path in pictures)
    found = Page(page.read_text(encoding="utf-8"))
    assert found.images == len(names)
    assert all(link.startswith(("#part-", "data:image/png;base64,")) for link in found.links)
    assert sorted(path.name for path in page.parent.iterdir()) == sorted(
        [page.name, *(f"{name}.png" for name in names)]
    )


def test_without_a_page_there_are_pictures_only(make_run, quick_pictures):
    run = make_run()
    written = make_report(ReportRequest((run,), has_page=False))
    assert {path.suffix for path in written} == {".png"}
    assert {path.parent for path in written} == {run / "report"}


def test_a_run_without_epochs_says_so(make_run):
    (page,) = make_report(ReportRequest((make_run(n_epochs=0),)))
    assert "No epoch is complete yet." in page.read_text()


def test_runs_with_and_without_epochs_go_together(make_run, quick_pictures, tmp_path):
    runs = (make_run("old", 2, rank_seconds={}, n_neurons=0, test_accuracy=float("nan")), make_run("new", 0))
    page, *pictures = make_report(ReportRequest(runs, tmp_path / "both"))
    assert len(pictures) == 5
    assert Page(page.read_text()).images == 5


def test_a_report_is_not_overwritten_unless_asked_for(make_run, quick_pictures):
    run = make_run()
    page = make_report(ReportRequest((run,)))[0]
    page.write_text("old")
    with pytest.raises(OutputError, match=r"report: holds something already; .*--overwrite"):
        make_report(ReportRequest((run,)))
    assert page.read_text() == "old"
    make_report(ReportRequest((run,), overwrites=True))
    assert page.read_text() != "old"


def test_of_the_report_that_is_overwritten_nothing_stays_but_what_others_put_there(make_run, quick_pictures, tmp_path):
    folder = tmp_path / "report"
    make_report(ReportRequest((make_run(),), folder))
    old = [folder / name for name in ("degrees-2.png", "pixels-13.png", "importance-1.png")]
    foreign = [folder / name for name in ("photo.png", "learning.svg", "sizes-of-mine.png", "pixels-1.png.bak")]
    for path in (*old, *foreign):
        path.touch()
    written = make_report(ReportRequest((make_run("other"),), folder, has_page=False, overwrites=True))
    assert set(folder.iterdir()) == {*written, *foreign}
    assert len(written) == 5


def test_what_names_and_settings_say_is_text_and_no_markup(make_run, quick_pictures):
    name = "<b>&$x_1$"
    page = make_report(ReportRequest((make_run(name, 1),)))[0].read_text()
    assert "<b>&$" not in page
    assert "&lt;b&gt;&amp;$x_1$" in page
    assert "<script>" not in render_page("<script>", "", [PageSection("a", tables=[Table(("<script>",), (("x",),))])])


def test_a_table_shows_values_with_their_units(make_run):
    run = make_run(n_epochs=4)
    (run / "summary.json").write_text('{"total_seconds": 61.2, "peak_rss_bytes": 3145728, "n_ranks": 2}')
    table = summary_table(read_runs([run]))
    (row,) = (dict(zip(table.headings, row, strict=True)) for row in table.rows)
    assert row == {
        "run": "run",
        "seed": "3",
        "ranks": "2",
        "epochs": "4",
        "test accuracy, last": "54.00 %",
        "best on the test part (epoch)": "54.00 % (4)",
        "test loss, last": "0.2500",
        "neurons": "40",
        "connections": "100",
        "parameters": "-",
        "training of an epoch, median": "2.00 s",
        "in all": "0:01:02",
        "memory, most of a rank": "3 MiB",
    }


@pytest.fixture
def make_validated_run(make_run):
    """Make the folder of a run with a validation part, and these accuracies on it."""

    def make(name, seed, accuracies):
        path = make_run(name, 0, "data.validation_fraction=0.1", f"training.seed={seed}")
        (template,) = read_runs([make_run(f"{name}-template", 1)])[0].history
        for epoch, accuracy in enumerate(accuracies, 1):
            values = {"epoch": epoch, "test_accuracy": 0.5 + 0.01 * epoch}
            RunFolder(path).append(replace(template, **values, validation_loss=1.5, validation_accuracy=accuracy))
        return path

    return make


def test_the_best_epoch_is_that_of_the_validation_part_and_is_called_so(make_run, make_validated_run):
    paths = [make_validated_run("seed1", 1, (0.5, 0.7, 0.6)), make_validated_run("seed2", 2, (0.9, 0.7))]
    runs = read_runs([*paths, make_run("other", 3)])
    table = summary_table(runs)
    columns = dict(zip(table.headings, zip(*table.rows, strict=True), strict=True))
    assert columns["best on the validation part (epoch)"] == ("70.00 % (2)", "90.00 % (1)", "-")
    assert columns["test accuracy of the best"] == ("52.00 %", "51.00 %", "-")
    assert columns["best on the test part (epoch)"] == ("-", "-", "53.00 % (3)")
    table = group_table(group_runs(runs))
    (row,) = (dict(zip(table.headings, row, strict=True)) for row in table.rows)
    assert row["best on the validation part"] == "80.00 ± 14.14 %"
    assert row["test accuracy of the best"] == "51.50 ± 0.71 %"
    assert "best on the test part" not in row


def test_the_validation_part_is_drawn_where_there_is_one(make_run, make_validated_run, quick_pictures, tmp_path):
    with_part, without = make_validated_run("with", 1, (0.5, 0.6)), make_run("without", 2)
    for paths, n_panels, labels in (
        ((with_part,), 2, {"training (with dropout)", "validation", "test"}),
        ((without,), 2, {"training (with dropout)", "test"}),
        ((with_part, without), 6, {"with", "without"}),
    ):
        figure = draw_learning(group_runs(read_runs(paths)))
        assert len(figure.axes) == n_panels
        assert {text.get_text() for text in figure.legends[0].get_texts()} == labels
    assert make_report(ReportRequest((with_part, without), tmp_path / "report"))


def test_bars_are_the_mean_seconds_of_each_rank_as_long_as_there_were_so_many(make_run):
    ranks = [(2.0, 0.5, 0.25, 0.125, 1.0), (4.0, 1.0, 0.25, 0.125, 3.0)]
    (run,) = read_runs([make_run("two", 2, rank_seconds=by_rank(ranks))])
    assert [bar.label for bar in time_bars(run)] == ["two, rank 0", "two, rank 1"]
    np.testing.assert_array_equal([bar.seconds for bar in time_bars(run)], ranks)
    np.testing.assert_array_equal(seconds_by_rank(run.history[0]), ranks)


def test_of_many_ranks_some_are_shown_and_of_old_runs_the_slowest(make_run):
    (many, old) = read_runs(
        [make_run("many", 1, rank_seconds=by_rank([(1, 1, 1, 1, 1)] * 500)), make_run("old", 1, rank_seconds={})]
    )
    labels = [bar.label for bar in time_bars(many)]
    assert len(labels) == 8
    assert (labels[0], labels[-1]) == ("many, rank 0", "many, rank 499")
    (bar,) = time_bars(old)
    assert re.fullmatch("old, slowest rank", bar.label)
    assert bar.seconds.tolist() == [2.0, 0.5, 0.25, 0.125, 0.0]
    served = replace(old.history[0], staleness_counts=(3, 1))
    assert seconds_by_rank(served).tolist() == [[1.5, 0.5, 0.25, 0.125, 0.0]]


def test_of_long_runs_the_axis_fits_the_later_epochs():
    for n_epochs, top in ((20, 100.0), (400, 5.0)):
        axes = Figure().subplots()
        epochs = np.arange(1, n_epochs + 1)
        axes.plot(epochs, 100.0 / epochs)
        axes.plot(epochs, np.full(n_epochs, np.nan))
        fit_to_later_epochs(axes)
        assert axes.get_ylim()[1] == pytest.approx(top, rel=0.1)
    fit_to_later_epochs(Figure().subplots())
