"""What a data set holds is told in plain values, also of files that know less."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from hpc_sparse.cli.display import table_lines
from hpc_sparse.models.dataset_description import describe_dataset
from hpc_sparse.monitor.metrics import to_json
from hpc_sparse.storage.dataset.file import read_info
from hpc_sparse.storage.dataset.samples import DenseFeatures, Samples
from hpc_sparse.storage.dataset.writer import write_dataset

GOLDEN = runpy.run_path(str(Path(__file__).parents[2] / "golden" / "make_storage_v1.py"))


def test_balance_and_statistics_are_told(tmp_path: Path) -> None:
    values = np.array([[0, 3], [0, 1], [0, 0], [2, 4]], np.float32)
    train = Samples(DenseFeatures(values), np.array([0, 0, 0, 1], np.int32))
    write_dataset(tmp_path / "a.h5", train, train, title="t", class_names=("a", "b"))
    told = describe_dataset(read_info(tmp_path / "a.h5"))
    assert told["balance"] == {"smallest_class_share": 0.25, "largest_class_share": 0.75}
    statistics = told["statistics"]
    assert (statistics["least_value"], statistics["greatest_value"], statistics["share_of_zeros"]) == (0, 4, 0.5)
    assert (statistics["least_feature_mean"], statistics["greatest_feature_mean"]) == (0.5, 2)
    assert statistics["greatest_feature_deviation"] == pytest.approx(np.sqrt(2.5))
    assert (statistics["features_always_zero"], statistics["is_tf_idf"]) == (0, False)
    assert json.loads(to_json(told)) == told
    shown = "\n".join(table_lines(told))
    assert "share of zeros 0.5" in shown
    assert "is tf idf no" in shown


@pytest.mark.parametrize("kind", ["DENSE", "SPARSE"])
def test_what_an_old_file_does_not_say_is_a_dash(kind: str) -> None:
    told = describe_dataset(read_info(GOLDEN[kind]))
    assert told["statistics"]["least_value"] is None
    assert (told["statistics"]["least_feature_mean"] is None) == (kind == "SPARSE")
    assert "least value -" in "\n".join(table_lines(told))
