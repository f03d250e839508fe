"""The samples that are held out: stratified, chosen by the seed alone, and the same however the file is shared out."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest
import scipy.sparse

from hpc_sparse.errors import ConfigError, FileFormatError
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.partition import Share
from hpc_sparse.storage.dataset import validation
from hpc_sparse.storage.dataset.file import load_dataset
from hpc_sparse.storage.dataset.samples import CsrFeatures, DenseFeatures, Samples
from hpc_sparse.storage.dataset.validation import (
    ValidationPart,
    choose_rows,
    count_validation,
    rows_of_share,
    set_apart,
    validation_counts,
)

CTX = ParallelContext.serial(threads=1)
COUNTS = (100, 7, 0, 33)
"""Training samples of each class; a class may have test samples only."""


@pytest.fixture
def info(make_dataset):
    return dataclasses.replace(
        make_dataset(n_classes=4).info, n_train=sum(COUNTS), class_counts_train=COUNTS, class_names=tuple("abcd")
    )


def make_labels():
    return np.random.default_rng(5).permutation(np.repeat(np.arange(4), COUNTS)).astype(np.int32)


def chosen(info, fraction=0.2, seed=3):
    return choose_rows(CTX, ValidationPart(fraction, seed), info, make_labels(), 0)


def rows_of(samples: Samples) -> np.ndarray:
    """Features and labels as one dense matrix."""
    features = samples.features
    if isinstance(features, DenseFeatures):
        values = features.values
    else:
        arrays = (features.values, features.indices, features.indptr)
        values = scipy.sparse.csr_array(arrays, shape=(features.n_samples, features.n_features)).toarray()
    return np.column_stack([values, samples.labels])


def test_each_class_gives_its_share(info):
    rows = chosen(info)
    assert (np.diff(rows) > 0).all()
    assert np.bincount(make_labels()[rows], minlength=4).tolist() == [20, 1, 0, 7]
    assert validation_counts(info, 0.2).tolist() == [20, 1, 0, 7]
    assert count_validation(info, 0.2) == rows.size
    assert count_validation(info, 0.0) == 0


def test_the_set_depends_on_the_seed(info):
    np.testing.assert_array_equal(chosen(info), chosen(info))
    assert len(np.intersect1d(chosen(info), chosen(info, seed=4))) < chosen(info).size


def test_every_sample_is_held_out_equally_often(info):
    times = np.zeros(info.n_train, int)
    for seed in range(400):
        times[chosen(info, seed=seed)] += 1
    of_first = times[make_labels() == 0]
    # Binomial: 400 times with a probability of 0.2 each.
    assert np.abs(of_first - 80).max() < 5 * np.sqrt(400 * 0.2 * 0.8)


@pytest.mark.parametrize("n_ranks", [2, 3, 7, 150])
def test_the_set_is_the_same_on_any_number_of_ranks(info, monkeypatch, n_ranks):
    """Ranks are threads, which meet where real ones would."""
    expected, parts, meeting = chosen(info), [None] * n_ranks, threading.Barrier(n_ranks)

    def all_gather(ctx, part):
        parts[ctx.rank] = part
        meeting.wait()
        gathered = list(parts)
        meeting.wait()
        return gathered

    monkeypatch.setattr(validation, "all_gather_parts", all_gather)
    found = [None] * n_ranks

    def choose(rank):
        start, stop = Share(rank, n_ranks).range(info.n_train)
        ctx = dataclasses.replace(CTX, rank=rank, size=n_ranks)
        found[rank] = choose_rows(ctx, ValidationPart(0.2, 3), info, make_labels()[start:stop], start)

    ranks = [threading.Thread(target=choose, args=(rank,)) for rank in range(n_ranks)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    for rows in found:
        np.testing.assert_array_equal(rows, expected)


@pytest.mark.parametrize("n_shares", [1, 2, 3, 10, 12])
@pytest.mark.parametrize("held_out", [[], [0], [9], [0, 1, 2], [4, 5], [0, 2, 4, 6, 8], [1, 3, 5, 7, 9]])
def test_shards_are_even_and_leave_no_row_out(n_shares, held_out):
    held_out = np.array(held_out, np.int64)
    ranges = [rows_of_share(Share(number, n_shares), 10, held_out) for number in range(n_shares)]
    assert [row for start, stop in ranges for row in range(start, stop)] == list(range(10))
    sizes = [stop - start - int(((held_out >= start) & (held_out < stop)).sum()) for start, stop in ranges]
    even = (Share(number, n_shares).range(10 - held_out.size) for number in range(n_shares))
    assert sizes == [stop - start for start, stop in even]
    assert rows_of_share(Share.none(), 10, held_out) == (0, 0)


@pytest.mark.parametrize("kind", ["float32", "uint8", "csr"])
@pytest.mark.parametrize("n_rows_at_a_time", [1, 7, 1024])
def test_samples_are_set_apart_in_the_arrays_that_hold_them(make_dataset, monkeypatch, kind, n_rows_at_a_time):
    monkeypatch.setattr(validation, "ROWS_AT_A_TIME", n_rows_at_a_time)
    samples = make_dataset(kind=kind).train
    before, array = rows_of(samples), samples.features.values
    is_held_out = np.random.default_rng(1).random(samples.n_samples) < 0.3
    kept, held_out = set_apart(samples, is_held_out)
    np.testing.assert_array_equal(rows_of(kept), before[~is_held_out])
    np.testing.assert_array_equal(rows_of(held_out), before[is_held_out])
    assert np.shares_memory(kept.features.values, array)
    assert kept.features.values.flags.c_contiguous
    assert kept.labels.dtype == held_out.labels.dtype == np.int32
    if isinstance(kept.features, CsrFeatures):
        assert (kept.features.indptr.dtype, kept.features.indices.dtype) == (np.int64, np.int32)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("n_ranks", [2, 3])
def test_shards_of_a_file_are_together_what_one_rank_has(tmp_path, write_small_data, kind, n_ranks):
    path, part = write_small_data(tmp_path / "data.h5", kind), ValidationPart(0.1, seed=7)
    whole, all_rows = load_dataset(CTX, path, validation=part), rows_of(load_dataset(CTX, path).train)
    assert whole.n_validation == whole.validation.n_samples == 33
    assert whole.n_train == whole.train.n_samples == 331 - 33
    together = np.concatenate([rows_of(whole.train), rows_of(whole.validation)])
    np.testing.assert_array_equal(np.unique(together, axis=0), np.unique(all_rows, axis=0))
    shards = [load_dataset(CTX, path, train=Share(n, n_ranks), validation=part) for n in range(n_ranks)]
    for name in ("train", "validation"):
        rows = np.concatenate([rows_of(getattr(shard, name)) for shard in shards])
        np.testing.assert_array_equal(rows, rows_of(getattr(whole, name)))
    assert max(shard.train.n_samples for shard in shards) - min(shard.train.n_samples for shard in shards) <= 1
    np.testing.assert_array_equal(rows_of(whole.test), rows_of(load_dataset(CTX, path).test))


def test_statistics_are_those_of_the_whole_training_part(tmp_path, write_small_data):
    path = write_small_data(tmp_path / "data.h5")
    with_part, without = load_dataset(CTX, path, validation=ValidationPart(0.3, 1)), load_dataset(CTX, path)
    np.testing.assert_array_equal(with_part.mean, without.mean)
    np.testing.assert_array_equal(with_part.deviation, without.deviation)


@pytest.mark.parametrize(("fraction", "n_held_out"), [(0.05, 0), (0.95, 7)])
def test_a_class_with_too_few_samples_is_named(info, fraction, n_held_out):
    message = (
        rf"validation_fraction = {fraction}: holds out {n_held_out} of the 7 training samples of class 1 \(b\): must"
    )
    with pytest.raises(ConfigError, match=message):
        validation_counts(info, fraction)


def test_damaged_labels_are_noticed_before_anything_is_chosen(tmp_path, write_small_data):
    path = write_small_data(tmp_path / "data.h5")
    content = path.read_bytes()
    labels = load_dataset(CTX, path).train.labels.tobytes()
    assert content.count(labels) == 1
    path.write_bytes(content.replace(labels, b"\x7f" + labels[1:]))
    with pytest.raises(FileFormatError, match="train/labels: damaged"):
        load_dataset(CTX, path, validation=ValidationPart(0.1, 1))
