"""The commands ``hpc-sparse analyze``, alone and on two ranks."""

from __future__ import annotations

import json

import pytest

RANKS = [None, 2]
FILES = ["run/checkpoints/checkpoint-000001.h5", "run/checkpoints/checkpoint-000002.h5"]


COMMANDS = (
    ("distance", FILES, "mean without last", "distances"),
    ("overlap", FILES, "overlap with last", "by_layer"),
    ("degrees", FILES[:1], "expected deviation", "distributions"),
    ("paths", FILES[:1], "connected pairs", "from_input"),
    ("summary", FILES[:1], "effective density", "neurons"),
)


@pytest.mark.parametrize("ranks", RANKS)
def test_every_command_draws_and_prints_json(trained, run, ranks):
    for command, files, _, listed in COMMANDS:
        picture = f"{command}.png"
        printed = run("analyze", command, *files, "--json", "--picture", picture, cwd=trained, ranks=ranks).stdout
        assert json.loads(printed)[listed]
        assert (trained / picture).stat().st_size > 5000


def test_every_command_prints_a_table(trained, run):
    for command, files, shown, _ in COMMANDS:
        table = run("analyze", command, *files, cwd=trained).stdout
        assert shown in table
        assert "distributions" not in table


def test_the_distance_does_not_depend_on_the_ranks(trained, run):
    run("prune", FILES[1], "--percentile", 30, "--inputs", 20, "--output", "small.h5", cwd=trained)
    arguments = ["analyze", "distance", *FILES, "small.h5", "--json"]
    alone, two = (json.loads(run(*arguments, cwd=trained, ranks=ranks).stdout) for ranks in RANKS)
    assert alone == two
    assert len(alone["distances"]) == 3
    removed = json.loads(run("analyze", "summary", "small.h5", "--json", cwd=trained).stdout)["neurons"]
    assert all(layer["removed"] > 0 for layer in removed[:-1])


@pytest.mark.parametrize("ranks", RANKS)
def test_bad_input_ends_with_one_message(trained, run, ranks):
    (trained / "old.png").write_bytes(b"old")
    cases = (
        (["summary", "data.h5"], "data.h5"),
        (["paths", FILES[0], "--picture", "old.png"], "exists already"),
        (["distance", FILES[0]], "at least two"),
        (["overlap", FILES[0]], "at least two"),
        (["degrees", "nowhere.h5"], "nowhere.h5"),
    )
    # On two ranks, one case of what a file says and one of what is wrong with the command.
    for arguments, message in cases if ranks is None else cases[:2]:
        error = run("analyze", *arguments, cwd=trained, ranks=ranks, code=2).stderr
        assert message in error
        assert error.count("hpc-sparse:") == 1
    assert (trained / "old.png").read_bytes() == b"old"
