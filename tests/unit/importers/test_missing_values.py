"""Missing values of tables: means of the training part, flags, and the same for samples that come later."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import hpc_sparse
from hpc_sparse.errors import ArrayError, DataError, FileFormatError
from hpc_sparse.importers.options import ImportOptions
from hpc_sparse.importers.tables.columns import TableOptions
from hpc_sparse.importers.tables.delimited import import_delimited
from hpc_sparse.importers.tables.parquet import import_parquet
from hpc_sparse.models.inspection import evaluate_checkpoint
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run
from hpc_sparse.storage.checkpoint.folder import newest_checkpoint
from hpc_sparse.storage.dataset.feature_summary import check_filled, read_feature_names, read_filled
from hpc_sparse.storage.dataset.samples import FilledValues

CTX = ParallelContext.serial(threads=1)
TRAIN = "age,work,size,y\n1,a,10,u\n,b,20,v\n3,?,NA,u\n5,a,0,v\n"
TEST = "age,work,size,y\n,b,1,u\n2,,nan,v\n"
NAMES = ("age", "work=a", "work=b", "size")
FLAGGED = ("age", "work is missing", "work=a", "work=b", "size", "age is missing", "size is missing")


@pytest.fixture
def imported(tmp_path):
    """Import the two tables; gives the rows of both parts, in the order of the tables."""

    def make(missing, is_sparse=False, train=TRAIN, test=TEST, name="a.h5", **options):
        (tmp_path / "train.csv").write_text(train)
        (tmp_path / "test.csv").write_text(test)
        chosen = ImportOptions(missing=missing, overwrite=True, **options)
        files = tmp_path / "train.csv", tmp_path / name
        import_delimited(*files, test=tmp_path / "test.csv", table=TableOptions(is_sparse=is_sparse), options=chosen)
        parts = [hpc_sparse.load_arrays(tmp_path / name, part)[0] for part in ("train", "test")]
        parts = [part.toarray() if is_sparse else part for part in parts]
        return sorted(map(tuple, parts[0].tolist())), [tuple(row) for row in parts[1].tolist()]

    return make


def test_missing_values_are_refused_unless_told(imported):
    with pytest.raises(DataError, match=r'train\.csv: line 3: column "age": has no value: expected a number$'):
        imported("refuse")


@pytest.mark.parametrize("is_sparse", [False, True])
def test_means_of_the_training_part_stand_for_missing_values(imported, tmp_path, is_sparse):
    train, test = imported("mean", is_sparse)
    assert train == [(1, 1, 0, 10), (3, 0, 0, 10), (3, 0, 1, 20), (5, 1, 0, 0)]
    assert test == [(3, 0, 1, 1), (2, 0, 0, 10)]
    assert read_feature_names(tmp_path / "a.h5") == NAMES
    filled = read_filled(tmp_path / "a.h5")
    np.testing.assert_allclose(filled.fill, [3, 0.5, 0.25, 10])
    np.testing.assert_array_equal(filled.flagged, [0, 0, 0, 0])


@pytest.mark.parametrize("is_sparse", [False, True])
def test_flags_say_where_values_were_missing(imported, tmp_path, is_sparse):
    train, test = imported("flag", is_sparse)
    assert read_feature_names(tmp_path / "a.h5") == FLAGGED
    assert train == [
        (1, 0, 1, 0, 10, 0, 0),
        (3, 0, 0, 1, 20, 1, 0),
        (3, 1, 0, 0, 10, 0, 1),
        (5, 0, 1, 0, 0, 0, 0),
    ]
    assert test == [(3, 0, 0, 1, 1, 1, 0), (2, 1, 0, 0, 10, 0, 1)]


def test_only_what_misses_values_in_the_training_part_has_a_flag(imported, tmp_path):
    train = "a,b,y\n1,,u\n2,4,v\n"
    _, test = imported("flag", train=train, test="a,b,y\n,,u\n")
    assert read_feature_names(tmp_path / "a.h5") == ("a", "b", "b is missing")
    assert test == [(1.5, 4, 1)]


def test_parquet_gives_the_same_as_text(imported, tmp_path):
    expected = imported("flag")
    columns = [[1.0, None, 3.0, 5.0], ["a", "b", None, "a"], [10.0, 20.0, float("nan"), 0.0], ["u", "v", "u", "v"]]
    later = [[None, 2.0], ["b", None], [1.0, None], ["u", "v"]]
    for name, values in (("train", columns), ("test", later)):
        pq.write_table(pa.table(dict(zip(("age", "work", "size", "y"), values, strict=True))), tmp_path / f"{name}.pq")
    options = ImportOptions(missing="flag")
    import_parquet(tmp_path / "train.pq", tmp_path / "b.h5", test=tmp_path / "test.pq", options=options)
    found = [hpc_sparse.load_arrays(tmp_path / "b.h5", part)[0].tolist() for part in ("train", "test")]
    assert (sorted(map(tuple, found[0])), list(map(tuple, found[1]))) == expected


@pytest.mark.parametrize(
    ("train", "options", "said"),
    [
        ("a,b,y\n,1,u\n,2,v\n", {}, r'feature "a" has no value in the training part: leave it out with --drop'),
        ("a,y\n1,u\n2,\n", {}, r'line 3: column "y": "": is a missing value: expected a text or number'),
        ("a,y\ninf,u\n,v\n", {}, r'column "a": inf: expected a number that is finite'),
        ("a,b,y\n1,2,u\n,2,v\n", {"time_steps": 2}, r"flags of missing values are of no step: expected --time-steps 1"),
        ("a,b,y\n1,2,u\n,2,v\n", {"tf_idf": True}, r"tf-idf"),
    ],
)
def test_what_cannot_be_filled_is_one_message(imported, train, options, said):
    with pytest.raises(DataError, match=said):
        imported("flag", train=train, test=train, **options)


def test_a_table_that_comes_later_is_filled_as_the_data_set(imported, tmp_path):
    imported("flag")
    train, _ = imported("flag", train=TEST + "7,a,,u\n", name="later.h5", filled_as=tmp_path / "a.h5")
    assert train == [(2, 1, 0, 0, 10, 0, 1), (3, 0, 0, 1, 1, 1, 0), (7, 0, 1, 0, 10, 0, 1)]
    with pytest.raises(DataError, match=r'feature 0 is "years": expected "age", as in .*a\.h5'):
        imported("flag", train=TRAIN.replace("age", "years"), test=TEST.replace("age", "years"), name="b.h5",
                 filled_as=tmp_path / "a.h5")  # fmt: skip
    with pytest.raises(DataError, match=r"filled as .*a\.h5: expected --missing mean or flag, too"):
        imported("refuse", train="a,y\n1,u\n", test="a,y\n1,u\n", name="b.h5", filled_as=tmp_path / "a.h5")
    imported("refuse", train="a,y\n1,u\n", test="a,y\n1,u\n", name="plain.h5")
    with pytest.raises(DataError, match=r"plain\.h5: was imported without means for missing values"):
        imported("mean", name="b.h5", filled_as=tmp_path / "plain.h5")


def test_predictions_and_evaluations_fill_as_the_import_did(tmp_path, capsys):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3)).astype(np.float32)
    y = (X[:, 0] > 0).astype(int)
    X[rng.random(X.shape) < 0.2] = np.nan
    lines = [
        ",".join("" if np.isnan(x) else f"{x:.9g}" for x in row) + f",{label}" for row, label in zip(X, y, strict=True)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,c,y", *lines[:60]]) + "\n")
    (tmp_path / "later.csv").write_text("\n".join(["a,b,c,y", *lines[60:]]) + "\n")
    options = ImportOptions(missing="flag")
    import_delimited(tmp_path / "t.csv", tmp_path / "data.h5", test=tmp_path / "later.csv", options=options)
    text = "[data]\npath='data.h5'\n[network]\nhidden=[8]\ndensity=0.5\n[training]\nepochs=2\nbatch_size=16\n"
    (tmp_path / "run.toml").write_text(text)
    train_run(CTX, RunRequest(tmp_path / "run.toml", (), tmp_path / "run"), SilentReporter())
    checkpoint = newest_checkpoint(tmp_path / "run" / "checkpoints")
    model = hpc_sparse.load_model(checkpoint)
    expected = model.weighted_sums(hpc_sparse.load_arrays(tmp_path / "data.h5", "test").X)
    np.testing.assert_array_equal(model.weighted_sums(X[60:], raw=True), expected)
    with pytest.raises(ArrayError, match=r"X: 3 features: expected 6"):
        model.predict(X[60:])
    with pytest.raises(ArrayError, match=r"X.* inf"):
        model.predict(np.full((1, 3), np.inf), raw=True)
    with pytest.raises(ArrayError, match=r"X.* nan"):
        model.predict(np.full((1, 6), np.nan))

    import_delimited(tmp_path / "later.csv", tmp_path / "own.h5", options=options)
    capsys.readouterr()
    evaluate_checkpoint(CTX, checkpoint, tmp_path / "own.h5")
    told = "own.h5: missing values have other means than in the training: import it with --filled-as"
    assert told in capsys.readouterr().err
    as_before = ImportOptions(missing="flag", filled_as=tmp_path / "data.h5")
    import_delimited(tmp_path / "later.csv", tmp_path / "alike.h5", options=as_before)
    evaluate_checkpoint(CTX, checkpoint, tmp_path / "alike.h5")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("fill", "flagged", "n_features", "said"),
    [
        (np.zeros(2, np.float32), np.zeros(3, np.int32), None, r"fill float32\[2\], flagged int32\[3\]: expected"),
        (np.zeros(2), np.zeros(2, np.int32), None, r"fill float64\[2\]"),
        (np.full(2, np.nan, np.float32), np.zeros(2, np.int32), None, r"nan"),
        (np.zeros(2, np.float32), np.full(2, 2, np.int32), None, r"flagged: expected 0 and 1"),
        (np.zeros(2, np.float32), np.ones(2, np.int32), 3, r"4 features with flags: expected 3"),
    ],
)
def test_a_damaged_file_is_refused(fill, flagged, n_features, said):
    with pytest.raises(FileFormatError, match=said):
        check_filled("x.h5: preparation", FilledValues(fill, flagged), n_features)
