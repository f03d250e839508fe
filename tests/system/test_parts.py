"""One network over several ranks from the command line: train, resume, evaluate, plan, and what is refused."""

from __future__ import annotations

import json

STATIC = ("--set", "evolution.strategy=static")


def in_parts(n: int) -> tuple[str, ...]:
    return (*STATIC, "--set", f"parallel.model={n}")


def test_a_network_over_two_ranks_ends_as_on_one_and_is_read_by_all_commands(workplace, run):
    run("train", "run.toml", *STATIC, "--output", "whole", cwd=workplace)
    told = run("train", "run.toml", *in_parts(2), "--output", "parts", ranks=2, cwd=workplace)
    assert "a network in 2 parts" in told.stdout
    results = {}
    for name in ("whole", "parts"):
        checkpoint = f"{name}/checkpoints/checkpoint-000002.h5"
        said = run("evaluate", checkpoint, "data.h5", "--json", cwd=workplace).stdout
        summary = json.loads((workplace / name / "summary.json").read_text())
        kept = ("test_loss", "test_accuracy", "n_connections", "n_parameters", "n_neurons", "density")
        results[name] = (
            [json.loads(said)[key] for key in ("test_loss", "test_accuracy")],
            [summary[key] for key in kept],
        )
        assert summary["ranks_per_network"] == (1 if name == "whole" else 2)
    assert results["whole"] == results["parts"]
    compared = (
        "analyze",
        "overlap",
        "whole/checkpoints/checkpoint-000002.h5",
        "parts/checkpoints/checkpoint-000002.h5",
    )
    assert run(*compared, cwd=workplace).stdout
    run(
        "train",
        "run.toml",
        *STATIC,
        "--set",
        "training.epochs=3",
        "--resume",
        "auto",
        "--output",
        "parts",
        cwd=workplace,
    )


def test_what_ranks_cannot_hold_together_is_refused(workplace, run):
    alone = run("train", "run.toml", *in_parts(2), cwd=workplace, code=2, apart=True)
    assert "parallel.model = 2: not with 1 rank: expected a multiple of 2; start mpirun -n 2" in alone.stderr
    uneven = run("train", "run.toml", *in_parts(2), ranks=3, cwd=workplace, code=2)
    assert uneven.stderr.count("parallel.model = 2: not with 3 ranks") == 1
    many = run("train", "run.toml", *in_parts(4), ranks=4, cwd=workplace, code=2)
    assert many.stderr.count("the output layer has 3 neurons: expected at most 3 parts") == 1
    evolving = run(
        "train", "run.toml", "--set", "parallel.model=2", "--set", "evolution.strategy=cht", cwd=workplace, code=2
    )
    assert 'evolution.strategy = "cht": not with parallel.model = 2' in evolving.stderr + evolving.stdout
    assert not (workplace / "runs").exists()


def test_a_plan_counts_what_parts_take(workplace, run):
    told = run("plan", "run.toml", *in_parts(2), "--ranks", "4", "--json", cwd=workplace).stdout
    plan = json.loads(told)
    assert (plan["ranks"], plan["ranks_per_network"]) == (4, 2)
    assert plan["step_bytes"] > 0
    names = [item["name"] for item in plan["memory"]["items"] if item["group"] == "parts"]
    assert "mirrors of weights, and their states" in names
    assert ", 2 for each network" in run("plan", "run.toml", *in_parts(2), cwd=workplace).stdout
    refused = run("plan", "run.toml", *in_parts(2), "--ranks", "3", cwd=workplace, code=2)
    assert "parallel.model = 2: not with --ranks 3" in refused.stderr + refused.stdout
