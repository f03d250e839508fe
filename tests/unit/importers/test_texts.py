"""Texts become windows of tokens, whose labels are the tokens that come next."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from hpc_sparse.errors import ConfigError, DataError
from hpc_sparse.importers.arrays.npz import import_npz
from hpc_sparse.importers.text.tokens import UNKNOWN, TextOptions, import_text, join_tokens, split_text
from hpc_sparse.inputs.batches import strands
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.dataset.file import load_dataset, load_samples, read_info
from hpc_sparse.storage.dataset.samples import DenseFeatures, Samples
from hpc_sparse.storage.dataset.validation import ValidationPart
from hpc_sparse.storage.dataset.writer import write_dataset

TEXT = "the cat sat on the mat;\nthe rat sat.\n" * 5


def imported(folder, text=TEXT, **options):
    (folder / "text.txt").write_text(text, encoding="utf-8")
    return import_text(folder / "text.txt", folder / "text.h5", options=TextOptions(**options))


def read(info, part, rows=slice(None)):
    samples = load_samples(info.path, part)
    return ["".join(info.vocabulary[t] for t in row) for row in samples.features.values[rows]], samples


def test_windows_follow_each_other_and_labels_are_one_ahead(tmp_path):
    info = imported(tmp_path, steps=10, test_fraction=0.2)
    found, samples = read(info, "train")
    held_out, _ = read(info, "test")
    n_train = len(TEXT) - round(0.2 * len(TEXT))
    assert "".join(found) == TEXT[: 10 * len(found)]
    assert "".join(held_out) == TEXT[n_train : n_train + 10 * len(held_out)]
    tokens = samples.features.values.reshape(-1)
    np.testing.assert_array_equal(samples.labels.reshape(-1)[:-1], tokens[1:])
    assert (info.unit, info.time_steps, info.has_step_labels, info.is_text) == ("character", 10, True, True)
    assert info.class_names == info.vocabulary
    assert info.vocabulary[0] == "t"  # the most frequent one
    assert sum(info.class_counts_train) == samples.labels.size


def test_words_and_a_limited_vocabulary(tmp_path):
    info = imported(tmp_path, unit="word", steps=4, vocabulary_size=6)
    assert len(info.vocabulary) == 6
    assert info.vocabulary[-1] == UNKNOWN
    assert info.vocabulary[0] == "the"
    assert split_text("It's well-known, no?\n", "word") == ["It's", "well-known", ",", "no", "?", "\n"]
    assert join_tokens(["It's", "well-known", ",", "no", "?", "\n", "Yes"], "word") == "It's well-known, no?\nYes"


def test_a_character_of_the_test_part_alone_is_unknown(tmp_path):
    info = imported(tmp_path, text="ab" * 50 + "z" * 11, steps=5, test_fraction=0.1)
    assert set(info.vocabulary) == {"a", "b", UNKNOWN}


def test_the_end_of_the_training_part_is_held_out(tmp_path):
    info = imported(tmp_path, steps=10)
    whole, _ = read(info, "train")
    dataset = load_dataset(ParallelContext.serial(threads=1), info.path, validation=ValidationPart(0.25, 0))
    n = round(0.25 * len(whole))
    assert dataset.n_validation == n
    names = ["".join(info.vocabulary[t] for t in row) for row in dataset.validation.features.values]
    assert names == whole[-n:]
    with pytest.raises(ConfigError, match="holds out 0 of the"):
        load_dataset(ParallelContext.serial(threads=1), info.path, validation=ValidationPart(0.001, 0))


def test_strands_go_through_all_samples_once():
    for n_samples, batch_size in ((10, 4), (10, 3), (1, 8), (7, 7), (12, 4)):
        rows = np.array(strands(n_samples, batch_size))
        assert sorted(rows[rows >= 0]) == list(range(n_samples))
        for before, after in pairwise(rows):
            assert all((b == a + 1) or b == -1 for a, b in zip(before, after, strict=True))
    assert strands(0, 4) == []


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (b"abc\xffdef", {}, "byte 3"),
        (b"abc\0def", {}, "character 3 is 0"),
        (b"abc", {"steps": 5}, "training part: 3 characters: expected more than steps = 5"),
        (b"abc" * 9, {"steps": 5}, "testing part: 3 characters: expected more than steps = 5"),
        (b"abc" * 9, {"steps": 1}, "steps = 1: expected at least 2"),
        (b"abc" * 9, {"vocabulary_size": 1}, "vocabulary_size = 1: expected at least 2"),
        (b"abc" * 9, {"unit": "letter"}, 'unit = "letter"'),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, content, options, said):
    (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(DataError) as caught:
        import_text(tmp_path / "text.txt", tmp_path / "out.h5", options=TextOptions(**options))
    assert said in str(caught.value)
    assert not (tmp_path / "out.h5").exists()


def samples(tokens, lengths=None):
    tokens = np.array(tokens, np.int32)
    return Samples(DenseFeatures(tokens), np.zeros(len(tokens), np.int32), lengths)


def test_tokens_with_lengths_come_back_and_wrong_ones_are_refused(tmp_path):
    own = {"title": "t", "class_names": ["a", "b"], "time_steps": 3, "vocabulary": ["x", "y"], "overwrite": True}
    train = samples([[0, 1, 1], [1, 0, 0]], np.array([2, 3], np.int32))
    write_dataset(tmp_path / "t.h5", train, samples([[0, 0, 1]], np.array([1], np.int32)), **own)
    info, found = read_info(tmp_path / "t.h5"), load_samples(tmp_path / "t.h5", "train")
    assert (info.n_tokens, info.has_lengths, info.has_step_labels) == (2, True, False)
    assert {tuple(row): n for row, n in zip(found.features.values.tolist(), found.lengths, strict=True)} == {
        (0, 1, 1): 2,
        (1, 0, 0): 3,
    }
    with pytest.raises(DataError, match=r"train/features\[0, 1\] = 2: must be >= 0 and < 2, one of the vocabulary"):
        write_dataset(tmp_path / "t.h5", samples([[0, 2, 1]]), samples([[0, 0, 1]]), **own)
    with pytest.raises(DataError, match=r"train/lengths\[0\] = 4: must be >= 1 and <= 3, the steps"):
        write_dataset(tmp_path / "t.h5", samples([[0, 1, 1]], np.array([4])), samples([[0, 0, 1]]), **own)


def archive(folder, **arrays):
    tokens = np.array([[0, 1, 2], [2, 1, 0], [1, 1, 1], [0, 0, 2]])
    own = {"x_train": tokens, "y_train": [0, 1, 0, 1], "x_test": tokens[:2], "y_test": [0, 1]}
    own |= {"vocabulary": ["x", "y", "z"], "lengths_train": [3, 1, 2, 3], "lengths_test": [1, 3]}
    np.savez(folder / "in.npz", **{name: np.array(each) for name, each in {**own, **arrays}.items()})
    return folder / "in.npz"


def test_archives_may_have_tokens_and_lengths(tmp_path):
    info = import_npz(archive(tmp_path), tmp_path / "out.h5")
    assert (info.vocabulary, info.time_steps, info.has_lengths, info.is_text) == (("x", "y", "z"), 3, True, False)
    found = load_samples(info.path, "test")
    np.testing.assert_array_equal(found.features.values, [[0, 0, 0], [2, 1, 0]])  # of lengths 1 and 3
    np.testing.assert_array_equal(found.lengths, [1, 3])


def test_what_is_beyond_a_length_may_be_anything(tmp_path):
    tokens = [[0, 1, 2], [2, -1, 9], [1, 1, -1], [0, 0, 2]]
    found = load_samples(import_npz(archive(tmp_path, x_train=tokens), tmp_path / "out.h5").path, "train")
    kept = {(tuple(row), n) for row, n in zip(found.features.values.tolist(), found.lengths, strict=True)}
    assert kept == {((0, 1, 2), 3), ((2, 0, 0), 1), ((1, 1, 0), 2), ((0, 0, 2), 3)}


def test_what_is_beyond_a_length_may_be_no_number(tmp_path):
    rng = np.random.default_rng(0)
    x, lengths = rng.normal(size=(20, 4, 2)).astype(np.float32), np.repeat([1, 4], 10)
    x[lengths == 1, 1:] = np.nan
    own = {"x": x, "y": np.tile([0, 1], 10)}
    np.savez(tmp_path / "in.npz", **own, lengths=lengths)
    found = load_samples(import_npz(tmp_path / "in.npz", tmp_path / "out.h5").path, "train")
    values = found.features.values.reshape(-1, 4, 2)
    assert not values[found.lengths == 1, 1:].any()
    assert (values[found.lengths == 4] != 0).all()
    np.savez(tmp_path / "in.npz", **own)
    with pytest.raises(DataError, match=r"in\.npz: x\[0, 2\] = nan: must be finite \(.* need an array lengths\)"):
        import_npz(tmp_path / "in.npz", tmp_path / "none.h5")


def test_archives_may_have_a_label_for_each_step_as_text(tmp_path):
    own = {
        "y_train": [["b", "a", ""], ["a", "?", "?"], ["b", "b", "c"], ["", "", "a"]],
        "y_test": [["a"] * 3, ["b"] * 3],
    }
    info = import_npz(archive(tmp_path, **own), tmp_path / "out.h5")
    assert (info.class_names, info.has_step_labels, info.is_text) == (("a", "b"), True, False)
    train, test = (load_samples(info.path, part) for part in ("train", "test"))
    found = {
        tuple(row): labels for row, labels in zip(train.features.values.tolist(), train.labels.tolist(), strict=True)
    }
    assert found == {
        (0, 1, 2): [1, 0, -1],
        (2, 0, 0): [0, -1, -1],  # of length 1
        (1, 1, 0): [1, 1, -1],  # of length 2, so that nothing of class c is left
        (0, 0, 2): [-1, -1, 0],
    }
    np.testing.assert_array_equal(test.labels, [[0, -1, -1], [1, 1, 1]])


def test_labels_of_steps_of_undivided_numbers(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 4, 2))
    np.savez(tmp_path / "in.npz", x=x, y=np.where(x[:, :, 0] < -1, -1, x[:, :, 1] > 0))
    info = import_npz(tmp_path / "in.npz", tmp_path / "out.h5", test_fraction=0.25)
    assert (info.n_train, info.n_test, info.n_classes, info.time_steps) == (15, 5, 2, 4)
    samples = load_samples(info.path, "train")
    values = samples.features.values.reshape(15, 4, 2)
    np.testing.assert_array_equal(samples.labels, np.where(values[:, :, 0] < -1, -1, values[:, :, 1] > 0))


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"y_train": np.zeros((4, 2), int)}, "train: 8 labels for 4 samples: expected one per sample"),
        ({"y_train": np.zeros((4, 3), int)}, "labels: shape [4, 3]: expected one label per sample"),
        ({"x_test": [[0, 0, 0], [0, 1, 3]]}, "x_test[1, 2] = 3: must be >= 0 and < 3, one of the vocabulary"),
        ({"x_train": np.zeros((4, 3))}, "x_train: float64[4, 3]: expected tokens"),
        ({"lengths_train": [3, 1, 2]}, "lengths_train: int64[3]: expected integers [4], the steps of each sample"),
        ({"lengths_train": [3, 1, 0, 3]}, "in.npz: lengths_train[2] = 0: must be >= 1 and <= 3, the steps of x_train"),
        ({"lengths_test": [2**32 + 1, 3]}, "in.npz: lengths_test[0] = 2147483647: must be >= 1 and <= 3"),
        ({"x_train": [[0, 1, 2], [2, -1, 0], [1, -1, 0], [0, 0, 2]]}, "x_train[2, 1] = -1: must be >= 0 and < 3"),
        ({"x_train": np.array([[0], [1, 2], [1], [2]], dtype=object)}, "with an array of lengths"),
    ],
)
def test_archives_whose_sequences_do_not_fit_are_refused(tmp_path, arrays, said):
    with pytest.raises(DataError) as caught:
        import_npz(archive(tmp_path, **arrays), tmp_path / "out.h5")
    assert said in str(caught.value)
