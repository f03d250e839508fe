"""The command ``hpc-sparse report``, alone and on two ranks."""

from __future__ import annotations

import json

import pytest

PARTS = ("train", "sync", "evolve", "evaluate")


def test_a_run_on_two_ranks_stores_the_seconds_of_each_and_becomes_a_page_and_pictures(workplace, run):
    run("train", "run.toml", "--output", "run", "--progress", "none", cwd=workplace, ranks=2)
    for line in (workplace / "run/metrics.jsonl").read_text().splitlines():
        metrics = json.loads(line)
        seconds = metrics["rank_seconds"]
        assert all(len(seconds[part]) == 2 for part in (*PARTS, "files"))
        slowest = [metrics[f"{part}_seconds"] for part in PARTS]
        assert [max(seconds[part]) for part in PARTS] == pytest.approx(slowest, abs=1e-4)
        assert min(seconds["files"]) > 0
    assert run("report", "run", cwd=workplace).stdout == "run/report/report.html and 7 pictures\n"
    said = run("report", "run", "--output", "all", "--no-html", "--image-shape", "5x6", cwd=workplace, ranks=2).stdout
    assert len(said.splitlines()) == len(list((workplace / "all").iterdir())) == 8
