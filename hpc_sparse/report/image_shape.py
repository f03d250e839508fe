"""Shape of the images whose pixels are the inputs of a network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isqrt

from hpc_sparse.errors import ConfigError, quoted
from hpc_sparse.storage.dataset.samples import DatasetInfo

NO_IMAGE = "none"
SMALLEST_SIDE = 8
"""Pixels; data sets of fewer features hardly ever are images."""


@dataclass(frozen=True)
class ImageShape:
    """Rows, columns and colours of an image; its pixels lie row by row, the colours of a pixel side by side."""

    height: int
    width: int
    channels: int = 1

    @property
    def n_features(self) -> int:
        """Values of an image."""
        return self.height * self.width * self.channels

    def __str__(self) -> str:
        """As people write it."""
        return f"{self.height} x {self.width}" + (f" x {self.channels}" if self.channels > 1 else "")


def parse_image_shape(text: str) -> ImageShape | None:
    """The shape that ``28x28``, ``32x32x3`` or ``none`` names.

    Raises
    ------
    ConfigError
        It is something else.
    """
    if text == NO_IMAGE:
        return None
    match = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})(?:x([1-9]\d?))?", text)
    if match is None:
        raise ConfigError(f"--image-shape {quoted(text)}: expected rows x columns as in 28x28, 32x32x3, or none")
    return ImageShape(int(match[1]), int(match[2]), int(match[3] or 1))


def guess_image_shape(info: DatasetInfo) -> ImageShape | None:
    """Shape of square images of one or three colours that fits the number of byte features, or None.

    Data sets do not store what they show; features that are bytes are nearly always images.
    """
    if info.is_sparse or info.dtype != "uint8":
        return None
    for channels in (1, 3):
        side = isqrt(info.n_features // channels)
        if side >= SMALLEST_SIDE and side * side * channels == info.n_features:
            return ImageShape(side, side, channels)
    return None
