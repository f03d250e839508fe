"""Networks to and from other programs, by command."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np


def test_an_exported_network_comes_back_and_scores_the_same(workplace, run):
    run("train", "run.toml", "--output", "run", "--set", "training.epochs=1", cwd=workplace)
    checkpoint = "run/checkpoints/checkpoint-000001.h5"
    exported = json.loads(run("model", "export", checkpoint, "net.npz", "--json", cwd=workplace).stdout)
    run("model", "import", "net.npz", "back.h5", cwd=workplace)
    results = [
        json.loads(run("evaluate", file, "data.h5", "--json", cwd=workplace).stdout) for file in (checkpoint, "back.h5")
    ]
    assert results[0]["test_loss"] == results[1]["test_loss"]
    assert (exported["output"], exported["widths"], exported["epoch"]) == ("net.npz", "30-24-17-3", 1)
    assert "exists already" in run("model", "export", checkpoint, "net.npz", cwd=workplace, code=2).stderr


def test_a_dense_network_is_pruned_and_trained_on(workplace, run):
    rng, widths = np.random.default_rng(0), [30, 24, 17, 3]
    arrays = {}
    for number, (n_in, n_out) in enumerate(pairwise(widths)):
        arrays[f"{number}.weight"] = rng.standard_normal((n_out, n_in)).astype(np.float32) / np.sqrt(n_in)
        arrays[f"{number}.bias"] = np.zeros(n_out, np.float32)
    np.savez(workplace / "dense.npz", **arrays)
    run("model", "import", "dense.npz", "pruned.h5", "--config", "run.toml", cwd=workplace)
    run("train", "run.toml", "--resume", "pruned.h5", "--output", "run", cwd=workplace)
    summary = json.loads((workplace / "run/summary.json").read_text())
    assert summary["epochs"] == 2
    refused = run("model", "import", "dense.npz", "again.h5", cwd=workplace, code=2)
    assert "expected --config" in refused.stderr


def test_a_dense_recurrent_network_keeps_blocks_or_groups_and_is_trained_on(workplace, run):
    rng = np.random.default_rng(0)
    np.savez(workplace / "sequences.npz", x=rng.normal(size=(60, 5, 6)), y=np.arange(60) % 3)
    run("data", "import", "npz", "sequences.npz", "sequences.h5", cwd=workplace)
    shapes = {"rnn.weight_ih_l0": (24, 6), "rnn.weight_hh_l0": (24, 8), "rnn.bias_ih_l0": 24, "rnn.bias_hh_l0": 24}
    shapes |= {"fc.weight": (3, 8), "fc.bias": 3}
    np.savez(workplace / "dense.npz", **{name: rng.normal(size=shape) / 3 for name, shape in shapes.items()})
    for name, keys, n_kept in (
        ("block", 'connections = "block", block = [4, 1]', 4 * (18 + 24) + 12),
        ("n_of_m", 'connections = "n_of_m", pattern = "1:2"', 24 * 3 + 24 * 4 + 12),
    ):
        (workplace / f"{name}.toml").write_text(
            f"""
            data.path = "sequences.h5"
            network = {{ density = 0.5, layers = [{{ kind = "recurrent", n = 8, {keys} }}] }}
            training = {{ epochs = 1, batch_size = 16 }}
            optimizer.learning_rate = 0.1
            evolution.strategy = "static"
            """
        )
        config = ("--config", f"{name}.toml")
        shown = run("model", "import", "dense.npz", f"{name}.h5", *config, "--json", cwd=workplace).stdout
        assert (json.loads(shown)["widths"], json.loads(shown)["connections"]) == ("6-8-3", n_kept)
        run("train", f"{name}.toml", "--resume", f"{name}.h5", "--output", name, cwd=workplace)
        assert json.loads((workplace / name / "summary.json").read_text())["n_connections"] == n_kept
    whole = np.load(workplace / "dense.npz")
    np.savez(workplace / "both.npz", **whole, **{"rnn.weight_ih_l0_reverse": whole["rnn.weight_ih_l0"]})
    refused = run("model", "import", "both.npz", "no.h5", *config, cwd=workplace, code=2).stderr
    assert "rnn.weight_ih_l0_reverse: a second direction: recurrent layers here go forward alone" in refused


def test_a_dense_network_is_pruned_to_a_pattern_and_trained_again(workplace, run):
    dense, pattern = ("--set", "network.density=1.0"), ("--set", "network.connections=n_of_m")
    run("train", "run.toml", "--output", "dense", *dense, cwd=workplace)
    arguments = ("dense/checkpoints/checkpoint-000002.h5", "2:4", "--permute", "channel_swap", "--data", "data.h5")
    shown = run("model", "prune-pattern", *arguments, "--output", "pruned.h5", "--json", cwd=workplace)
    result = json.loads(shown.stdout)
    assert result["sizes"][1]["density"] < 0.6 < result["sizes"][0]["density"]
    again = (*dense, *pattern, "--set", "network.pattern=2:4", "--resume", "pruned.h5")
    run("train", "run.toml", *again, "--output", "again", cwd=workplace)
    found = json.loads(run("info", "again/checkpoints/checkpoint-000002.h5", "--json", cwd=workplace).stdout)
    assert found["n_connections"] == result["sizes"][1]["connections"]
    plan = run("plan", "run.toml", *again[:-2], cwd=workplace).stdout
    assert "positions in groups" in plan
    for option, message in (("4:2", "1 <= N <= M"), ("2:64", "groups of 64 inputs, but the layer has 30")):
        wrong = (arguments[0], option, "--output", "no.h5")
        assert message in run("model", "prune-pattern", *wrong, cwd=workplace, code=2).stderr
        unusable = (*dense, *pattern, "--set", f"network.pattern={option}", "--output", "no")
        refused = run("train", "run.toml", *unusable, cwd=workplace, code=2)
        assert option in refused.stderr
