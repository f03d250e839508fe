"""tools/experiments: plans what is asked for, repeats nothing that is finished, and tells of failures."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, str(ROOT / "tools" / "experiments"))
EXPERIMENTS = ("fashion_mnist", "cifar10", "madelon", "higgs", "leukemia_like", "sarcoma", "arcene")


def planned(run: Any, folder: Path, *arguments: object) -> list[str]:
    return run("paper", *arguments, "--dry-run", cwd=folder, command=COMMAND).stdout.splitlines()


def test_every_experiment_is_planned_with_every_seed_or_fold(run, tmp_path):
    lines = planned(run, tmp_path, "--variants", "sequential,relu", "--seeds", 2)
    for name in EXPERIMENTS:
        n_folds = 5 if name in {"sarcoma", "arcene"} else 1
        of_this = [line for line in lines if f"/jobs/{name}.toml" in line]
        assert len(of_this) == len(set(of_this)) == 2 * 2 * n_folds
        assert sum("network.activation=relu" in line for line in of_this) == 2 * n_folds
        assert all("training.epochs=500" in line for line in of_this)
    assert list(tmp_path.iterdir()) == []


def test_shorter_runs_prune_at_the_same_shares_of_the_run(run, tmp_path):
    (alone,) = planned(run, tmp_path, "madelon", "--variants", "pruned", "--seeds", 1, "--epochs", 100)
    options = ("--seeds", 1, "--ranks", 4)
    (ranks,) = planned(run, tmp_path, "madelon", "--variants", "wassp_released", *options)
    for line, start, schedule in ((alone, "hpc-sparse", (40, 2, 50, 20)), (ranks, "mpirun -n 4", (200, 20, 500, 10))):
        assert line.startswith(start)
        for key, value in zip(("after_epoch", "every_epochs", "until_epoch", "percentile"), schedule, strict=True):
            assert f"importance_pruning.{key}={value} " in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["paper", "mnist"], "mnist: unknown experiment"),
        (["paper", "--variants", "fast"], "fast: unknown variant"),
        (["feature-selection", "mnist"], "mnist: unknown data set"),
        (["paper", "--output", "no/where.md", "--dry-run"], "no such folder"),
        (["run.toml", "--variant", "two ranks training.epochs=1"], "expected 'NAME: RANKS"),
    ],
)
def test_a_wrong_command_line_is_named(run, workplace, arguments, message):
    result = run(*arguments, cwd=workplace, command=COMMAND, code=2)
    words = " ".join(result.stderr.replace("│", " ").split())
    assert message in words


def test_waiting_and_evaluation_within_the_time_of_a_serving_rank_count_once(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    from studies.runs import Result

    times = {"train_seconds": 8.0, "sync_seconds": 3.0, "evolve_seconds": 1.0, "evaluate_seconds": 2.0}
    served, alone = ({**times, "staleness_counts": counts} for counts in ([5], []))
    result = Result(0, {}, [served, served, alone])
    assert result.seconds_per_epoch == 9
    assert result.seconds_in_all == 9 + 9 + 14


def test_features_are_selected_by_the_training_samples_alone(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    from studies import feature_selection as selection

    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 120)).astype(np.float32), np.arange(60) % 2
    seen = []

    def rank(X_seen, y_seen, seed):
        seen.append((X_seen, y_seen, seed))
        return selection.best_first(np.where(np.arange(120) == 7, np.nan, np.arange(120)))

    task = selection.SelectionTask("")
    monkeypatch.setattr(selection, "RANKERS", {"all features": rank, "f_classif": rank})
    outcomes = {}
    for number, (train, test) in enumerate(selection.folds(y)):
        selection.run_fold(task, selection.scaled(X, train), y, train, test, number, outcomes)
        assert not set(train) & set(test)
        np.testing.assert_allclose(seen[-1][0], (X[train] - X[train].mean(0)) / X[train].std(0), rtol=1e-3, atol=1e-4)
        assert np.array_equal(seen[-1][1], y[train])
    assert [seed for *_, seed in seen] == [number for number in range(5) for _ in range(2)]
    assert {key: len(values) for key, values in outcomes["f_classif"].scores.items()} == {
        (name, count): 5 for name in ("linear SVM", "5-NN") for count in (10, 20, 50, 100)
    }
    lines = selection.section("random", task, X.shape, outcomes)
    assert [line.count("|") for line in lines[2:-1]] == [11] * 4


def test_a_configuration_is_repeated_and_finished_runs_are_not(run, workplace):
    arguments = ("run.toml", "--variant", "one: 1 training.epochs=2")
    options = ("--seeds", 2, "--runs", "runs", "--output", "table.md")
    run(*arguments, *options, cwd=workplace, command=COMMAND)
    table = (workplace / "table.md").read_text()
    summaries = sorted((workplace / "runs").rglob("summary.json"))
    assert len(summaries) == 2
    for summary in summaries:
        assert f"{100 * json.loads(summary.read_text())['test_accuracy']:.2f}" in table
    before = [summary.stat().st_mtime_ns for summary in summaries]
    run(*arguments, *options, cwd=workplace, command=COMMAND)
    assert [summary.stat().st_mtime_ns for summary in summaries] == before
    assert [line for line in (workplace / "table.md").read_text().splitlines() if line.startswith("| ")] == [
        line for line in table.splitlines() if line.startswith("| ")
    ]
    other = ("run.toml", "--variant", "one: 1 training.epochs=3", "--seeds", 1, "--runs", "runs")
    assert "other settings" in run(*other, cwd=workplace, command=COMMAND, code=2).stderr


def test_a_failed_run_is_told_and_does_not_stop_the_others(run, workplace):
    variants = ("--variant", "bad: 1 optimizer.learning_rate=1e30", "--variant", "two ranks: 2 training.epochs=1")
    options = ("--seeds", 1, "--runs", "runs", "--output", "table.md")
    result = run("run.toml", *variants, *options, cwd=workplace, command=COMMAND, code=1)
    assert "failed with exit code 3" in result.stderr
    table = (workplace / "table.md").read_text()
    assert "| bad | 1 of 1 runs failed |" in table
    assert "| two ranks | " in table
    assert "| 2 x " in table


@pytest.fixture
def small_study(monkeypatch, tmp_path):
    """The comparison of strategies, with runs that take no time: a study, and its log."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    from studies import strategies

    done = []

    def result_of(run):
        done.append(run)
        run.folder.mkdir(parents=True)
        settings = dict(setting.split("=") for setting in run.settings)
        gain = 0.04 if settings["evolution.strategy"] == "rigl" else 0.0
        accuracy = 0.5 + float(settings["network.density"]) + 0.1 * run.group + gain * (1 + run.group)
        summary = {"test_accuracy": accuracy, "n_connections": 1000, "n_threads": 2}
        seconds = 3.0 if gain else 2.0
        epoch = {"train_seconds": seconds, "sync_seconds": 0.0, "evolve_seconds": 0.0}
        return strategies.Result(run.group, summary, [epoch])

    monkeypatch.setattr(strategies, "result_of", result_of)
    monkeypatch.setattr(strategies, "make_data_set", lambda *_: None)

    def make(**changes):
        settings = {"n_seeds": 2, "n_epochs": 5, "n_threads": 1} | changes
        return strategies.Study(["madelon"], [0.05, 0.01], ["set", "rigl"], runs=tmp_path / "runs", **settings)

    return strategies, make, done


