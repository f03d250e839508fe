"""Event files say what the metrics say; they are read back record by record."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c
from typer.testing import CliRunner

from hpc_sparse.cli.app import app
from hpc_sparse.errors import InputError, OutputError
from hpc_sparse.report import requirements
from hpc_sparse.report.stored_run import read_runs
from hpc_sparse.report.tensorboard import TAGS, EventsRequest, event_files

START = b"brain.Event:2"


def read_events(path: Path) -> list[Event]:
    """Length, its checksum, an event, its checksum; and again."""
    content, events = path.read_bytes(), []
    while content:
        length, of_length = struct.unpack("<QI", content[:12])
        record, (of_record,) = content[12 : 12 + length], struct.unpack("<I", content[12 + length : 16 + length])
        assert (of_length, of_record) == (masked_crc32c(content[:8]), masked_crc32c(record))
        events.append(Event.FromString(record))
        content = content[16 + length :]
    return events


def written(*runs: Path, **options: object) -> list[list[Event]]:
    with event_files(EventsRequest(runs, **options)) as files:
        files.update()
    return [read_events(path) for path in files.paths]


def scalars(event: Event) -> dict[str, float]:
    return {value.tag: value.simple_value for value in event.summary.value}


def test_every_epoch_is_an_event_with_all_its_numbers(make_run):
    path = make_run(n_epochs=3)
    ((start, configuration, *epochs),) = written(path)
    assert start.file_version.encode() == START
    assert b'path = "small.h5"' in configuration.summary.value[0].tensor.string_val[0]
    (run,) = read_runs([path])
    assert [event.step for event in epochs] == [1, 2, 3]
    for event, metrics in zip(epochs, run.history, strict=True):
        expected = {TAGS[name]: value for name, value in metrics.numbers().items() if name != "epoch"}
        assert scalars(event) == pytest.approx(expected, rel=1e-6)


def test_no_metric_is_forgotten(make_run):
    (run,) = read_runs([make_run(n_epochs=1, validation_loss=0.5, validation_accuracy=0.75)])
    assert set(TAGS) == set(run.history[0].numbers()) - {"epoch"}


def test_the_validation_part_is_shown_where_there_is_one(make_run):
    ((_, _, event),) = written(make_run(n_epochs=1, validation_loss=0.5, validation_accuracy=0.75))
    assert (scalars(event)["loss/validation"], scalars(event)["accuracy/validation"]) == (0.5, 0.75)
    ((_, _, event),) = written(make_run("without", n_epochs=1))
    assert not [tag for tag in scalars(event) if "validation" in tag]


def test_epochs_are_as_far_apart_as_they_took(make_run):
    path = make_run(n_epochs=3)
    os.utime(path / "metrics.jsonl", (1e9, 1e9))
    ((_, _, *epochs),) = written(path)
    assert [event.wall_time for event in epochs] == [1e9 - 2 * 2.875, 1e9 - 2.875, 1e9]


def test_what_is_no_number_is_left_out(make_run):
    ((_, _, event),) = written(make_run(n_epochs=1, test_accuracy=float("nan")))
    missing = set(TAGS.values()) - set(scalars(event))
    assert missing == {"accuracy/test", "loss/validation", "accuracy/validation"}


def test_a_run_that_is_under_way_is_followed(make_run, tmp_path):
    one = make_run("one", n_epochs=1)
    two = make_run("two", n_epochs=2)
    with event_files(EventsRequest((one,), tmp_path / "events")) as files:
        assert not files.update()
        (one / "metrics.jsonl").write_text((two / "metrics.jsonl").read_text())
        assert not files.update()
        (one / "summary.json").write_text('{"epochs": 2}')
        assert files.update()
        assert [event.step for event in read_events(files.paths[0])[2:]] == [1, 2]


def test_runs_have_folders_of_their_own(make_run, tmp_path):
    runs = (make_run("a"), make_run("b"))
    with event_files(EventsRequest(runs, tmp_path / "all")) as files:
        assert [path.parent for path in files.paths] == [tmp_path / "all" / "a", tmp_path / "all" / "b"]
    with event_files(EventsRequest(runs)) as files:
        assert [path.parent for path in files.paths] == list(runs)


def test_event_files_are_replaced_only_if_asked_for(make_run):
    run = make_run()
    old, foreign = run / "events.out.tfevents.1.hpc_sparse", run / "events.out.tfevents.1.other"
    old.touch()
    foreign.touch()
    with pytest.raises(OutputError, match=r"tfevents\.1\.hpc_sparse: exists already; .*--overwrite"):
        written(run)
    ((_, _, *epochs),) = written(run, overwrites=True)
    assert len(epochs) == 3
    assert (old.exists(), foreign.exists()) == (False, True)


def test_a_folder_that_cannot_be_made_is_named(make_run, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/run/events\.out\.tfevents.* cannot be written"):
        written(make_run(), output=tmp_path / "file")


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="not the folder of a run"):
        written(tmp_path)


def test_the_command_names_the_files_and_ends_with_the_runs(make_run):
    run = make_run(n_epochs=2)
    (run / "summary.json").write_text('{"epochs": 2}')
    result = CliRunner().invoke(app, ["tensorboard", str(run), "--follow"])
    assert result.exit_code == 0
    assert [event.step for event in read_events(Path(result.stdout.strip()))[2:]] == [1, 2]


def test_without_the_library_the_command_says_which_extra_has_it(make_run, monkeypatch):
    monkeypatch.setattr(requirements, "find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["tensorboard", str(make_run())])
    assert result.exit_code == 2
    assert "tensorboardX is missing: install the extra 'tensorboard'" in result.stderr
