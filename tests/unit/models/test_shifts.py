"""Consistency under shifts, against outputs of images that are shifted by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from typer.testing import CliRunner

import hpc_sparse
from hpc_sparse.cli.app import app
from hpc_sparse.config import parse_config
from hpc_sparse.errors import DataError
from hpc_sparse.models.shifts import measure_shifts, shifted
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import write_checkpoint
from hpc_sparse.storage.checkpoint.front_end import statistics_arrays
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.storage.dataset.file import load_dataset
from hpc_sparse.storage.dataset.samples import DenseFeatures, Samples
from hpc_sparse.storage.dataset.writer import write_dataset
from hpc_sparse.training.replica_states import initial_replica, replica_to_states

CTX = ParallelContext.serial(threads=1)
ROWS, COLUMNS = 4, 6
CONFIG = """
data.path = "images.h5"
training.epochs = 1
[network]
density = 0.7
activation = "relu"
[[network.layers]]
kind = "convolution"
n = 7
image = [4, 6]
sampling = "{0}"
pool = "average"
"""


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    parts = [
        Samples(
            DenseFeatures(rng.integers(0, 256, (n, ROWS * COLUMNS)).astype(np.uint8)), np.arange(n, dtype=np.int32) % 3
        )
        for n in (40, 21)
    ]
    write_dataset(tmp_path / "images.h5", *parts, title="noise", class_names=["a", "b", "c"])
    dataset = load_dataset(CTX, tmp_path / "images.h5")
    for sampling in ("stride", "polyphase"):
        config = parse_config(CONFIG.format(sampling), "test")
        layers = replica_to_states(initial_replica(config, dataset.info))
        statistics = statistics_arrays(dataset.mean, dataset.deviation)
        state = Checkpoint(config.to_toml(), 0, 0, 1, layers, {}, None, front_end=statistics)
        write_checkpoint(CTX, tmp_path / f"{sampling}.h5", state, "serial")
    return tmp_path


@pytest.mark.parametrize("sampling", ["stride", "polyphase"])
def test_shares_are_those_of_shifts_by_hand(files, sampling):
    checkpoint, dataset = files / f"{sampling}.h5", files / "images.h5"
    report, model = measure_shifts(CTX, checkpoint, dataset, 17), hpc_sparse.load_model(checkpoint)
    images = load_dataset(CTX, dataset).test.features.values[:17].reshape(-1, ROWS, COLUMNS, 1)
    before = model.weighted_sums(images)
    ranges = {"circular": (range(-2, 2), range(-3, 3)), "cropped": (range(-1, 2), range(-1, 2))}
    for record, (kind, (downs, rights)) in zip(report["kinds"], ranges.items(), strict=True):
        moved = np.array([model.weighted_sums(shifted(images, *by, kind)) for by in product(downs, rights)])
        classes = moved.argmax(axis=2)
        pairs = np.mean(classes[:, None] == classes[None])
        assert (record["shifts"], record["number"]) == (kind, len(downs) * len(rights))
        np.testing.assert_allclose(record["consistency"], pairs)
        np.testing.assert_allclose(record["same_bits"], (moved == before).all(axis=2).mean())
        share = (classes == before.argmax(axis=1)).mean(axis=1).reshape(len(downs), len(rights))
        np.testing.assert_allclose(report["agreement"][kind]["share"], share)
    assert (report["kinds"][0]["same_bits"] == 1.0) == (sampling == "polyphase")
    assert report["images"] == 17


def test_what_enters_a_cropped_image_are_copies_of_its_edge():
    image = np.arange(12).reshape(1, 3, 4, 1)
    np.testing.assert_array_equal(shifted(image, 1, 0, "cropped")[0, :, :, 0], np.arange(12).reshape(3, 4)[[0, 0, 1]])
    np.testing.assert_array_equal(
        shifted(image, 0, -2, "cropped")[0, :, :, 0], np.arange(12).reshape(3, 4)[:, [2, 3, 3, 3]]
    )
    np.testing.assert_array_equal(shifted(image, 1, -1, "circular"), np.roll(image, (1, -1), (1, 2)))


def test_the_command_shows_and_draws_them(files):
    arguments = ["analyze", "shifts", str(files / "stride.h5"), str(files / "images.h5"), "--largest", "1"]
    result = CliRunner().invoke(app, [*arguments, "--picture", str(files / "shifts.png")])
    assert result.exit_code == 0, result.output
    assert "circular" in result.output
    assert (files / "shifts.png").read_bytes()[:4] == b"\x89PNG"


def test_a_network_without_images_is_refused(files, write_small_data, make_config):
    dataset, config = load_dataset(CTX, write_small_data(files / "small.h5")), make_config()
    layers = replica_to_states(initial_replica(config, dataset.info))
    statistics = statistics_arrays(dataset.mean, dataset.deviation)
    state = Checkpoint(config.to_toml(), 0, 0, 1, layers, {}, None, front_end=statistics)
    write_checkpoint(CTX, files / "plain.h5", state, "serial")
    with pytest.raises(DataError, match=r"plain\.h5: layers read no images: expected a network with convolutions"):
        measure_shifts(CTX, files / "plain.h5", files / "small.h5")
