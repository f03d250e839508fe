"""Time stamps in imports: what float32 cannot hold is said."""

from __future__ import annotations

import numpy as np

from hpc_sparse.importers.arrays.npz import import_npz
from hpc_sparse.importers.tables.delimited import import_delimited


def test_time_stamps_in_a_table_are_warned_of(tmp_path, caplog):
    rows = [f"{1_700_000_000 + i},{i % 7},{'ab'[i > 50]}" for i in range(100)]
    (tmp_path / "t.csv").write_text("\n".join(["stamp,day,class", *rows]))
    import_delimited(tmp_path / "t.csv", tmp_path / "t.h5")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert 't.h5: feature "stamp": mean 1.7e+09, deviation' in caplog.text
    assert "subtract an origin" in caplog.text


def test_features_that_keep_their_variation_and_constant_ones_are_not(tmp_path, caplog):
    X = np.column_stack([1000 + np.arange(50.0), np.full(50, 1.7e9), np.arange(50) * 1e7 + 1e9])
    np.savez(tmp_path / "x.npz", x=X, y=np.arange(50) % 2)
    import_npz(tmp_path / "x.npz", tmp_path / "x.h5")
    assert not caplog.records
    np.savez(tmp_path / "x.npz", x=X + np.array([0, 0, 1e14]), y=np.arange(50) % 2)
    import_npz(tmp_path / "x.npz", tmp_path / "y.h5")
    assert "y.h5: feature 2: mean 1.0" in caplog.text
