"""Runs with a validation part: what they leave, which checkpoint they keep, and how they are resumed."""

from __future__ import annotations

import json
import tomllib

import pytest

from hpc_sparse.cli.train import accuracies
from hpc_sparse.config import RunConfig
from hpc_sparse.errors import ConfigError
from hpc_sparse.models.inspection import describe_checkpoint
from hpc_sparse.monitor.metrics import CLOCK_FIELDS
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs.folder import RunFolder
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run
from hpc_sparse.storage.checkpoint.file import read_checkpoint
from hpc_sparse.storage.checkpoint.folder import checkpoint_epochs, checkpoint_path
from hpc_sparse.storage.dataset.file import read_info
from hpc_sparse.training.objective import balanced_weights

CTX = ParallelContext.serial(threads=1)
CONFIG = """
[data]
path = "data.h5"
validation_fraction = 0.2
[network]
hidden = [24, 17]
epsilon = 4
dropout = 0.1
[training]
epochs = 4
batch_size = 16
[optimizer]
learning_rate = 0.02
[checkpoint]
every_epochs = 1
keep_last = 1
[runtime]
threads = 1
"""


@pytest.fixture
def workplace(tmp_path, write_small_data):
    (tmp_path / "run.toml").write_text(CONFIG)
    write_small_data(tmp_path / "data.h5")
    return tmp_path


def run(workplace, *overrides, name="run", resume=None):
    request = RunRequest(workplace / "run.toml", overrides, workplace / name, resume, is_debug=False)
    return train_run(CTX, request, SilentReporter())


def metrics(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in CLOCK_FIELDS} for line in lines]


def test_the_best_checkpoint_is_kept_by_the_validation_part_and_named_so(workplace):
    summary = run(workplace, "training.epochs=6")
    lines = metrics(workplace / "run")
    accuracy = [line["validation_accuracy"] for line in lines]
    best = 1 + accuracy.index(max(accuracy))
    assert summary["best_validation_epoch"] == best
    assert summary["best_validation_accuracy"] == max(accuracy)
    assert summary["test_accuracy_of_best"] == lines[best - 1]["test_accuracy"]
    assert summary["validation_accuracy"] == accuracy[-1]
    assert summary["validation_loss"] == lines[-1]["validation_loss"]
    assert not {"best_test_accuracy", "best_test_epoch"} & summary.keys()
    assert json.loads((workplace / "run/summary.json").read_text()) == json.loads(json.dumps(summary))
    assert set(checkpoint_epochs(workplace / "run/checkpoints")) == {best, 6}
    last = checkpoint_path(workplace / "run/checkpoints", 6)
    assert read_checkpoint(CTX, last).history_best == (best, max(accuracy))
    about = describe_checkpoint(last)
    assert (about["best_validation_epoch"], about["best_validation_accuracy"]) == (best, max(accuracy))
    assert about["metrics"]["validation_loss"] == lines[-1]["validation_loss"]
    assert f"best on the validation part {max(accuracy):.2%} in epoch {best}, test accuracy" in accuracies(summary)


def test_without_one_everything_that_is_best_is_so_on_the_test_part(workplace):
    summary = run(workplace, "data.validation_fraction=0")
    lines = metrics(workplace / "run")
    assert not [name for line in lines for name in line if "validation" in name]
    assert not [name for name in summary if "validation" in name]
    best = max(line["test_accuracy"] for line in lines)
    assert f"(best on the test part {best:.2%} in epoch {summary['best_test_epoch']})" in accuracies(summary)
    about = describe_checkpoint(checkpoint_path(workplace / "run/checkpoints", 4))
    assert about["best_test_accuracy"] == best
    assert "best_validation_accuracy" not in about


def test_a_summary_without_test_samples_is_told_as_well():
    summary = {"test_accuracy": None, "best_test_accuracy": None, "best_test_epoch": 1, "epochs": 3}
    assert accuracies(summary) == "test accuracy nan% after 3 epochs (best on the test part nan% in epoch 1)"


def test_a_resumed_run_is_bit_by_bit_the_uninterrupted_one(workplace):
    run(workplace, name="whole")
    run(workplace, "training.epochs=2", name="parts")
    run(workplace, name="parts", resume="auto")
    assert metrics(workplace / "whole") == metrics(workplace / "parts")
    states = [read_checkpoint(CTX, checkpoint_path(workplace / name / "checkpoints", 4)) for name in ("whole", "parts")]
    for whole, parts in zip(*(state.layers for state in states), strict=True):
        assert [array.tobytes() for array in whole.arrays().values()] == [
            array.tobytes() for array in parts.arrays().values()
        ]


