"""Graphs of every kind of file become the same data set; splits, statistics, plans, and what is wrong."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
import scipy.io
import scipy.sparse

from hpc_sparse.errors import DataError, ParameterError
from hpc_sparse.importers.graphs import diffuse
from hpc_sparse.importers.graphs.importing import import_graph
from hpc_sparse.importers.graphs.opening import open_graph
from hpc_sparse.importers.graphs.options import Diffusion, GraphOptions
from hpc_sparse.importers.graphs.plan import plan_import
from hpc_sparse.importers.graphs.source import GraphSize
from hpc_sparse.models.dataset_description import describe_dataset
from hpc_sparse.parallel.context import ParallelContext

N, N_FEATURES, HOPS, THRESHOLD = 41, 5, 2, 0.1
CTX = ParallelContext.serial(threads=1)
ALL_FOR_BOTH = {"test_fraction": 0.4, "validation_fraction": 0.0}


def make_arrays(*, is_sparse=False):
    rng = np.random.default_rng(2)
    x = rng.random((N, N_FEATURES)).astype(np.float32)
    x = np.where(x < 0.6, 0, x).astype(np.float32) if is_sparse else x
    ends = np.array([(i, j) for i in range(N) for j in rng.choice(N, 3, replace=False) if i < j])
    return x, np.arange(N) % 3, ends


def adjacency_of(ends, n=N):
    matrix = scipy.sparse.coo_array((np.ones(len(ends)), ends.T), shape=(n, n)).tocsr()
    return ((matrix + matrix.T) > 0).astype(np.float64)


def write_npz(folder, **changed):
    x, y, ends = make_arrays()
    arrays = {"x": x, "y": y, "edges": ends} | changed
    path = folder / "graph.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def write_tables(folder, suffix="csv"):
    x, y, ends = make_arrays()
    lines = ["source,target", *(f"n{i},n{j}" for i, j in ends)]
    nodes = ["name,a,b,c,d,e,label", *(f"n{i},{','.join(map(repr, x[i].tolist()))},{y[i]}" for i in range(N))]
    paths = [folder / f"{name}.csv" for name in ("edges", "nodes")]
    for path, text in zip(paths, (lines, nodes), strict=True):
        path.write_text("\n".join(text) + "\n")
    if suffix == "csv":
        return paths
    for path in paths:
        pyarrow.parquet.write_table(pyarrow.csv.read_csv(path), path.with_suffix(".parquet"))
    return [path.with_suffix(".parquet") for path in paths]


def write_matrices(folder):
    x, y, ends = make_arrays()
    scipy.io.mmwrite(folder / "a.mtx", adjacency_of(ends))
    scipy.io.mmwrite(folder / "x.mtx", x.astype(np.float64))
    (folder / "labels.txt").write_text("\n".join(map(str, y)) + "\n")
    return folder / "a.mtx", folder / "x.mtx", folder / "labels.txt"


def imported(source, folder, **options):
    settings = {"diffusion": Diffusion(HOPS, THRESHOLD)} | ALL_FOR_BOTH | options
    return import_graph(CTX, source, folder / "out.h5", "graph", GraphOptions(**settings, overwrite=True))


def check(source, folder, parts):
    """All nodes are samples, with the features that ``diffuse`` finds."""
    x, y, ends = make_arrays()
    wanted = {
        tuple(row): str(label) for row, label in zip(diffuse(adjacency_of(ends), x, HOPS, THRESHOLD), y, strict=True)
    }
    info = imported(source, folder)
    found = parts(info.path)
    rows = [(tuple(row), label) for table, labels in found.values() for row, label in zip(table, labels, strict=True)]
    assert len(rows) == N
    assert dict(rows) == wanted


def test_edges_by_pairs_by_ends_and_as_rows_are_the_same_graph(tmp_path, parts):
    x, _, ends = make_arrays()
    matrix = adjacency_of(ends)
    rows = {"adj_indptr": matrix.indptr, "adj_indices": matrix.indices, "adj_data": matrix.data}
    for changed in (
        {},
        {"edges": np.asfortranarray(ends), "x": np.asfortranarray(x)},
        {"edges": None, "edge_index": ends.T},
        {"edges": None, "edge_index": np.hstack([ends.T, ends.T[::-1]])},
        {"edges": None} | rows,
    ):
        check(open_graph(write_npz(tmp_path, **changed)), tmp_path, parts)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_are_the_same_graph(tmp_path, parts, suffix):
    edges, nodes = write_tables(tmp_path, suffix)
    check(open_graph(edges, nodes=nodes), tmp_path, parts)
    check(open_graph(edges, nodes=nodes, is_sparse=True), tmp_path, parts)


def test_matrix_market_files_are_the_same_graph(tmp_path, parts):
    edges, features, labels = write_matrices(tmp_path)
    check(open_graph(edges, nodes=features, labels=labels), tmp_path, parts)


def test_sparse_features_stay_sparse(tmp_path, parts):
    x, _y, ends = make_arrays(is_sparse=True)
    rows = scipy.sparse.csr_array(x)
    arrays = {"feat_indptr": rows.indptr, "feat_indices": rows.indices, "feat_data": rows.data, "feat_shape": x.shape}
    source = open_graph(write_npz(tmp_path, x=None, **arrays))
    info = imported(source, tmp_path)
    assert info.is_sparse
    wanted = {tuple(row) for row in diffuse(adjacency_of(ends), x, HOPS, THRESHOLD)}
    assert {tuple(row) for table, _ in parts(info.path).values() for row in table} == wanted


def test_weights_and_directions_count(tmp_path, parts):
    x, _y, ends = make_arrays()
    weights = np.arange(1, len(ends) + 1) / 8
    matrix = scipy.sparse.coo_array((weights, ends.T), shape=(N, N)).tocsr()
    for is_directed in (True, False):
        source = open_graph(write_npz(tmp_path, edge_weight=weights))
        info = imported(source, tmp_path, is_directed=is_directed)
        wanted = diffuse(matrix if is_directed else matrix + matrix.T, x, HOPS, THRESHOLD)
        rows = {tuple(row) for table, _ in parts(info.path).values() for row in table}
        assert rows == {tuple(row) for row in wanted}
        assert describe_dataset(info)["graph"]["edges"] == len(ends)


def test_the_description_counts_the_graph(tmp_path):
    _, y, ends = make_arrays()
    source = open_graph(write_npz(tmp_path, edges=np.vstack([ends, [[3, 3]], ends[:2]])))
    graph = describe_dataset(imported(source, tmp_path))["graph"]
    degrees = adjacency_of(np.vstack([ends, [[3, 3]]])).sum(axis=0)
    assert graph["nodes"] == N
    assert graph["edges"] == len(ends) + 1
    assert graph["edges_to_itself"] == 1
    assert graph["largest_degree"] == degrees.max()
    assert graph["isolated_nodes"] == np.count_nonzero(degrees == 0)
    assert graph["homophily"] == pytest.approx(np.mean(y[ends[:, 0]] == y[ends[:, 1]]))
    shares = 1 / (degrees + 1)
    assert graph["entries"] == degrees.sum()
    assert graph["entries_kept"] == degrees[shares > THRESHOLD].sum()
    assert graph["silent_nodes"] == np.count_nonzero((degrees > 0) & (shares <= THRESHOLD))
    without = describe_dataset(imported(source, tmp_path, keeps_loops=False))["graph"]
    assert (without["edges"], without["edges_to_itself"]) == (len(ends), 0)
    json.dumps(graph)


def test_published_given_and_random_parts(tmp_path):
    masks = {f"{name}_mask": np.arange(N) % 4 == number for number, name in enumerate(("train", "val", "test"))}
    source = open_graph(write_npz(tmp_path, **masks))
    info = imported(source, tmp_path)
    assert (info.n_train, info.n_test, info.split) == (11, 10, "as published")
    assert imported(source, tmp_path, tests_on_validation=True).n_test == 10
    words = tmp_path / "parts.txt"
    words.write_text("train\n" * 20 + "\n" * 5 + "val\n" * 4 + "test\n" * 12)
    info = imported(source, tmp_path, split="given", split_file=words)
    assert (info.n_train, info.n_test) == (20, 12)
    thirds = {"test_fraction": 1 / 3, "validation_fraction": 1 / 3, "split": "random"}
    info = imported(source, tmp_path, **thirds)
    assert abs(info.n_train - N / 3) <= 2
    assert abs(info.n_test - N / 3) <= 2


def test_nodes_without_a_label_spread_their_features_but_are_no_samples(tmp_path, parts):
    x, y, ends = make_arrays()
    y = np.where(np.arange(N) < 9, -1, y)
    info = imported(open_graph(write_npz(tmp_path, y=y)), tmp_path)
    assert info.n_train + info.n_test == N - 9
    wanted = diffuse(adjacency_of(ends), x, HOPS, THRESHOLD)[9:]
    assert {tuple(row) for table, _ in parts(info.path).values() for row in table} == {tuple(row) for row in wanted}


@pytest.mark.parametrize("is_sparse", [False, True])
def test_many_graphs_are_samples_with_the_means_over_their_nodes(tmp_path, parts, is_sparse):
    x, _, ends = make_arrays(is_sparse=True)
    graph = np.random.default_rng(3).integers(0, 9, N)
    graph[:9] = np.arange(9)
    ends = ends[graph[ends[:, 0]] == graph[ends[:, 1]]]
    arrays = {"edges": ends, "graph": graph, "y": np.arange(9) % 2}
    if is_sparse:
        rows = scipy.sparse.csr_array(x)
        arrays |= {"feat_indptr": rows.indptr, "feat_indices": rows.indices, "feat_data": rows.data}
        arrays |= {"feat_shape": x.shape}
    source = open_graph(write_npz(tmp_path, x=None if is_sparse else x, **arrays))
    info = imported(source, tmp_path)
    of_nodes = diffuse(adjacency_of(ends), x, HOPS, THRESHOLD).astype(np.float64)
    wanted = {tuple(of_nodes[graph == number].mean(axis=0).astype(np.float32)): str(number % 2) for number in range(9)}
    found = parts(info.path).values()
    assert {tuple(row): label for table, own in found for row, label in zip(table, own, strict=True)} == wanted
    assert describe_dataset(info)["graph"]["graphs"] == 9


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"graph": np.zeros(N, int)}, "graph 1 has no nodes: expected at least one"),
        (
            {"graph": np.full(N, 2), "y": np.zeros(2)},
            "node 0 is of graph 2: must be >= 0 and < 2, one of the labels",
        ),
        ({"graph": np.zeros(3, int)}, f"graph: int64[3]: expected the number of a graph for each of {N} nodes"),
        ({"graph": np.arange(N) % 2, "y": np.zeros(2)}, "entries of the adjacency matrix join different graphs"),
    ],
)
def test_graphs_that_are_wrong_are_refused(tmp_path, changed, message):
    with pytest.raises(DataError) as caught:
        imported(open_graph(write_npz(tmp_path, **changed)), tmp_path, test_fraction=0.5)
    assert message in str(caught.value)


def wrong_edges(*extra):
    return np.vstack([make_arrays()[2], extra])


@pytest.mark.parametrize(
    ("changed", "options", "message"),
    [
        ({"edges": wrong_edges((3, N))}, {}, f"(3, {N}): there is no node {N}: must be >= 0 and < {N}"),
        ({"edges": wrong_edges((-1, 2))}, {}, "there is no node -1"),
        ({"edges": None}, {}, "has no edges: expected edges, or adj_indptr"),
        ({"edges": np.empty((0, 2), np.int64)}, {}, "has no edges"),
        ({"edges": np.ones((4, 3), np.int64)}, {}, "int64[4, 3]: expected int[m, 2] or int[2, m]"),
        ({"y": None}, {}, "has no labels: expected label, labels or y"),
        ({"x": None}, {}, "has no features: expected x"),
        ({"y": np.zeros(3)}, {}, f"3 labels for {N} nodes"),
        ({"edge_weight": -np.ones(len(make_arrays()[2]))}, {}, "edge 0: weight -1: must be >= 0 and finite"),
        ({"edge_weight": np.full(len(make_arrays()[2]), np.nan)}, {}, "edge 0: weight nan"),
        ({"edge_weight": np.ones(2)}, {}, "weights, one per edge"),
        ({"edge_weight": np.full(len(make_arrays()[2]), "a")}, {}, "edge_weight: <U1: expected numbers"),
        (
            {"edges": None, "adj_indptr": np.zeros(N + 1, int), "adj_indices": np.empty(0)},
            {},
            "adj_indices: float64: expected whole numbers",
        ),
        ({"x": np.full((N, 2), np.nan)}, {}, "x[0, 0] = nan: must be finite"),
        ({"train": np.arange(3), "test": np.arange(2, 5)}, {}, "node 2 is in the test part and in another"),
        ({"train": np.array([N]), "test": np.arange(2)}, {}, f"train: node {N}: must be >= 0 and < {N}"),
        ({}, {"split": "published"}, "has no published parts"),
        ({}, {"tests_on_validation": True}, "has no validation nodes"),
        ({}, {"test_fraction": 0.5, "validation_fraction": 0.5}, "must be below 1 together"),
    ],
)
def test_what_is_wrong_is_one_message(tmp_path, changed, options, message):
    path = write_npz(tmp_path, **changed)
    with pytest.raises((DataError, ParameterError)) as caught:
        imported(open_graph(path), tmp_path, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.h5").exists()


def test_two_weights_of_an_edge_are_refused(tmp_path):
    path = write_npz(tmp_path, edges=np.array([[1, 2], [2, 1]]), edge_weight=np.array([1.0, 2.0]))
    with pytest.raises(DataError, match="an edge of node 1 is listed with two weights"):
        imported(open_graph(path), tmp_path)


def test_tables_name_the_line_of_a_wrong_edge(tmp_path):
    edges, nodes = write_tables(tmp_path)
    edges.write_text(edges.read_text() + "n1,nobody\n")
    with pytest.raises(DataError, match=r'edges.csv: line \d+: edge to node "nobody": there is no such node'):
        imported(open_graph(edges, nodes=nodes), tmp_path)
    nodes.write_text(nodes.read_text() + nodes.read_text().splitlines()[1] + "\n")
    with pytest.raises(DataError, match=r'line 43: node "n0" is there twice'):
        open_graph(edges, nodes=nodes)


def test_files_that_are_missing_are_asked_for(tmp_path):
    edges, nodes = write_tables(tmp_path)
    with pytest.raises(DataError, match="expected --nodes TABLE"):
        open_graph(edges)
    with pytest.raises(DataError, match=r"expected --nodes FEATURES.mtx"):
        open_graph(tmp_path / "a.mtx")
    with pytest.raises(DataError, match="unknown kind of file"):
        open_graph(tmp_path / "graph.txt")
    with pytest.raises(DataError, match=r"--nodes .*: not with an .npz archive"):
        open_graph(write_npz(tmp_path), nodes=nodes)


def test_the_plan_grows_with_the_graph_and_tells_the_work_of_powers():
    def plan(n, cut="pre", ranks=1):
        size = GraphSize(n, 5 * n, 16, 16 * n, is_sparse=False, is_weighted=False)
        return plan_import(size, GraphOptions(Diffusion(2, 0.05, cut)), ranks)

    small, large = plan(10**6), plan(10**7)
    assert 9 < (large.peak - large.items["program"]) / (small.peak - small.items["program"]) < 10.1
    assert large.peak < 12e9
    assert plan(10**7, ranks=2).peak < 0.7 * large.peak
    assert plan(10**5, "post").multiplications > plan(10**5).multiplications
