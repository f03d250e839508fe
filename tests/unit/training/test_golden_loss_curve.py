"""A small fixed run gives the losses it has always given."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[2] / "golden"
# Vector widths differ from machine to machine, and with them the order of float32 sums.
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def maker():
    return runpy.run_path(str(GOLDEN / "make_loss_curve.py"))


@pytest.fixture(scope="module")
def stored():
    return json.loads((GOLDEN / "loss_curve.json").read_text(encoding="utf-8"))


def differences(found, stored):
    assert found.keys() == stored.keys()
    return [name for name in stored if found[name] != pytest.approx(stored[name], rel=TOLERANCE)]


def test_the_run_gives_the_stored_curve(maker, stored):
    assert differences(maker["loss_curve"](), stored) == []


def test_another_seed_would_be_noticed(maker, stored):
    assert {"train_loss", "test_loss"} <= set(differences(maker["loss_curve"](seed_offset=1), stored))


def test_the_stored_run_learns_something(stored):
    assert stored["train_loss"][-1] < 0.8 * stored["train_loss"][0]
    assert stored["test_accuracy"][-1] > 0.6
    assert min(stored["connections_changed"][1:]) > 50
