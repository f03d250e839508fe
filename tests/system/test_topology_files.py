"""Runs whose first layer has the pairs of a file: genes and their pathways."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hpc_sparse.storage.checkpoint.file import read_replicas
from hpc_sparse.storage.dataset.samples import DenseFeatures, Samples
from hpc_sparse.storage.dataset.writer import write_dataset

GENES = [f"gene_{number}" for number in range(12)]
PAIRS = [(gene, f"pathway_{number % 5}") for number, gene in enumerate(GENES * 2)]
FILE = ("--set", "network.initial_topology=file:pathways.csv", "--set", "network.hidden=[5, 17]")
STATIC = ("--set", "evolution.strategy=static")


def table(pairs):
    return "".join(f"{gene}\t{pathway}\n" for gene, pathway in [("feature", "group"), *pairs])


@pytest.fixture
def genes(workplace):
    """The workplace with genes as features, and their pathways."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, len(GENES)))

    def samples(n):
        labels = (np.arange(n) % 3).astype(np.int32)
        return Samples(DenseFeatures((centres[labels] + rng.normal(size=(n, 12))).astype(np.float32)), labels)

    parts = samples(120), samples(60)
    names = ["a", "b", "c"]
    (workplace / "data.h5").unlink()
    write_dataset(workplace / "data.h5", *parts, title="genes", class_names=names, feature_names=GENES)
    (workplace / "pathways.csv").write_text(table(PAIRS))
    return workplace


def first_layer(folder, epoch=2):
    """Pairs of genes and pathways that are connected in a checkpoint."""
    (checkpoint,) = read_replicas(folder / "checkpoints" / f"checkpoint-{epoch:06}.h5")
    structure = checkpoint.layers[0].connections["input"].structure
    rows = np.repeat(np.arange(5), np.diff(structure["indptr"]))
    return {(GENES[gene], f"pathway_{row}") for row, gene in zip(rows, structure["indices"], strict=True)}


@pytest.mark.parametrize(
    ("strategy", "stays"),
    [
        (("evolution.strategy=static",), True),
        (("evolution.strategy=static", "evolution.static.acting_share=0.5"), True),
        (("evolution.strategy=set",), False),
    ],
)
def test_the_pairs_stay_or_evolve(genes, run, strategy, stays):
    keys = [word for key in strategy for word in ("--set", key)]
    run("train", "run.toml", *FILE, *keys, "--output", "run", cwd=genes)
    found = first_layer(genes / "run")
    assert (found == set(PAIRS)) == stays
    assert len(found) == len(PAIRS)
    summary = json.loads((genes / "run" / "summary.json").read_text())
    assert summary["initial_topologies"] == ["file:pathways.csv", "erdos_renyi"]
    (file,) = summary["topology_files"]
    assert (file["features"], file["groups"], file["connections"]) == (12, 5, 24)


def test_a_run_goes_on_without_the_file(genes, run):
    settings = (*FILE, *STATIC)
    run("train", "run.toml", *settings, "--set", "training.epochs=3", "--output", "whole", cwd=genes)
    run("train", "run.toml", *settings, "--output", "run", cwd=genes)
    (genes / "pathways.csv").unlink()
    again = (*settings, "--set", "training.epochs=3", "--resume", "auto", "--output", "run")
    run("train", "run.toml", *again, cwd=genes)
    assert first_layer(genes / "run", 3) == set(PAIRS)
    whole, resumed = (read_replicas(genes / name / "checkpoints" / "checkpoint-000003.h5") for name in ("whole", "run"))
    for one, other in zip(whole[0].layers, resumed[0].layers, strict=True):
        for name, array in one.arrays().items():
            np.testing.assert_array_equal(array, other.arrays()[name])


def test_a_plan_counts_the_pairs_of_the_file(genes, run):
    plan = json.loads(run("plan", "run.toml", *FILE, "--json", cwd=genes).stdout)
    assert plan["initial_topologies"] == ["file:pathways.csv", "erdos_renyi"]
    assert plan["layers"][0]["n_connections"] == len(PAIRS)
    assert plan["topology_files"][0]["path"] == "pathways.csv"
    told = run("plan", "run.toml", *FILE, cwd=genes).stdout
    assert "layer 0 from pathways.csv: 24 connections of 12 features to 5 groups" in told


@pytest.mark.parametrize(
    ("pairs", "keys", "said"),
    [
        ([*PAIRS, PAIRS[0]], (), 'line 26: feature "gene_0" in group "pathway_0" is there twice; first at line 2'),
        (
            [*PAIRS, ("MYC", "pathway_0")],
            (),
            'line 26: feature "MYC" is not among the 12 of the data, such as "gene',
        ),
        (PAIRS[:11], (), 'feature "gene_11" is in no group: give each one, leave it out of the data, or network.ungr'),
        (PAIRS, ("network.hidden=[6, 17]",), "network.hidden = [6, 17]: expected 5 neurons in layer 0, one for each"),
        (
            PAIRS,
            ("network.initial_topology=file:gone.csv",),
            'network.initial_topology = "file:gone.csv": no such fi',
        ),
        (None, (), 'pathways.csv: line 1: "a;b": expected the columns feature and group'),
    ],
)
@pytest.mark.parametrize("command", ["train", "plan"])
def test_a_wrong_file_is_one_message(genes, run, pairs, keys, said, command):
    (genes / "pathways.csv").write_text("a;b\n1;2\n" if pairs is None else table(pairs))
    more = [word for key in keys for word in ("--set", key)]
    told = run(command, "run.toml", *FILE, *more, cwd=genes, code=2)
    lines = (told.stdout + told.stderr).strip().splitlines()
    assert len(lines) == 1, lines
    assert said in lines[0]
    assert not (genes / "runs").exists()


def test_ranks_get_the_pairs_from_root_and_fail_together(genes, run):
    ranks = ("train", "run.toml", *FILE, *STATIC)
    run(*ranks, "--output", "two", ranks=2, cwd=genes)
    assert first_layer(genes / "two") == set(PAIRS)
    (genes / "pathways.csv").write_text(table(PAIRS[:11]))
    told = run(*ranks, "--output", "none", ranks=2, cwd=genes, code=2)
    assert (told.stdout + told.stderr).count('feature "gene_11" is in no group') == 1
    kept = ("--set", "network.ungrouped_features=keep")
    run("plan", "run.toml", *FILE, *kept, cwd=genes)
