"""What a person sees of a run."""

from __future__ import annotations

import re

import pytest

from hpc_sparse.training.metrics import EpochMetrics
from hpc_sparse.training.progress import LineReporter, LiveReporter, SilentReporter, epoch_line, make_reporter

METRICS = EpochMetrics(
    epoch=7,
    train_loss=0.51234,
    train_accuracy=0.8,
    test_loss=0.61,
    test_accuracy=0.7654,
    n_connections=10,
    connections_changed=3,
    train_seconds=1.234,
    evolve_seconds=0.1,
    sync_seconds=0.0,
    sync_bytes=0,
    evaluate_seconds=0.1,
    learning_rate=0.01,
)


def run(reporter):
    reporter.start("a net", 7, 100, 30)
    for step in range(30):
        reporter.step(step + 1)
    reporter.epoch(METRICS)
    reporter.stop()


def test_an_epoch_is_one_line_of_fixed_width():
    line = epoch_line(METRICS, 100)
    assert line == "epoch   7/100  train loss 0.5123, 80.00%  test loss 0.6100, 76.54%  1.23 s"


def test_lines_are_the_headline_and_one_per_epoch(capsys):
    run(LineReporter())
    assert capsys.readouterr().out.splitlines() == ["a net", epoch_line(METRICS, 100)]


def test_silence_is_silent(capsys):
    run(SilentReporter())
    assert capsys.readouterr() == ("", "")


def test_the_live_display_shows_lines_and_moves_its_bar(capsys):
    run(LiveReporter())
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().out)
    assert "a net" in shown
    assert epoch_line(METRICS, 100)[:40] in shown
    assert "30/2820" in shown


@pytest.mark.parametrize(
    ("style", "is_root", "is_terminal", "kind"),
    [
        ("auto", True, True, LiveReporter),
        ("auto", True, False, LineReporter),
        ("live", True, False, LiveReporter),
        ("lines", True, True, LineReporter),
        ("none", True, True, SilentReporter),
        ("live", False, True, SilentReporter),
    ],
)
def test_the_reporter_fits_the_place(style, is_root, is_terminal, kind):
    assert type(make_reporter(style, is_root=is_root, is_terminal=is_terminal)) is kind
