"""The run folder: never overwritten, and its history always that of the checkpoint."""

from __future__ import annotations

import dataclasses
import json
import math
import re

import pytest

from hpc_sparse.errors import FileFormatError, OutputError
from hpc_sparse.monitor.metrics import EpochMetrics
from hpc_sparse.runs.folder import RunFolder, replace_text


def make_metrics(epoch):
    return EpochMetrics(epoch, 0.1 + 0.2, 0.5, 1 / 3, 0.7, 100, 5, 1.0, 0.1, 0.0, 0, 0.2, 0.01)


def make_folder(path, n_epochs=5):
    folder = RunFolder(path)
    folder.create("[data]\n")
    for epoch in range(1, n_epochs + 1):
        folder.append(make_metrics(epoch))
    return folder


def test_a_new_folder_holds_the_configuration_and_empty_metrics(tmp_path):
    folder = RunFolder(tmp_path / "a" / "b")
    folder.check_unused()
    assert not folder.path.exists()
    folder.create("[data]\n")
    assert folder.config.read_text(encoding="utf-8") == "[data]\n"
    assert folder.metrics.read_text(encoding="utf-8") == ""
    assert folder.checkpoints.is_dir()


@pytest.mark.parametrize("name", ["config.toml", "metrics.jsonl", "summary.json", "checkpoints"])
def test_a_used_folder_is_refused(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(OutputError, match=rf"{re.escape(str(tmp_path))}: holds a run already; choose another --output"):
        RunFolder(tmp_path).check_unused()


def test_a_folder_with_other_things_may_be_used(tmp_path):
    (tmp_path / "notes.txt").touch()
    RunFolder(tmp_path).check_unused()


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=re.escape(str(tmp_path / "file"))):
        RunFolder(tmp_path / "file" / "run").check_unused()
    with pytest.raises(OutputError, match=re.escape(str(tmp_path / "file" / "run"))):
        RunFolder(tmp_path / "file" / "run").create("")


def test_history_reads_back_exactly_up_to_the_checkpoint(tmp_path):
    folder = make_folder(tmp_path)
    text = folder.metrics.read_text(encoding="utf-8")
    for n_epochs in (0, 3, 5):
        assert folder.history(n_epochs) == [make_metrics(epoch) for epoch in range(1, n_epochs + 1)]
    assert folder.metrics.read_text(encoding="utf-8") == text


def test_history_is_cut_to_the_checkpoint_and_goes_on_from_there(tmp_path):
    folder = make_folder(tmp_path)
    folder.replace_history(folder.history(3))
    folder.append(make_metrics(4))
    lines = folder.metrics.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3, 4]
    assert folder.history(4) == [make_metrics(epoch) for epoch in (1, 2, 3, 4)]


def test_a_line_that_is_half_written_after_the_checkpoint_does_no_harm(tmp_path):
    folder = make_folder(tmp_path, 3)
    with folder.metrics.open("a", encoding="utf-8") as file:
        file.write('{"epoch": 4, "train_lo')
    folder.replace_history(folder.history(3))
    assert folder.metrics.read_text(encoding="utf-8").endswith("}\n")


def test_an_accuracy_of_no_samples_survives_being_stored(tmp_path):
    folder = make_folder(tmp_path, 0)
    folder.append(dataclasses.replace(make_metrics(1), test_accuracy=math.nan, test_loss=math.nan))
    assert json.loads(folder.metrics.read_text(encoding="utf-8"))["test_accuracy"] is None
    (metrics,) = folder.history(1)
    assert math.isnan(metrics.test_accuracy)
    assert metrics.train_loss == make_metrics(1).train_loss


@pytest.mark.parametrize("damaged", ["{", "[]", "3", '{"epoch": 2}', '{"epoch": 2, "other": 1}', ""])
def test_a_damaged_line_is_named(tmp_path, damaged):
    folder = make_folder(tmp_path)
    lines = folder.metrics.read_text(encoding="utf-8").splitlines()
    lines[1] = damaged
    text = "\n".join(lines) + "\n"
    folder.metrics.write_text(text, encoding="utf-8")
    with pytest.raises(FileFormatError, match=r"metrics\.jsonl, line 2: not the metrics of an epoch"):
        folder.history(4)
    assert folder.metrics.read_text(encoding="utf-8") == text


def test_metrics_that_are_no_text_are_named(tmp_path):
    folder = make_folder(tmp_path)
    folder.metrics.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileFormatError, match=r"metrics\.jsonl, line 1: not the metrics of an epoch"):
        folder.history(2)


@pytest.mark.parametrize("missing", [2, 3, 5])
def test_missing_epochs_are_told(tmp_path, missing):
    folder = make_folder(tmp_path)
    lines = folder.metrics.read_text(encoding="utf-8").splitlines(keepends=True)
    del lines[missing - 1]
    folder.metrics.write_text("".join(lines), encoding="utf-8")
    with pytest.raises(FileFormatError, match="expected the epochs up to 5 that the checkpoint has behind it"):
        folder.history(5)


def test_a_run_whose_first_epochs_are_elsewhere_has_the_later_ones(tmp_path):
    folder = make_folder(tmp_path)
    folder.replace_history(folder.history(5)[2:])
    assert [metrics.epoch for metrics in folder.history(4)] == [3, 4]
    folder.replace_history([])
    assert folder.history(4) == []


def test_a_run_has_only_begun_until_there_is_a_checkpoint_or_an_end(tmp_path):
    assert not RunFolder(tmp_path).has_only_begun()
    folder = make_folder(tmp_path)
    assert folder.has_only_begun()
    folder.write_summary({})
    assert not folder.has_only_begun()


def test_a_summary_is_json(tmp_path):
    folder = make_folder(tmp_path)
    folder.write_summary({"test_accuracy": 0.5})
    assert json.loads(folder.summary.read_text(encoding="utf-8")) == {"test_accuracy": 0.5}


def test_text_is_replaced_without_a_trace(tmp_path):
    for text in ("one", "ä two"):
        replace_text(tmp_path / "a.txt", text)
        assert (tmp_path / "a.txt").read_text(encoding="utf-8") == text
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