def test_strategies_are_compared_seed_by_seed_and_finished_runs_are_kept(small_study, tmp_path):
    strategies, make, done = small_study
    study, path = make(), tmp_path / "table.jsonl"
    for _ in zip(range(5), strategies.do_missing(study, study.open_log(path)), strict=False):
        pass
    assert [run.group for run in done] == [0, 0, 0, 0, 1]
    assert not any((tmp_path / "runs").iterdir())
    with path.open("a") as file:
        file.write('{"data": "made')  # a process that was killed
    log = study.open_log(path)
    assert all(strategies.do_missing(study, log))
    assert len(done) == 8
    assert len(path.read_text().splitlines()) == 8
    rows = [line for line in strategies.report(study, log) if line.startswith("| 0.")]
    assert rows[1] == "| 0.05 | `rigl` | 66.00 ± 9.90 | 59.00, 73.00 | +6.00 ± 2.83 | 3 | 1.50 | 1,000 |"
    assert len(rows) == 4


def test_results_with_other_settings_are_not_mixed(small_study, tmp_path):
    strategies, make, _ = small_study
    path = tmp_path / "table.jsonl"
    assert all(strategies.do_missing(make(), make().open_log(path)))
    with pytest.raises(Exception, match="2"):
        make(n_epochs=6).open_log(path)


def test_every_setting_of_the_comparison_is_one_that_training_takes(small_study):
    from hpc_sparse.config import load_config

    strategies, make, _ = small_study
    for name in strategies.STRATEGIES:
        run = make().planned({"data": "madelon", "density": 0.01, "strategy": name, "seed": 3})
        config = load_config(run.config, run.settings)
        strategy = name.removesuffix("_zero").removesuffix("_fan_in")
        assert (config.evolution.strategy, config.network.density, config.training.seed) == (strategy, 0.01, 3)
