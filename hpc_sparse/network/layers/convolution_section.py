"""Keys of convolutional layers in tables ``[[network.layers]]``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from hpc_sparse.config import LayerSection, RunConfig
from hpc_sparse.network.layers.plain_runs import refuses_all_but_plain_runs

Side = Annotated[int, Field(ge=1, le=4096)]

Sampling = Literal["none", "stride", "blur", "polyphase", "polyphase_blur"]

HALVING = ("stride", "blur", "polyphase", "polyphase_blur")
"""Samplings that take one of 2 x 2 places."""

STORED = ("csr", "dense")
"""Kinds of connections that taps may have."""


class ConvolutionSection(LayerSection):
    """A convolution of images without edges, with sparse taps, and a sampling of its places."""

    reads_images: ClassVar[bool] = True

    kernel: Annotated[int, Field(ge=1, le=31)] = 3
    """Rows and columns of places that a tap may read from; connections are (channel, row, column) of each neuron."""

    sampling: Sampling = "none"
    """Which places go on. stride: the first of each 2 x 2. polyphase: of the four grids of every second place the one
    of largest norm, chosen by each sample. blur: stride after smoothing; polyphase_blur: polyphase after it."""

    norm: Literal["l1", "l2", "linf"] = "l2"
    """Of polyphase: how the four grids are compared."""

    pool: Literal["none", "average"] = "none"
    """average: the mean over all places goes on, as a layer of kind sparse or the output needs it."""

    image: Annotated[tuple[Side, Side], Field(strict=False)] | None = None
    """Of the first convolution: rows and columns of the images, by default those of a square image."""

    @property
    def gives_sequences(self) -> bool:
        """Whether several places go on."""
        return self.pool == "none"

    @property
    def halves(self) -> bool:
        """Whether every second row and column goes on."""
        return self.sampling in HALVING

    def grid_out(self, grid: tuple[int, ...]) -> tuple[int, ...]:
        """Rows and columns of places that go on."""
        rows, columns = grid if len(grid) == 2 else (1, 1)
        if self.kernel > min(rows, columns):
            raise ValueError(f"kernel = {self.kernel}: larger than the image, which has {rows} x {columns} places here")
        if self.halves and (rows % 2 or columns % 2):
            raise ValueError(
                f'sampling = "{self.sampling}": needs even sides, but the image has {rows} x {columns} here'
            )
        return () if self.pool == "average" else (rows // 2, columns // 2) if self.halves else (rows, columns)

    def smallest(self, n: int) -> Self:
        """A layer of ``n`` neurons that takes the same kernels, for images of as few places as there can be."""
        return self.model_copy(update={"n": n, "kernel": 1, "image": None})

    @model_validator(mode="after")
    def _has_plain_taps(self) -> Self:
        if self.connections not in STORED:
            raise ValueError(
                f'connections = "{self.connections}": taps are single connections; use {" or ".join(STORED)}'
            )
        if self.dropout is not None:
            raise ValueError(f'dropout = {self.dropout}: kind = "convolution" has none')
        return self

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:
        """Anything but float32, removal of neurons, reserves, and topologies of pairs of neurons."""
        return refuses_all_but_plain_runs("convolution", config)
