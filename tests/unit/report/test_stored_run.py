"""Runs are read as they lie there: finished, unfinished, of earlier versions, damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpc_sparse.errors import FileFormatError, InputError
from hpc_sparse.report.stored_run import distinct_names, read_runs


def test_a_run_that_is_under_way_is_read_as_far_as_it_is(make_run):
    path = make_run(n_epochs=2)
    with (path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "train_l')
    (run,) = read_runs([path])
    assert [metrics.epoch for metrics in run.history] == [1, 2]
    assert (run.summary, run.checkpoints, run.n_ranks, run.n_parameters) == ({}, {}, None, None)


def test_a_run_of_an_earlier_version_has_no_seconds_by_rank(make_run):
    path = make_run(n_epochs=2)
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["rank_seconds"], line["n_neurons"]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run,) = read_runs([path])
    assert [metrics.rank_seconds for metrics in run.history] == [{}, {}]


@pytest.mark.parametrize(
    "changes",
    [
        {"test_loss": "low"},
        {"epoch": 1.5},
        {"staleness_counts": 3},
        {"rank_seconds": [1]},
        {"rank_seconds": {"train": [1]}},
        {"rank_seconds": {"train": [1], "sync": [1], "evolve": [1], "evaluate": [1], "files": [1, 2]}},
        {"of_tomorrow": 1},
    ],
)
def test_a_line_that_is_not_an_epoch_is_named(make_run, changes):
    path = make_run(n_epochs=2)
    first, second = (path / "metrics.jsonl").read_text().splitlines()
    (path / "metrics.jsonl").write_text(json.dumps(json.loads(first) | changes) + "\n" + second + "\n")
    with pytest.raises(FileFormatError, match=r"metrics.jsonl, line 1: not the metrics of an epoch"):
        read_runs([path])


def test_epochs_out_of_order_are_refused(make_run):
    path = make_run(n_epochs=2)
    first, second = (path / "metrics.jsonl").read_text().splitlines()
    (path / "metrics.jsonl").write_text("\n".join([second, first, ""]))
    with pytest.raises(FileFormatError, match="line 2"):
        read_runs([path])


def test_a_summary_without_numbers_is_refused(make_run):
    path = make_run()
    (path / "summary.json").write_text('{"total_seconds": "long"}')
    with pytest.raises(FileFormatError, match=r"summary.json: total_seconds = 'long': expected a number"):
        read_runs([path])


def test_what_is_no_run_is_named(tmp_path):
    with pytest.raises(InputError, match="not the folder of a run"):
        read_runs([tmp_path])
    with pytest.raises(InputError, match="nowhere: no such folder"):
        read_runs([tmp_path / "nowhere"])


def test_a_run_given_twice_counts_once(make_run):
    path = make_run()
    assert len(read_runs([path, path / ".." / path.name])) == 1


def test_names_are_as_long_as_it_takes():
    assert distinct_names([Path("/a/x"), Path("/a/y")]) == ["x", "y"]
    assert distinct_names([Path("/a/x"), Path("/b/x"), Path("/b/y")]) == ["a/x", "b/x", "b/y"]
    assert distinct_names([Path("/x"), Path("/x/x")]) == ["x", "x/x"]
