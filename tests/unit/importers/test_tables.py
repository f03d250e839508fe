"""Tables become features: numbers as they are, a feature per symbol; what is wrong is named with its line."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpc_sparse.errors import DataError
from hpc_sparse.importers.options import ImportOptions
from hpc_sparse.importers.tables import delimited
from hpc_sparse.importers.tables import rows as tables
from hpc_sparse.importers.tables.columns import TableOptions
from hpc_sparse.importers.tables.delimited import import_delimited
from hpc_sparse.importers.tables.parquet import import_parquet
from hpc_sparse.storage.dataset.feature_summary import read_feature_names
from hpc_sparse.storage.dataset.file import read_info

AllRows = Callable[[Path], list[tuple[Any, ...]]]

TEXT = "size,colour,weight,class\n1,red,0.5,a\n2, blue,0,b\n0,red,-1e2,a\n4,green,2,b\n"
NAMES = ("size", "colour=blue", "colour=green", "colour=red", "weight")
ROWS = sorted(
    [
        (1.0, 0.0, 0.0, 1.0, 0.5, "a"),
        (2.0, 1.0, 0.0, 0.0, 0.0, "b"),
        (0.0, 0.0, 0.0, 1.0, -100.0, "a"),
        (4.0, 0.0, 1.0, 0.0, 2.0, "b"),
    ]
)
HALF = ImportOptions(test_fraction=0.5)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write_text(text: str | bytes, name: str = "t.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write_text


@pytest.mark.parametrize("is_sparse", [False, True])
def test_text_becomes_a_feature_per_symbol(
    tmp_path: Path, write: Callable[..., Path], all_rows: AllRows, is_sparse: bool
) -> None:
    info = import_delimited(write(TEXT), tmp_path / "a.h5", table=TableOptions(is_sparse=is_sparse), options=HALF)
    assert (info.is_sparse, info.n_train, info.n_test, info.class_names) == (is_sparse, 2, 2, ("a", "b"))
    assert read_feature_names(tmp_path / "a.h5") == NAMES
    assert all_rows(tmp_path / "a.h5") == ROWS
    assert info.source == "t.csv; label class; one-hot: colour (3)"


@pytest.mark.parametrize(
    ("name", "change", "options"),
    [
        ("t.tsv", lambda text: text.replace(",", "\t"), {}),
        ("t.csv", lambda text: text.replace(",", ";"), {}),
        ("t.csv", lambda text: text.replace(",", "~"), {"delimiter": "~"}),
        ("t.csv", lambda text: text.replace("\n", "\r\n"), {}),
        ("t.csv", lambda text: "\ufeff" + text, {}),
        ("t.csv", lambda text: "\n\n" + text.replace("\n", "\n\n"), {}),
        ("t.csv", lambda text: text.replace("red", '"red"').replace("size", '"size"'), {}),
        ("t.csv.gz", lambda text: gzip.compress(text.encode()), {}),
        ("t.csv.bz2", lambda text: bz2.compress(text.encode()), {}),
        ("t.csv.xz", lambda text: lzma.compress(text.encode()), {}),
    ],
)
def test_the_same_table_in_other_clothes(
    tmp_path: Path, write: Callable[..., Path], all_rows: AllRows, name: str, change: Any, options: dict[str, Any]
) -> None:
    info = import_delimited(write(change(TEXT), name), tmp_path / "a.h5", options=HALF, **options)
    assert all_rows(tmp_path / "a.h5") == ROWS
    assert (info.title, read_feature_names(tmp_path / "a.h5")) == ("t", NAMES)


def test_without_names_columns_are_numbered(tmp_path: Path, write: Callable[..., Path], all_rows: AllRows) -> None:
    path = write(TEXT.partition("\n")[2])
    for has_header in (None, False):
        info = import_delimited(
            path, tmp_path / "a.h5", has_header=has_header, options=ImportOptions(test_fraction=0.5, overwrite=True)
        )
        assert all_rows(tmp_path / "a.h5") == ROWS
        assert "without header; label column_4" in info.source
    assert read_feature_names(tmp_path / "a.h5") == tuple(
        name.replace("size", "column_1").replace("colour", "column_2").replace("weight", "column_3") for name in NAMES
    )


@pytest.mark.parametrize(
    ("table", "features"),
    [
        (TableOptions(label="colour"), ("size", "weight", "class=a", "class=b")),
        (TableOptions(label="2", dropped=("-1",)), ("size", "weight")),
        (TableOptions(dropped=("colour", "3")), ("size",)),
        (TableOptions(symbolic=("size",), dropped=("colour", "weight")), ("size=0", "size=1", "size=2", "size=4")),
    ],
)
def test_columns_are_chosen_by_name_or_number(
    tmp_path: Path, write: Callable[..., Path], table: TableOptions, features: tuple[str, ...]
) -> None:
    import_delimited(write(TEXT), tmp_path / "a.h5", table=table, options=HALF)
    assert read_feature_names(tmp_path / "a.h5") == features


def test_symbols_that_come_late_and_small_blocks_change_nothing(
    tmp_path: Path, write: Callable[..., Path], all_rows: AllRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"{n / 8},{'xyz'[n % 3] if n < 90 else 'late'},{n % 4}" for n in range(100)]
    path = write("\n".join(["v,s,y", *lines]))
    import_delimited(path, tmp_path / "a.h5")
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 64)
    import_delimited(path, tmp_path / "b.h5")
    assert read_feature_names(tmp_path / "b.h5") == ("v", "s=late", "s=x", "s=y", "s=z")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    expected = [
        (n / 8, *(float(s == ("xyz"[n % 3] if n < 90 else "late")) for s in ("late", "x", "y", "z")), str(n % 4))
        for n in range(100)
    ]
    assert all_rows(tmp_path / "b.h5") == sorted(expected)


@pytest.mark.parametrize(
    ("encoded", "options", "said"),
    [
        (("\ufeff" + TEXT).encode("utf-16-le"), {}, "utf-16"),
        (("\ufeff" + TEXT).encode("utf-16-be"), {}, "utf-16"),
        (TEXT.encode("utf-16-le"), {}, "utf-16-le"),
        (TEXT.encode("utf-16-be"), {}, "utf-16-be"),
        (TEXT.encode("utf-32"), {}, "utf-32"),
        (TEXT.encode("utf-16-be"), {"encoding": "UTF-16BE"}, "utf-16-be"),
        (gzip.compress(TEXT.encode("utf-16")), {}, "utf-16"),
    ],
)
def test_other_encodings_are_guessed_or_named_and_told(
    tmp_path: Path, write: Callable[..., Path], all_rows: AllRows, encoded: bytes, options: dict[str, Any], said: str
) -> None:
    path = write(encoded, "t.csv.gz" if encoded.startswith(b"\x1f\x8b") else "t.csv")
    info = import_delimited(path, tmp_path / "a.h5", options=HALF, **options)
    assert all_rows(tmp_path / "a.h5") == ROWS
    assert info.source.startswith(f"{path.name}, {said}; label class")


def test_an_encoding_that_the_first_bytes_contradict_is_refused(tmp_path: Path, write: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match='encoding = "utf-8": begins with the byte-order mark of UTF-16'):
        import_delimited(write(TEXT.encode("utf-16")), tmp_path / "a.h5", encoding="utf-8")
    info = import_delimited(write(TEXT.encode("utf-8-sig")), tmp_path / "a.h5", encoding="utf-8", options=HALF)
    assert info.source.startswith("t.csv; label class")


def test_text_that_is_not_utf_8_is_read_by_its_name(tmp_path: Path, write: Callable[..., Path]) -> None:
    path = write("n\u00e4he,y\n1,\u00fc\n2,b\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"is not UTF-8 text.*--encoding, such as cp1252"):
        import_delimited(path, tmp_path / "a.h5")
    with pytest.raises(DataError, match='encoding = "klingon": unknown'):
        import_delimited(path, tmp_path / "a.h5", encoding="klingon")
    info = import_delimited(path, tmp_path / "a.h5", encoding="cp1252", options=HALF)
    assert (info.class_names, read_feature_names(tmp_path / "a.h5")) == (("b", "\u00fc"), ("n\u00e4he",))


@pytest.mark.parametrize("header", ["a;b;y\n", ""])
def test_decimal_commas_are_numbers(tmp_path: Path, write: Callable[..., Path], all_rows: AllRows, header: str) -> None:
    path = write(header + "1,5;2;x\n-3,25;4;y\n")
    info = import_delimited(path, tmp_path / "a.h5", decimal=",", options=HALF)
    assert all_rows(tmp_path / "a.h5") == [(-3.25, 4.0, "y"), (1.5, 2.0, "x")]
    assert "decimal comma" in info.source
    with pytest.raises(DataError, match="is the decimal mark, too"):
        import_delimited(path, tmp_path / "b.h5", decimal=",", delimiter="comma")
    with pytest.raises(DataError, match='decimal = "x": must be a point or a comma'):
        import_delimited(path, tmp_path / "b.h5", decimal="x")


def test_an_index_that_pandas_wrote_is_left_out_with_a_note(
    tmp_path: Path, write: Callable[..., Path], all_rows: AllRows, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(",a,b,y\n0,1,2,x\n1,3,4,y\n")
    info = import_delimited(path, tmp_path / "a.h5", options=HALF)
    assert all_rows(tmp_path / "a.h5") == [(1.0, 2.0, "x"), (3.0, 4.0, "y")]
    assert (read_feature_names(tmp_path / "a.h5"), info.source) == (
        ("a", "b"),
        "t.csv; label y; index left out: Unnamed: 0",
    )
    assert 'column "Unnamed: 0" is an index and left out' in caplog.text
    import_delimited(path, tmp_path / "b.h5", table=TableOptions(symbolic=("1",)), options=HALF)
    assert read_feature_names(tmp_path / "b.h5") == ("Unnamed: 0=0", "Unnamed: 0=1", "a", "b")
    pq.write_table(pa.table({"a": [1.0, 3.0], "y": ["x", "y"], "__index_level_0__": [4, 5]}), tmp_path / "t.parquet")
    import_parquet(tmp_path / "t.parquet", tmp_path / "c.h5", options=HALF)
    assert all_rows(tmp_path / "c.h5") == [(1.0, "x"), (3.0, "y")]


def test_a_first_row_that_misses_a_value_is_no_header(tmp_path: Path, write: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match='line 1: column "column_1": "": is a missing value'):
        import_delimited(write(",red,x\nbig,blue,y\n"), tmp_path / "a.h5")


def test_symbols_that_the_user_names_may_all_differ(
    tmp_path: Path, write: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = write("a,b,y\n" + "".join(f"t{i},{i},x\n" for i in range(30)))
    import_delimited(path, tmp_path / "a.h5", table=TableOptions(symbolic=("a",)), options=HALF)
    assert read_info(tmp_path / "a.h5").n_features == 31
    import_delimited(write("a,b,y\nu,1,x\nv,2,y\n"), tmp_path / "b.h5", options=HALF)
    assert 'column "a": 2 different texts in 2 rows' in caplog.text


def test_labels_that_are_numbers_are_ordered_as_numbers(tmp_path: Path, write: Callable[..., Path]) -> None:
    path = write("x,y\n" + "\n".join(f"0.5,{label}" for label in (10, 9, 1, 10, 9, 1)))
    info = import_delimited(path, tmp_path / "a.h5", options=HALF)
    assert info.class_names == ("1", "9", "10")


def test_a_test_file_shares_symbols_and_labels(
    tmp_path: Path, write: Callable[..., Path], parts: Callable[[Path], Any]
) -> None:
    train, test = write(TEXT), write("size,colour,weight,class\n7,violet,1,c\n8,red,1,a\n", "test.csv")
    info = import_delimited(train, tmp_path / "a.h5", test=test)
    assert (info.n_train, info.n_test, info.split, info.class_names) == (4, 2, "as published", ("a", "b", "c"))
    table, labels = parts(tmp_path / "a.h5")["test"]
    assert read_feature_names(tmp_path / "a.h5") == (*NAMES[:4], "colour=violet", "weight")
    np.testing.assert_array_equal(table, [[7, 0, 0, 0, 1, 1], [8, 0, 0, 1, 0, 1]])
    assert labels == ["c", "a"]


BAD = {
    "ragged": ("a,b,y\n1,2,x\n3,y\n", r"t.csv: line 3: 2 cells: expected 3"),
    "ragged after empty lines": ("a,b,y\n\n1,2,x\n\n\n3,2,y,4\n", r"line 6: 4 cells: expected 3"),
    "missing number": ("a,b,y\n1,2,x\n\n3,,y\n", r'line 4: column "b": has no value'),
    "missing mark": ("a,b,y\n1,2,x\n3,?,y\n", r'line 3: column "b": has no value'),
    "missing text": ("a,b,y\n1,u,x\n3,NA,y\n", r'line 3: column "b": "NA": is a missing value'),
    "missing label": ("a,b,y\n1,2,x\n3,2,\n", r'line 3: column "y": "": is a missing value'),
    "text among numbers": ("a,b,y\n1,2,x\n3,oops,y\n", r'line 3: column "b": "oops": expected a number'),
    "late text": ("a,b,y\n" + "1,2,x\n" * 2000 + "3,oops,y\n", r'line 2002: column "b": "oops": expected a number'),
    "number among text": ("a,b,y\n1,u,x\n3,7,y\n", r'line 3: column "b": "7": expected text'),
    "infinite": ("a,b,y\n1,2,x\n3,inf,y\n", r'line 3: column "b": inf: expected a number that is finite'),
    "too large": ("a,b,y\n1e60,2,x\n3,2,y\n", r'line 2: column "a": inf: expected a number that is finite'),
    "dates": ("a,b,y\n1,2020-01-02,x\n", r'column "b" holds dates or times: leave it out'),
    "empty": ("", "t.csv: is empty"),
    "only a header": ("a,b,y\n", "t.csv: has no samples"),
    "one column": ("y\nx\n", "expected at least one beside the label"),
    "not UTF-8": (b"a,b,y\n1,2,x\n3,2,\xff\n", r'line 3: column "y": is not UTF-8 text'),
    "half of UTF-16": (b"\xff\xfe\x00", "is not UTF-16 text: truncated data .*--encoding"),
    "binary": (b"\x80\xfe\x00", "is not UTF-8 text: .*--encoding"),
    "decimal commas": ("a;b;y\n1,5;2;x\n3,25;4;y\n", r'column "a": "1,5": looks like .* with --decimal ,'),
    "late decimal comma": (
        "a;b;y\n1;2;x\n" * 1 + "1;2;x\n" * 2000 + "1,5;2;x\n",
        r'"1,5": expected a number.*--decimal ,',
    ),
    "distinct texts": (
        "a,b,y\n" + "".join(f"t{i},{i},x\n" for i in range(30)),
        r'"a": 30 different texts in 30 rows.*--drop',
    ),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD.keys())
def test_what_is_wrong_is_named_with_its_line(
    tmp_path: Path, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, text: str | bytes, message: str
) -> None:
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 4096)
    with pytest.raises(DataError, match=message):
        import_delimited(write(text), tmp_path / "a.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"table": TableOptions(label="clas")},
            r'no column "clas" \(did you mean "class"\?\): expected a number up to 4',
        ),
        ({"table": TableOptions(label="5")}, 'no column "5"'),
        ({"table": TableOptions(label="0")}, 'no column "0"'),
        ({"table": TableOptions(label="class", dropped=("4",))}, "is the label and left out"),
        ({"table": TableOptions(dropped=("1", "2", "3"))}, "expected at least one beside the label"),
        ({"delimiter": "::"}, 'delimiter = "::": must be one character'),
        ({"options": ImportOptions(log2=True)}, r"log2: symbols would become 0 \(colour\)"),
        ({"options": ImportOptions(tf_idf=True)}, "tf-idf of a table: expected --sparse"),
        ({"options": ImportOptions(test_fraction=1.0)}, "test fraction = 1.0"),
    ],
)
def test_wrong_options_are_named(
    tmp_path: Path, write: Callable[..., Path], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        import_delimited(write(TEXT), tmp_path / "a.h5", **options)


def test_two_columns_of_one_name_and_other_columns_in_the_test_file_are_refused(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    with pytest.raises(DataError, match=r'line 1: two columns are named "a"'):
        import_delimited(write("a,a,y\n1,2,x\n"), tmp_path / "a.h5", has_header=True)
    with pytest.raises(DataError, match=r"test.csv: columns \['a', 'y'\]: expected those of"):
        import_delimited(write(TEXT), tmp_path / "a.h5", test=write("a,y\n1,x\n", "test.csv"))


def test_a_damaged_archive_is_named(tmp_path: Path, write: Callable[..., Path]) -> None:
    path = write(gzip.compress((TEXT * 1000).encode())[:-20], "cut.csv.gz")
    with pytest.raises(DataError, match=r"cut.csv.gz: cannot be read: Compressed file ended"):
        import_delimited(path, tmp_path / "a.h5")


def test_too_many_symbols_need_sparse_storage(
    tmp_path: Path, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MOST_SYMBOLS", 2)
    with pytest.raises(DataError, match='column "colour": more than 2 different texts'):
        import_delimited(write(TEXT), tmp_path / "a.h5")
    import_delimited(write(TEXT), tmp_path / "a.h5", table=TableOptions(is_sparse=True), options=HALF)
    assert read_info(tmp_path / "a.h5").n_features == 5


def parquet_table(**changes: Any) -> Any:
    columns = {
        "size": pa.array([1, 2, 0, 4], pa.int16()),
        "colour": pa.array(["red", "blue", "red", "green"]).dictionary_encode(),
        "weight": pa.array([0.5, 0, -100, 2]),
        "class": pa.array(["a", "b", "a", "b"], pa.large_string()),
    }
    return pa.table({name: column for name, column in (columns | changes).items() if column is not None})


def test_parquet_gives_the_same_as_text(tmp_path: Path, all_rows: AllRows) -> None:
    pq.write_table(parquet_table(), tmp_path / "t.parquet", row_group_size=3)
    info = import_parquet(tmp_path / "t.parquet", tmp_path / "a.h5", options=HALF)
    assert all_rows(tmp_path / "a.h5") == ROWS
    assert (info.title, read_feature_names(tmp_path / "a.h5")) == ("t", NAMES)
    info = import_parquet(tmp_path / "t.parquet", tmp_path / "b.h5", test=tmp_path / "t.parquet")
    assert (info.n_train, info.n_test) == (4, 4)


def test_parquet_labels_may_be_numbers_and_features_truth_values(tmp_path: Path, all_rows: AllRows) -> None:
    table = parquet_table(**{"class": pa.array([10, 9, 10, 9]), "colour": pa.array([True, False, True, True])})
    pq.write_table(table, tmp_path / "t.parquet")
    info = import_parquet(tmp_path / "t.parquet", tmp_path / "a.h5", options=HALF)
    assert info.class_names == ("9", "10")
    assert (0.0, 1.0, -100.0, "10") in all_rows(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": pa.array([1.0, None, 2, 3])}, r't.parquet: row 2: column "weight": has no value'),
        ({"weight": pa.array([1.0, 2, np.nan, 3])}, r'row 3: column "weight": nan'),
        ({"colour": pa.array(["a", "b", None, "c"])}, r'row 3: column "colour": "": is a missing value'),
        ({"weight": pa.array([[1.0]] * 4)}, r'column "weight": list<.*>: expected numbers; leave it out'),
        ({"class": pa.array([0.5, 1, 1, 1])}, r"labels"),
    ],
)
def test_wrong_parquet_columns_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    pq.write_table(parquet_table(**changes), tmp_path / "t.parquet")
    if message == "labels":
        # Text is as good a label as any: 0.5 is a name then.
        assert import_parquet(tmp_path / "t.parquet", tmp_path / "a.h5").class_names == ("0.5", "1")
        return
    with pytest.raises(DataError, match=message):
        import_parquet(tmp_path / "t.parquet", tmp_path / "a.h5")


def test_other_files_are_not_parquet(tmp_path: Path, write: Callable[..., Path]) -> None:
    for path in (write(TEXT), tmp_path / "nowhere", tmp_path):
        with pytest.raises(DataError, match=f"{path}: cannot be read as a Parquet file"):
            import_parquet(path, tmp_path / "a.h5")
