"""Augmented images: right transforms, that depend on the sample alone, prepared in the background or not."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from importlib import import_module

import numpy as np
import pytest

from hpc_sparse.errors import DataError, MachineError
from hpc_sparse.inputs.augmentation import AugmentedBatches, Transforms, made_ahead, source_pixels, transformed
from hpc_sparse.inputs.batches import shuffled_batches
from hpc_sparse.storage.dataset.samples import CsrFeatures, DenseFeatures, Samples

cv2 = import_module("cv2")
N_SAMPLES = 75


def smooth_images(n: int) -> np.ndarray:
    """Images in which neighbours differ little, so that rounding shows little."""
    row, column, colour = np.mgrid[:32, :32, :3]
    phase = np.arange(n)[:, None, None, None]
    return (127 + 60 * np.sin(row / 6 + phase) + 60 * np.cos(column / 5 + colour)).astype(np.uint8)


@pytest.fixture
def shard() -> Samples:
    images = np.random.default_rng(0).integers(0, 256, (N_SAMPLES, 3072), dtype=np.uint8)
    return Samples(DenseFeatures(images), np.arange(N_SAMPLES, dtype=np.int32))


def transforms_of(
    n: int, angle: float = 0, down: float = 0, right: float = 0, *, is_flipped: bool = False
) -> Transforms:
    return Transforms(np.full(n, angle, np.float32), np.tile(np.float32([down, right]), (n, 1)), np.full(n, is_flipped))


def bilinear(image: np.ndarray, row: float, column: float) -> np.ndarray:
    """An image between its pixels, in float64; the nearest one on its edge beyond it."""
    top, left = int(np.floor(row)), int(np.floor(column))
    value = np.zeros(3)
    for r, row_weight in ((top, 1 - (row - top)), (top + 1, row - top)):
        for c, column_weight in ((left, 1 - (column - left)), (left + 1, column - left)):
            value += row_weight * column_weight * image[min(max(r, 0), 31), min(max(c, 0), 31)]
    return value


def by_definition(image: np.ndarray, angle: float, down: float, right: float, *, is_flipped: bool) -> np.ndarray:
    """Pixel by pixel: where a flipped, shifted and rotated pixel came from."""
    result = np.empty(image.shape)
    for row in range(32):
        for column in range(32):
            y, x = row - 15.5 - down, (-1 if is_flipped else 1) * (column - 15.5) - right
            source_row = np.cos(angle) * y - np.sin(angle) * x + 15.5
            source_column = np.sin(angle) * y + np.cos(angle) * x + 15.5
            result[row, column] = bilinear(image, source_row, source_column)
    return result


def test_no_rotation_shift_and_flip_leave_every_pixel_as_it_is() -> None:
    images = np.random.default_rng(1).integers(0, 256, (1030, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(transformed(cv2, images, transforms_of(1030)), images)


def test_a_flip_mirrors_left_and_right_exactly() -> None:
    images = np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(transformed(cv2, images, transforms_of(5, is_flipped=True)), images[:, :, ::-1])


def test_a_shift_by_whole_pixels_repeats_the_edge_of_the_same_image() -> None:
    images = np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    shifted = transformed(cv2, images, transforms_of(5, down=2, right=-3))
    np.testing.assert_array_equal(shifted[:, 2:, :-3], images[:, :-2, 3:])
    np.testing.assert_array_equal(shifted[:, 0, :-3], images[:, 0, 3:])
    np.testing.assert_array_equal(shifted[:, 2:, -1], images[:, :-2, -1])


@pytest.mark.parametrize("is_flipped", [False, True])
@pytest.mark.parametrize(("angle", "down", "right"), [(0.17, 0, 0), (-0.1, 3.2, -1.3), (0.05, -2.6, 3.1)])
def test_transforms_are_those_of_the_definition(angle: float, down: float, right: float, is_flipped: bool) -> None:
    images = smooth_images(3)
    found = transformed(cv2, images, transforms_of(3, angle, down, right, is_flipped=is_flipped))
    for image, result in zip(images, found, strict=True):
        expected = by_definition(image, angle, down, right, is_flipped=is_flipped)
        assert np.abs(result - expected).max() < 1.5


def test_angles_shifts_and_flips_fill_their_ranges_and_no_more() -> None:
    drawn = Transforms.drawn(20_000, 1, 2, 3)
    degrees = np.rad2deg(drawn.angle)
    assert np.abs(degrees).max() <= 10.001
    assert np.abs(drawn.shift).max() <= 3.2001
    for values, largest in ((degrees, 10), (drawn.shift[:, 0], 3.2), (drawn.shift[:, 1], 3.2)):
        assert values.min() < -0.99 * largest
        assert values.max() > 0.99 * largest
        assert abs(values.mean()) < 0.03 * largest
    assert abs(drawn.is_flipped.mean() - 0.5) < 0.02
    rows, columns = source_pixels(drawn.of(slice(0, 50)))
    for places in (rows, columns):
        assert places.min() >= 0
        assert places.max() <= 31


def test_the_transform_of_a_sample_depends_on_seed_epoch_and_replica_only(shard: Samples) -> None:
    def augmented(batch_size: int, seed: int, epoch: int, replica: int, order_of: int, n_ahead: int) -> np.ndarray:
        result = np.empty((N_SAMPLES, 3072), np.uint8)
        batches = shuffled_batches(N_SAMPLES, batch_size, 0, order_of, 0)
        prepared = AugmentedBatches(shard, seed, replica, n_ahead=n_ahead).prepare(epoch, batches)
        for batch, samples in zip(batches, prepared, strict=True):
            np.testing.assert_array_equal(samples.labels, batch)
            assert isinstance(samples.features, DenseFeatures)
            result[batch] = samples.features.values
        return result

    first = augmented(16, 1, 1, 0, order_of=1, n_ahead=0)
    for batch_size, order_of, n_ahead in ((16, 1, 3), (7, 2, 1), (75, 3, 200)):
        np.testing.assert_array_equal(augmented(batch_size, 1, 1, 0, order_of, n_ahead), first)
    for seed, epoch, replica in ((2, 1, 0), (1, 2, 0), (1, 1, 1)):
        other = augmented(16, seed, epoch, replica, order_of=1, n_ahead=3)
        assert (other != first).any(axis=1).all()


def test_the_shard_itself_is_not_changed(shard: Samples) -> None:
    assert isinstance(shard.features, DenseFeatures)
    before = shard.features.values.copy()
    list(AugmentedBatches(shard, 0, 0).prepare(1, [np.arange(N_SAMPLES)]))
    np.testing.assert_array_equal(shard.features.values, before)


def test_a_shard_without_samples_has_no_batches() -> None:
    empty = Samples(DenseFeatures(np.empty((0, 3072), np.uint8)), np.empty(0, np.int32))
    assert list(AugmentedBatches(empty, 0, 0).prepare(1, [])) == []


@pytest.mark.parametrize("n_ahead", [0, 2])
def test_an_error_comes_in_the_place_of_its_item(n_ahead: int) -> None:
    def make(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        return 10 * item

    made = made_ahead(make, range(6), n_ahead)
    assert [next(made) for _ in range(3)] == [0, 10, 20]
    with pytest.raises(ValueError, match="three"):
        next(made)


def workers() -> int:
    return sum("made-ahead" in thread.name for thread in threading.enumerate())


def test_no_more_is_made_than_was_allowed_and_an_early_end_leaves_no_thread() -> None:
    made: list[int] = []
    results: Iterator[None] = made_ahead(made.append, range(100), 4)
    next(results)
    next(results)
    assert workers() == 1
    results.close()  # type: ignore[attr-defined]
    assert workers() == 0
    assert len(made) <= 2 + 4
    assert made == list(range(len(made)))


@pytest.mark.parametrize("n_ahead", [0, 1, 2, 9])
def test_everything_is_made_in_order_and_no_thread_stays(n_ahead: int) -> None:
    assert list(made_ahead(str, range(7), n_ahead)) == list("0123456")
    assert workers() == 0


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            DenseFeatures(np.zeros((2, 784), np.uint8)),
            "784 uint8 features; expected images of 32 x 32 x 3 = 3072 uint8",
        ),
        (DenseFeatures(np.zeros((2, 3072), np.float32)), "3072 float32 features"),
        (CsrFeatures(np.zeros(3, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), 3072), "is sparse"),
    ],
)
def test_other_samples_are_refused(features: DenseFeatures | CsrFeatures, message: str) -> None:
    with pytest.raises(DataError, match=message):
        AugmentedBatches(Samples(features, np.zeros(2, np.int32)), 0, 0)


def test_without_opencv_the_message_says_what_to_install(shard: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MachineError, match=r"needs OpenCV.*hpc-sparse\[augment\]"):
        AugmentedBatches(shard, 0, 0)
