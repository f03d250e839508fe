"""Strengths of neurons, and where they are shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from hpc_sparse.errors import ConfigError
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.report.image_shape import ImageShape, guess_image_shape, parse_image_shape
from hpc_sparse.report.make import ReportRequest, make_report
from hpc_sparse.report.neurons import as_picture
from hpc_sparse.report.stored_run import read_runs
from hpc_sparse.report.strengths import read_strengths, spread, strengths_of
from hpc_sparse.report.tables import inputs_table
from hpc_sparse.storage.checkpoint.file import read_checkpoint
from hpc_sparse.storage.checkpoint.front_end import MEAN
from hpc_sparse.storage.dataset.samples import DenseFeatures, Samples
from hpc_sparse.storage.dataset.writer import write_dataset

CTX = ParallelContext.serial(threads=1)


def dense_weights(layer):
    structure = layer.connections["input"].structure
    values = (layer.parameters["weight"].astype(float), structure["indices"], structure["indptr"])
    return scipy.sparse.csr_array(values, layer.shape).toarray()


def test_strengths_are_sums_of_absolute_weights(make_run, add_checkpoint):
    checkpoint = read_checkpoint(CTX, add_checkpoint(make_run(), 2), "serial")
    found = strengths_of(checkpoint)
    dense = [np.abs(dense_weights(layer)) for layer in checkpoint.layers]
    np.testing.assert_allclose(found.inputs, dense[0].sum(axis=0))
    for strength, matrix in zip(found.hidden, dense[:-1], strict=True):
        np.testing.assert_allclose(strength, matrix.sum(axis=1))
    assert (len(found.hidden), found.hidden[0][0], found.has_lost_inputs) == (2, 0, False)


def test_removed_inputs_have_no_strength(make_run, add_checkpoint):
    checkpoint = read_checkpoint(CTX, add_checkpoint(make_run(), 2), "serial")
    ids = np.arange(0, 200, 2, dtype=np.int32)
    pruned = replace(checkpoint, neuron_ids=(ids, None, None, None), front_end={MEAN: np.zeros(200, np.float32)})
    found = strengths_of(pruned)
    assert found.has_lost_inputs
    assert np.isnan(found.inputs[1::2]).all()
    np.testing.assert_array_equal(found.inputs[::2], strengths_of(checkpoint).inputs)


def test_a_damaged_checkpoint_is_named_and_the_others_shown(make_run, add_checkpoint):
    path = make_run()
    add_checkpoint(path, 1)
    add_checkpoint(path, 3)
    broken = add_checkpoint(path, 2)
    broken.write_bytes(broken.read_bytes()[:500])
    series, problems = read_strengths(read_runs([path])[0])
    assert [each.epoch for each in series] == [1, 3]
    assert len(problems) == 1
    assert str(broken) in problems[0]


def test_of_many_checkpoints_first_last_and_some_between_are_shown():
    paths = [Path(str(number)) for number in range(20)]
    assert spread(paths[:3], 3) == paths[:3]
    assert [int(path.name) for path in spread(paths, 4)] == [0, 6, 13, 19]


def test_pixels_lie_row_by_row_and_colours_add_up():
    inputs = np.array([1.0, 2.0, 3.0, 4.0, np.nan, 6.0, np.nan, np.nan])
    picture = as_picture(inputs, ImageShape(2, 2, 2))
    np.testing.assert_array_equal(picture, [[3, 7], [6, np.nan]])
    np.testing.assert_array_equal(as_picture(np.arange(6.0), ImageShape(2, 3)), [[0, 1, 2], [3, 4, 5]])


def test_only_bytes_of_square_images_are_taken_for_images(make_dataset):
    info = replace(make_dataset(kind="uint8").info, n_features=784)
    assert guess_image_shape(info) == ImageShape(28, 28)
    assert guess_image_shape(replace(info, n_features=3072)) == ImageShape(32, 32, 3)
    assert guess_image_shape(replace(info, n_features=785)) is None
    assert guess_image_shape(replace(info, n_features=9)) is None
    assert guess_image_shape(replace(info, dtype="float32")) is None
    assert guess_image_shape(replace(info, is_sparse=True)) is None


def test_a_shape_is_read_as_people_write_it():
    assert parse_image_shape("20x30") == ImageShape(20, 30)
    assert str(parse_image_shape("32x32x3")) == "32 x 32 x 3"
    assert parse_image_shape("none") is None
    for wrong in ("28", "0x5", "28x", "axb", "28x28x3x1", ""):
        with pytest.raises(ConfigError, match="--image-shape"):
            parse_image_shape(wrong)


def test_the_strongest_inputs_are_named(make_run, add_checkpoint):
    run = make_run()
    checkpoint = read_checkpoint(CTX, add_checkpoint(run, 2), "serial")
    strengths = strengths_of(replace(checkpoint, neuron_ids=(np.arange(0, 200, 2, dtype=np.int32), None, None, None)))
    table = inputs_table(read_runs([run])[0], strengths, [f"gene {number}" for number in range(200)])
    order = np.argsort(-np.nan_to_num(strengths.inputs, nan=-1.0), kind="stable")[:20]
    assert [row[0] for row in table.rows] == [f"gene {number}" for number in order]
    assert [int(row[1]) for row in table.rows] == order.tolist()
    assert table.headings[0] == "strongest inputs of run, epoch 2"
    np.testing.assert_allclose([float(row[2]) for row in table.rows], strengths.inputs[order], rtol=0.01)


@pytest.mark.parametrize("names", [tuple(f"gene {number}" for number in range(100)), None])
@pytest.mark.usefixtures("quick_pictures")
def test_the_page_names_inputs_if_the_data_set_does(make_run, add_checkpoint, tmp_path, names):
    samples = Samples(DenseFeatures(np.ones((3, 100), np.float32)), np.arange(3, dtype=np.int32))
    run = make_run()
    add_checkpoint(run, 2)
    path = run / read_runs([run])[0].config.data.path
    write_dataset(path, samples, samples, title="", class_names=tuple("abc"), feature_names=names)
    page = make_report(ReportRequest((run,), output=tmp_path / "report"))[0].read_text()
    assert ("strongest inputs of run, epoch 2" in page) == ("gene " in page) == (names is not None)
