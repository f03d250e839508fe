"""JPEG images with a common header become bytes, row by row; damage is named with the image."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hpc_sparse.errors import DataError, MachineError
from hpc_sparse.importers.images.cifar10 import import_cifar10
from hpc_sparse.storage.dataset.file import load_samples
from hpc_sparse.storage.dataset.samples import DenseFeatures

N_IMAGES, N_TRAIN = 23, 17
N_HEADER = 100
LABELS = (np.arange(N_IMAGES) % 10).astype(np.uint8)


def encoded(size: tuple[int, int] = (32, 32)) -> tuple[list[bytes], np.ndarray]:
    """JPEG files, and what Pillow makes of them."""
    pixels = np.random.default_rng(0).integers(0, 256, (N_IMAGES, *size, 3), dtype=np.uint8)
    files = []
    for image in pixels:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=75)
        files.append(file.getvalue())
    return files, np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files])


def archive(files: list[bytes], **changes: Any) -> dict[str, Any]:
    bodies = [file[N_HEADER:] for file in files]
    return {
        "header": np.frombuffer(files[0][:N_HEADER], np.uint8),
        "body": np.frombuffer(b"".join(bodies), np.uint8),
        "offset": np.cumsum([0, *map(len, bodies)]).astype(np.uint32),
        "label": LABELS,
    } | changes


def test_images_are_decoded_in_order_and_the_last_ones_are_for_testing(tmp_path: Path) -> None:
    files, images = encoded()
    assert len({file[:N_HEADER] for file in files}) == 1
    np.savez(tmp_path / "in.npz", **archive(files))
    info = import_cifar10(tmp_path / "in.npz", tmp_path / "out.h5", n_train=N_TRAIN)
    assert (info.n_train, info.n_test, info.n_features, info.dtype) == (17, 6, 3072, "uint8")
    assert "JPEG" in info.title
    assert info.class_names[6] == "frog"
    test, train = (load_samples(tmp_path / "out.h5", part) for part in ("test", "train"))  # type: ignore[arg-type]
    assert isinstance(test.features, DenseFeatures)
    assert isinstance(train.features, DenseFeatures)
    np.testing.assert_array_equal(test.features.values, images[N_TRAIN:].reshape(6, -1))
    np.testing.assert_array_equal(test.labels, LABELS[N_TRAIN:])
    pairs = {(label, row.tobytes()) for label, row in zip(train.labels, train.features.values, strict=True)}
    assert pairs == {(label, image.tobytes()) for label, image in zip(LABELS[:N_TRAIN], images, strict=False)}


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    files, _ = encoded()
    good = archive(files)
    wrong = [
        ({"offset": good["offset"][:-1]}, "23 labels for 22 images"),
        ({"offset": good["offset"][: N_TRAIN + 1]}, "expected more than 18 positions"),
        ({"offset": good["offset"] + 1}, "expected positions from 0"),
        ({"offset": good["offset"][::-1]}, "expected positions from 0"),
        ({"body": good["body"].astype(np.int16)}, "body: int16: expected uint8"),
        ({"header": good["header"][1:]}, "image 0: cannot be decoded"),
        ({"label": LABELS + 1}, r"labels\[9\] = 10: must be >= 0 and < 10"),
        (archive(encoded((32, 16))[0]), r"image 0: shape \[32, 16, 3\]: expected \[32, 32, 3\]"),
    ]
    for changes, message in wrong:
        np.savez(tmp_path / "in.npz", **(good | changes))
        with pytest.raises(DataError, match=message):
            import_cifar10(tmp_path / "in.npz", tmp_path / "out.h5", n_train=N_TRAIN)
        assert not (tmp_path / "out.h5").exists()


def test_without_pillow_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "in.npz", **archive(encoded()[0]))
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MachineError, match=r"needs Pillow.*hpc-sparse\[images\]"):
        import_cifar10(tmp_path / "in.npz", tmp_path / "out.h5", n_train=N_TRAIN)
