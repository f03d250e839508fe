"""Runs that differ in the seed only are one experiment."""

from __future__ import annotations

import numpy as np

from hpc_sparse.report.groups import differing_settings, group_runs
from hpc_sparse.report.series import band
from hpc_sparse.report.stored_run import read_runs


def test_seeds_are_put_together_and_other_settings_kept_apart(make_run):
    seeds = [make_run(f"set-seed{seed}", 2, f"training.seed={seed}", f"runtime.threads={seed}") for seed in (1, 2, 3)]
    other = make_run("other", 2, "optimizer.learning_rate=0.5")
    groups = group_runs(read_runs([seeds[0], other, *seeds[1:]]))
    assert [group.legend for group in groups] == ["set (3 runs)", "other"]
    differing = differing_settings(groups)
    assert differing["training.seed"] == [[1, 2, 3], [3]]
    assert differing["optimizer.learning_rate"] == [[0.05], [0.5]]
    assert "network.hidden" not in differing


def test_numbered_runs_are_named_after_their_folder_or_their_first(make_run):
    in_folder = [make_run(f"wide/seed-{seed}", 1, f"training.seed={seed}") for seed in (1, 2)]
    assert [group.label for group in group_runs(read_runs(in_folder))] == ["wide"]
    apart = [make_run(name, 1, f"training.seed={seed}") for seed, name in enumerate(("a/one", "b/two"))]
    assert [group.legend for group in group_runs(read_runs(apart))] == ["one and 1 more (2 runs)"]


def test_groups_of_the_same_name_are_told_apart(make_run):
    paths = [
        make_run(f"{width}/seed{seed}", 1, f"training.seed={seed}", f"network.hidden=[{width}]")
        for width in (5, 6)
        for seed in (1, 2)
    ]
    labels = [group.label for group in group_runs(read_runs(paths))]
    assert len(set(labels)) == 2


def test_a_band_is_mean_and_deviation_at_the_common_epochs(make_run):
    runs = read_runs([make_run("a", 3, test_loss=1.0), make_run("b", 2, test_loss=4.0), make_run("c", 0)])
    found = band([run.history for run in runs], lambda metrics: metrics.test_loss)
    assert found.epochs.tolist() == [1, 2]
    assert found.mean.tolist() == [2.5, 2.5]
    np.testing.assert_allclose(found.deviation, np.std([1.0, 4.0], ddof=1))


def test_a_single_run_has_no_deviation_and_none_no_values(make_run):
    (run,) = read_runs([make_run(n_epochs=2)])
    assert band([run.history], lambda metrics: metrics.test_loss).deviation is None
    assert not band([()], lambda metrics: metrics.test_loss).has_values
