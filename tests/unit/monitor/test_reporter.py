"""What a person sees of a run."""

from __future__ import annotations

import dataclasses
import io
import re

import pytest
from rich.console import Console

from hpc_sparse.monitor import live_reporter, reporter
from hpc_sparse.monitor.live_reporter import LiveReporter
from hpc_sparse.monitor.metrics import EpochMetrics
from hpc_sparse.monitor.reporter import LineReporter, SilentReporter, epoch_line, make_reporter

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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that reporters see; each step of :func:`run` takes half a second."""
    now = [1000.0]
    monkeypatch.setattr(reporter.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(reporter, "peak_rss_bytes", lambda: 300 * 2**20)
    return now


def run(reporter, clock, seconds=0.5):
    reporter.start("a net", 7, 100, 30, 3000)
    for step in range(30):
        clock[0] += seconds
        reporter.step(step + 1)
    reporter.epoch(METRICS)
    reporter.stop()


def test_an_epoch_is_one_line_of_fixed_width():
    line = epoch_line(METRICS, 100)
    assert line == "epoch   7/100  train loss 0.5123, 80.00%  test loss 0.6100, 76.54%  1.23 s"


def test_a_validation_part_stands_before_the_test_part():
    line = epoch_line(dataclasses.replace(METRICS, validation_loss=0.59, validation_accuracy=0.8125), 100)
    assert "80.00%  validation loss 0.5900, 81.25%  test loss 0.6100, 76.54%  1.23 s" in line


def test_lines_are_the_headline_and_one_per_epoch_with_its_pace(capsys, clock):
    run(LineReporter(), clock)
    # 93 more epochs of 15 s.
    throughput = "200 samples/s  left 0:23:15  memory 300 MiB"
    assert capsys.readouterr().out.splitlines() == ["a net", f"{epoch_line(METRICS, 100)}  {throughput}"]


def test_a_long_epoch_has_a_line_a_minute(capsys, clock):
    run(LineReporter(), clock, seconds=7.0)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[:2] for line in lines[1:-1]] == [
        ["epoch 7/100", f"step {step} of 30"] for step in (9, 18, 27)
    ]
    assert lines[1].endswith("14 samples/s  left 5:27:57  memory 300 MiB")


def test_silence_is_silent(capsys, clock):
    run(SilentReporter(), clock)
    assert capsys.readouterr() == ("", "")


def shown_live(clock, width=120, **options):
    screen = io.StringIO()
    run(LiveReporter(Console(file=screen, force_terminal=True, width=width, height=25)), clock, **options)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())


def test_the_live_display_shows_lines_and_moves_its_bar(clock):
    shown = shown_live(clock)
    assert "a net" in shown
    assert epoch_line(METRICS, 100) in shown
    last = shown.replace("\r", "\n").splitlines()[-1]
    assert last.startswith("epoch 7/100")
    assert last.rstrip().endswith("1% test 76.54%  2.0 steps/s  200 samples/s  left 0:23:15  memory 300 MiB")


def test_the_live_display_shows_the_accuracy_by_which_epochs_are_compared(clock, monkeypatch):
    monkeypatch.setitem(
        run.__globals__, "METRICS", dataclasses.replace(METRICS, validation_loss=0.59, validation_accuracy=0.8125)
    )
    last = shown_live(clock).replace("\r", "\n").splitlines()[-1]
    assert "validation 81.25%  2.0 steps/s" in last


def test_a_narrow_terminal_has_one_line_all_the_same(clock):
    shown = shown_live(clock, width=60)
    assert max(len(line) for line in re.split(r"[\r\n]", shown) if line.startswith("epoch 7/100 ")) <= 60


def test_the_display_is_drawn_twice_a_second_at_most(clock, monkeypatch):
    drawn = []
    reporter = LiveReporter(Console(file=io.StringIO(), force_terminal=True, width=120, height=25))
    monkeypatch.setattr(reporter, "_show", lambda now: (drawn.append(now), setattr(reporter, "_last_update", now)))
    run(reporter, clock, seconds=1 / 16)
    assert len(drawn) == int(30 / 16 / live_reporter.SECONDS_BETWEEN_UPDATES) + 1  # one more after the epoch


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