def test_the_fraction_cannot_change_at_a_resume(workplace):
    run(workplace, "training.epochs=1")
    message = r"data.validation_fraction = 0.3: .* was trained with 0.2; a run can be resumed with the same .* data"
    with pytest.raises(ConfigError, match=message):
        run(workplace, "data.validation_fraction=0.3", resume="auto")


def test_a_checkpoint_from_before_there_was_the_key_has_none_held_out(workplace, monkeypatch):
    to_toml = RunConfig.to_toml
    monkeypatch.setattr(RunConfig, "to_toml", lambda self: to_toml(self).replace("validation_fraction = 0.0\n", ""))
    run(workplace, "training.epochs=2", "data.validation_fraction=0")
    old = checkpoint_path(workplace / "run/checkpoints", 2)
    assert "validation_fraction" not in read_checkpoint(CTX, old).config_text
    with pytest.raises(ConfigError, match=r"data.validation_fraction = 0.2: .* was trained with 0.0"):
        run(workplace, resume="auto")
    run(workplace, "data.validation_fraction=0", resume="auto")
    monkeypatch.undo()
    run(workplace, "data.validation_fraction=0", name="whole")
    assert metrics(workplace / "run") == metrics(workplace / "whole")


def test_a_class_with_too_few_samples_is_refused_before_anything_is_made(workplace):
    with pytest.raises(ConfigError, match=r"data.validation_fraction = 0.001: holds out 0 of the \d+ training samples"):
        run(workplace, "data.validation_fraction=0.001")
    assert not (workplace / "run").exists()


@pytest.mark.parametrize("fraction", ["1", "-0.1", "nan", '"half"'])
def test_a_fraction_that_is_none_is_refused(workplace, fraction):
    with pytest.raises(ConfigError, match=r"data.validation_fraction"):
        run(workplace, f"data.validation_fraction={fraction}")


def test_the_stored_configuration_has_the_fraction(workplace):
    run(workplace, "training.epochs=1")
    config = tomllib.loads(RunFolder(workplace / "run").config.read_text())
    assert config["data"]["validation_fraction"] == 0.2


def test_a_run_ends_when_the_validation_loss_has_not_fallen_for_so_many_epochs(workplace):
    names = ("training.epochs=60", "training.early_stopping=3", "optimizer.learning_rate=0.08")
    summary = run(workplace, *names)
    losses = [line["validation_loss"] for line in metrics(workplace / "run")]
    assert summary["epochs"] == len(losses) < 60
    assert len(losses) - 1 - losses.index(min(losses)) == 3
    assert all(n - losses.index(min(losses[: n + 1])) < 3 for n in range(len(losses) - 1))
    whole = metrics(workplace / "run")
    # Going on changes nothing, and a run that was interrupted ends after the same epoch.
    run(workplace, *names, resume="auto")
    assert metrics(workplace / "run") == whole
    n_before = len(losses) - 2
    run(workplace, f"training.epochs={n_before}", *names[1:], name="parts")
    run(workplace, *names, name="parts", resume="auto")
    assert metrics(workplace / "parts") == whole


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("data.validation_fraction=0",), "early_stopping = 3: needs a validation part"),
        (("parallel.algorithm=wasap",), 'early_stopping = 3: not with parallel.algorithm = "wasap"'),
    ],
)
def test_early_stopping_without_what_it_needs_is_refused(workplace, overrides, message):
    with pytest.raises(ConfigError, match=message):
        run(workplace, "training.early_stopping=3", *overrides)


def test_classes_count_as_their_weights_say(workplace):
    alike = run(workplace, "training.class_weight=[1, 1, 1]", name="alike")
    plain = run(workplace, name="plain")
    assert alike["test_loss"] == pytest.approx(plain["test_loss"], rel=1e-5)
    one_sided = run(workplace, "training.class_weight=[50, 0.01, 0.01]", name="one")
    assert one_sided["test_accuracy"] < plain["test_accuracy"]
    with pytest.raises(ConfigError, match=r"training.class_weight: 2 weights, but .* 3 classes"):
        run(workplace, "training.class_weight=[1, 1]", name="two")
    with pytest.raises(ConfigError, match=r'class_weight: not with training.loss = "mse"'):
        run(workplace, "training.class_weight=balanced", "training.loss=mse", name="mse")


def test_balanced_classes_count_alike_together(workplace):
    run(workplace, "training.class_weight=balanced", name="balanced")
    info = read_info(workplace / "data.h5")
    weights, counts = balanced_weights(info), info.class_counts_train
    assert weights @ counts == pytest.approx(sum(counts))
    assert weights * counts == pytest.approx(weights[0] * counts[0])
