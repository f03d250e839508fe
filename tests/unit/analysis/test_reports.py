"""What the commands tell, and that it can be drawn."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpc_sparse.analysis import pictures, reports
from hpc_sparse.errors import InputError, MachineError, OutputError
from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import write_checkpoint
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.storage.dataset.samples import DenseFeatures, Samples
from hpc_sparse.storage.dataset.writer import write_dataset

WIDTHS = (17, 23, 11, 4)
PNG = b"\x89PNG"


@pytest.fixture
def write_network(tmp_path: Path, to_topologies) -> Callable[..., Path]:
    """Write a checkpoint of an epoch from dense masks."""

    def write(masks: list[np.ndarray], epoch: int) -> Path:
        layers = tuple(
            LayerState.sparse(
                topology.shape,
                "relu",
                topology.indptr,
                topology.indices,
                *(np.ones(n, np.float32) for n in (topology.n_connections, topology.shape[0])),
                *(np.zeros(n, np.float32) for n in (topology.n_connections, topology.shape[0])),
            )
            for topology in to_topologies(masks)
        )
        path = tmp_path / f"epoch-{epoch}.h5"
        write_checkpoint(ParallelContext.serial(threads=1), path, Checkpoint("", epoch, epoch, 1, layers, {}, None))
        return path

    return write


@pytest.fixture
def series(write_network, make_masks) -> list[Path]:
    """Three checkpoints whose last layer is dense."""
    masks = [[*make_masks(WIDTHS[:-1], 0.3, seed), np.ones(WIDTHS[-2:], np.int64)] for seed in (1, 2, 3)]
    return [write_network(layers, epoch) for epoch, layers in zip((2, 5, 9), masks, strict=True)]


def draw(function: Callable, report: reports.Report, folder: Path) -> bytes:
    pictures.check_picture(folder / "picture.png")
    pictures.write_picture(function, report, folder / "picture.png")
    return (folder / "picture.png").read_bytes()


def test_distances_are_told_by_pair_and_layer(series, tmp_path):
    report = reports.report_distances(ParallelContext.serial(threads=1), series, None, 2048)
    assert [each["epoch"] for each in report["networks"]] == [2, 5, 9]
    assert [(each["first"], each["second"]) for each in report["distances"]] == [(0, 1), (0, 2), (1, 2)]
    for record in report["distances"]:
        layers = [record[f"layer_{number}"] for number in (1, 2, 3)]
        assert layers[2] == 0
        assert record["mean"] == pytest.approx(np.mean(layers))
        assert record["mean_without_last"] == pytest.approx(np.mean(layers[:2]))
    assert draw(pictures.draw_distances, report, tmp_path).startswith(PNG)


def test_the_distance_of_one_pair_is_drawn_by_layer(series, tmp_path):
    report = reports.report_distances(ParallelContext.serial(threads=1), series[:2], None, 0)
    assert draw(pictures.draw_distances, report, tmp_path).startswith(PNG)


def test_overlap_is_told_in_the_order_of_epochs_and_without_dense_layers(series, tmp_path, make_masks):
    report = reports.report_overlap([series[2], series[0], series[1]], None)
    assert [each["epoch"] for each in report["sparse_layers"]] == [2, 5, 9]
    masks = [make_masks(WIDTHS[:-1], 0.3, seed) for seed in (1, 2, 3)]
    flat = [np.concatenate([mask.ravel() for mask in layers]).astype(bool) for layers in masks]
    seen = np.zeros_like(flat[0])
    for number, record in enumerate(report["sparse_layers"]):
        seen |= flat[number]
        assert record["connections"] == flat[number].sum()
        assert record["overlap_with_last"] == pytest.approx((flat[number] & flat[2]).sum() / flat[2].sum())
        assert record["iou_with_last"] == pytest.approx((flat[number] & flat[2]).sum() / (flat[number] | flat[2]).sum())
        assert record["explored"] == pytest.approx(seen.mean())
        if number:
            before, now = flat[number - 1 : number + 1]
            assert record["iou_with_previous"] == pytest.approx((before & now).sum() / (before | now).sum())
    assert report["sparse_layers"][0]["iou_with_previous"] is None
    dense = [record for record in report["by_layer"] if record["layer"] == 3]
    assert [record["explored"] for record in dense] == [1, 1, 1]
    assert len(report["by_layer"]) == 9
    assert draw(pictures.draw_overlap, report, tmp_path).startswith(PNG)


def test_degrees_are_told_with_whole_distributions(series, tmp_path, make_masks):
    report = reports.report_degrees(series[0], None)
    (mask, _) = make_masks(WIDTHS[:-1], 0.3, 1)
    first = report["degrees"][0]
    assert (first["layer"], first["direction"], first["neurons"]) == (1, "in", 23)
    assert first["mean"] == pytest.approx(mask.sum(axis=0).mean())
    assert first["unconnected"] == (mask.sum(axis=0) == 0).sum()
    for record in report["distributions"]:
        assert len(record["counts"]) == len(record["expected"])
        assert sum(record["counts"]) == pytest.approx(sum(record["expected"]), rel=0.01)
    assert draw(pictures.draw_degrees, report, tmp_path).startswith(PNG)


def test_the_inputs_of_most_connections_have_the_names_of_their_features(series, tmp_path, make_masks):
    (mask, _), names = make_masks(WIDTHS[:-1], 0.3, 1), tuple(f"gene {number}" for number in range(WIDTHS[0]))
    samples = Samples(DenseFeatures(np.ones((3, WIDTHS[0]), np.float32)), np.arange(3, dtype=np.int32))
    for name, given in (("a.h5", names), ("b.h5", None)):
        write_dataset(tmp_path / name, samples, samples, title="", class_names=tuple("abc"), feature_names=given)
    found = reports.report_degrees(series[0], None, tmp_path / "a.h5")["inputs"]
    assert [each["connections"] for each in found] == sorted(mask.sum(axis=1).tolist(), reverse=True)[:20]
    assert all(each["input"] == f"gene {each['number']}" for each in found)
    assert all(each["connections"] == mask[each["number"]].sum() for each in found)
    assert "inputs" not in reports.report_degrees(series[0], None)
    with pytest.raises(InputError, match=r"b.h5: its features have no names"):
        reports.report_degrees(series[0], None, tmp_path / "b.h5")


def test_names_of_other_features_are_refused(series, tmp_path):
    n_features = WIDTHS[0] + 1
    samples = Samples(DenseFeatures(np.ones((3, n_features), np.float32)), np.arange(3, dtype=np.int32))
    names = [str(number) for number in range(n_features)]
    write_dataset(tmp_path / "a.h5", samples, samples, title="", class_names=tuple("abc"), feature_names=names)
    with pytest.raises(InputError, match=f"a.h5: {n_features} features: .* was trained on {WIDTHS[0]}"):
        reports.report_degrees(series[0], None, tmp_path / "a.h5")


def test_paths_are_told_from_both_ends(series, tmp_path, make_masks):
    report = reports.report_paths(series[0], None)
    first, second = make_masks(WIDTHS[:-1], 0.3, 1)
    counts = (first @ second @ np.ones((11, 4), np.int64)).sum(axis=1)
    assert report["from_input"] == counts.tolist()
    assert report["paths"] == counts.sum() == sum(report["to_output"])
    assert report["neurons"][0]["median"] == np.median(counts)
    assert draw(pictures.draw_paths, report, tmp_path).startswith(PNG)


def test_the_summary_adds_up(write_network, tmp_path):
    masks = [np.array([[1, 0, 1], [0, 0, 1]]), np.array([[0, 1], [1, 0], [0, 0]])]
    report = reports.report_summary(write_network(masks, 3), None)
    by_name = {each["layer"]: each for each in report["neurons"]}
    assert {name: each["dead"] for name, each in by_name.items()} == {"inputs": 1, "hidden 1": 2, "outputs": 1}
    assert by_name["hidden 1"] == {
        "layer": "hidden 1",
        "neurons": 3,
        "removed": 0,
        "without_incoming": 1,
        "without_outgoing": 1,
        "not_reached": 1,
        "not_used": 1,
        "dead": 2,
    }
    assert (report["connections"], report["effective_connections"]) == (5, 2)
    assert report["effective_density"] == pytest.approx(2 / 12)
    assert [each["effective"] for each in report["connections_by_layer"]] == [1, 1]
    assert report["connected_pairs"] == 1 / 4
    assert draw(pictures.draw_summary, report, tmp_path).startswith(PNG)


def test_one_network_is_too_few_to_compare(series):
    with pytest.raises(InputError, match="at least two"):
        reports.report_distances(ParallelContext.serial(threads=1), series[:1], None, 2048)
    with pytest.raises(InputError, match="at least two"):
        reports.report_overlap(series[:1], None)


def test_a_picture_that_cannot_be_written_is_refused_first(tmp_path, monkeypatch):
    (tmp_path / "old.png").write_bytes(b"old")
    for name, error, message in (
        ("picture.bmp", InputError, "ends in .png, .svg, .pdf"),
        ("old.png", OutputError, "exists already"),
        ("nowhere/new.png", OutputError, "is not a folder"),
    ):
        with pytest.raises(error, match=message):
            pictures.check_picture(tmp_path / name)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MachineError, match="install the extra 'report'"):
        pictures.check_picture(tmp_path / "new.png")
    assert (tmp_path / "old.png").read_bytes() == b"old"
