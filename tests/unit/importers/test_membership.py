"""Files of groups and their members: tables of pairs and archives of matrices, and what is wrong with them."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import scipy.sparse

from hpc_sparse.errors import DataError
from hpc_sparse.importers.membership import read_membership

GENES = ["TP53", "KRAS", "BRCA1", "EGFR"]
PAIRS = [("KRAS", "growth"), ("TP53", "repair"), ("BRCA1", "repair"), ("EGFR", "growth"), ("TP53", "growth")]
MATRIX = [[1, 1, 0, 1], [1, 0, 1, 0]]
"""Rows: growth and repair."""


@pytest.fixture
def write(tmp_path):
    def write(text, name="pathways.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return path

    return write


def table(pairs, separator=",", header=("feature", "group")):
    return "".join(f"{separator.join(line)}\n" for line in [header, *pairs])


def dense(found):
    return found.topology.matrix(np.ones(found.topology.n_connections)).toarray()


@pytest.mark.parametrize(
    "text",
    [
        table(PAIRS),
        table(PAIRS, "\t"),
        table(PAIRS, ";").replace("\n", "\r\n"),
        table([pair[::-1] for pair in PAIRS], header=("Group", "FEATURE")),
        table([(f' "{a}"' if a == "EGFR" else f" {a} ", b) for a, b in PAIRS]).replace(' "', '"') + "\n\n",
    ],
)
def test_pairs_of_a_table(write, text):
    path = write(text)
    found = read_membership(path, 4, GENES)
    found.topology.check()
    np.testing.assert_array_equal(dense(found), MATRIX)
    assert found.groups == ("growth", "repair")
    assert found.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_table_in_utf_16_with_a_mark(write):
    assert read_membership(write(table([("é", "ü")]), encoding="utf-16"), 1, ["é"]).groups == ("ü",)


def test_numbers_stand_for_features_without_names_and_for_groups(write):
    found = read_membership(write(table([("2", "1"), ("0", "0"), ("1", "1")])), 3)
    np.testing.assert_array_equal(dense(found), [[1, 0, 0], [0, 1, 1]])
    assert found.groups == ("0", "1")


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
@pytest.mark.parametrize("has_names", [False, True])
def test_a_matrix_of_scipy(tmp_path, kind, has_names):
    path, order = tmp_path / "pathways.npz", [3, 1, 0, 2]
    matrix = np.array(MATRIX)[:, order] if has_names else np.array(MATRIX)
    scipy.sparse.save_npz(path, scipy.sparse.coo_array(matrix).asformat(kind))
    if has_names:
        with np.load(path) as parts:
            arrays = dict(parts)
        np.savez(path, features=np.array(GENES)[order], groups=np.array(["growth", "repair"]), **arrays)
    found = read_membership(path, 4, GENES)
    np.testing.assert_array_equal(dense(found), MATRIX)
    assert found.groups == (("growth", "repair") if has_names else ("0", "1"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (table([*PAIRS, PAIRS[1]]), r'line 7: feature "TP53" in group "repair" is there twice; first at line 3$'),
        (table([*PAIRS, ("MYC", "growth")]), r'line 7: feature "MYC" is not among the 4 of the data, such as "TP53"$'),
        (table([*PAIRS, ("A", "g"), ("B", "g")]), r'line 7: 2 features \("A", "B"\) are not among the 4 of the data'),
        (table(PAIRS[:2]), r'2 features \("BRCA1", "EGFR"\) are in no group'),
        (table([]), "no pairs: expected at least one feature of a group"),
        ("", "line 1: nothing: expected the columns feature and group"),
        (table(PAIRS, header=("gene", "pathway")), 'line 1: "gene,pathway": expected the columns feature and group'),
        (table([*PAIRS, ("TP53",)]), "line 7: 1 values: expected a feature and a group"),
        (table([*PAIRS, ("TP53", "a", "b")]), "line 7: 3 values: expected a feature and a group"),
        (b"feature,group\n\xff\xff\xffa,b\n", "byte 14: not UTF-8"),
        (table([(gene, str(2 * n)) for n, gene in enumerate(GENES)]), "numbers up to 6, but group 1 has no feature"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_once(write, text, said):
    with pytest.raises(DataError, match=said) as caught:
        read_membership(write(text), 4, GENES)
    assert str(caught.value).count("\n") == 0


def test_numbers_out_of_range_are_refused(write):
    with pytest.raises(
        DataError, match=r'line 2: feature "7": expected a number from 0 to 3, as features of the data have no names'
    ):
        read_membership(write(table([("7", "a")])), 4)
    with pytest.raises(DataError, match=r'line 2: feature "-1": expected a number from 0 to 3'):
        read_membership(write(table([("-1", "a")])), 4)


def test_features_may_be_without_a_group_where_that_is_said(write):
    found = read_membership(write(table(PAIRS[:2])), 4, GENES, allow_missing=True)
    np.testing.assert_array_equal(dense(found), [[0, 1, 0, 0], [1, 0, 0, 0]])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"row": [0, 2]}, "entry 1: group 2: must be >= 0 and < 2, the shape"),
        ({"col": [0, -1]}, "entry 1: feature -1: must be >= 0 and < 4, the shape"),
        ({"row": [0, 1, 0], "col": [1, 0, 1]}, 'entry 2: feature "1" in group "0" is there twice; first at entry 0'),
        ({"row": [0, 0]}, 'group "1" is without any feature'),
        ({"row": [0]}, "1 rows and 2 columns"),
        ({"shape": [10**15, 4]}, "2 entries for 1000000000000000 groups: expected a feature of each group"),
        ({"shape": [2, 5]}, "a matrix of 5 features: expected 4, those of the data"),
        ({"format": np.array(b"dia")}, 'format "dia": expected a matrix in csr, csc or coo'),
        ({"groups": np.array(["a", "a"])}, 'groups: "a" is there twice'),
        ({"features": np.array(["a"])}, r"features: <U1\[1\]: expected 4 texts"),
        ({"row": [0.5, 1]}, "row: float64"),
    ],
)
def test_what_is_wrong_with_a_matrix_is_said_once(tmp_path, change, said):
    given = {"format": np.array(b"coo"), "shape": [2, 4], "row": [0, 1], "col": [0, 1], "data": [1.0, 1.0]}
    np.savez(tmp_path / "m.npz", **{**given, **change})
    with pytest.raises(DataError, match=said):
        read_membership(tmp_path / "m.npz", 4, GENES, allow_missing=True)


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: no such file"):
        read_membership(tmp_path / "none.csv", 4)
    with pytest.raises(DataError, match="is not a file"):
        read_membership(tmp_path, 4)
