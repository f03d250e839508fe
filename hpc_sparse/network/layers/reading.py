"""How a layer reads its inputs: the numbers of all neurons below, or tokens, of which each is one neuron of 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from hpc_sparse.dtypes import INDEX, OFFSET, Int32Array, Int64Array
from hpc_sparse.kernels.recurrent import token_columns as kernels
from hpc_sparse.kernels.threads import threads_in_use
from hpc_sparse.network.connections.protocol import Connections, Epilogue
from hpc_sparse.network.sinks import DescendMap, MapSink
from hpc_sparse.network.tiles import Tiles
from hpc_sparse.network.tokens import Tokens

SETTING = "reads"
"""Setting of layers that read something else than numbers: what."""

TOKENS = "tokens"


class Reading(Protocol):
    """Products of the connections of a layer with what comes in.

    Attributes
    ----------
    tokens : bool
        Whether these are tokens.
    """

    tokens: bool

    def product(self, connections: Connections, source: Any, epilogue: Epilogue, out: Tiles) -> None:
        """``out = epilogue(W source)``; an epilogue without slope or dropout."""
        ...

    def gradient(self, connections: Connections, delta: Tiles, source: Any, sink: MapSink) -> None:
        """The gradients of the weights and of the rows' biases go to ``sink``."""
        ...


class NumbersRead:
    """Inputs are numbers, in tiles."""

    tokens = False

    def product(self, connections: Connections, source: Tiles, epilogue: Epilogue, out: Tiles) -> None:
        """As the connections do it."""
        connections.product(source, epilogue, out)

    def gradient(self, connections: Connections, delta: Tiles, source: Tiles, sink: MapSink) -> None:
        """As the connections do it."""
        connections.gradient(delta, source, sink)


class Columns(NamedTuple):
    """The weights of each input: their rows, and their places among all weights.

    Attributes
    ----------
    indptr : int64[n_in + 1]
    rows, position : int32[n]
        Rows increase within a column.
    """

    indptr: Int64Array
    rows: Int32Array
    position: Int32Array

    @classmethod
    def of(cls, connections: Connections) -> Columns:
        """The columns of connections of any kind."""
        n = connections.weight.size
        assert n <= np.iinfo(INDEX).max, n
        matrix = connections.matrix(np.arange(n, dtype=INDEX)).tocsc()
        return cls(matrix.indptr.astype(OFFSET), matrix.indices.astype(INDEX), matrix.data.astype(INDEX))


class TokensRead:
    """Inputs are tokens: the products take the column of each, whatever the kind of connections.

    The columns are put together when they are first needed, and again after connections have come or gone.
    """

    tokens = True

    def __init__(self) -> None:
        self._of: Connections | None = None
        self._columns: Columns | None = None

    def product(self, connections: Connections, source: Tokens, epilogue: Epilogue, out: Tiles) -> None:
        """The column of each token, and the biases."""
        assert epilogue.slope == 1, epilogue.slope
        assert epilogue.dropout is None
        columns = self._columns_of(connections)
        kernels.add_columns(*columns, connections.weight, epilogue.bias, source.values, source.layout, out.values)

    def gradient(self, connections: Connections, delta: Tiles, source: Tokens, sink: MapSink) -> None:
        """Each delta goes to the weights of its token."""
        columns, (n_rows, n) = self._columns_of(connections), (delta.n_neurons, connections.weight.size)
        if isinstance(sink, DescendMap):
            room = sink.scratch(n + n_rows)
            of_weights, of_biases = room[:n], room[n:]
        else:
            of_weights, of_biases = sink.weight_gradient, sink.bias_gradient
        where = delta.values, n_rows, delta.layout
        kernels.columns_gradient(*columns, source.values, *where, threads_in_use(), of_weights)
        kernels.row_sums(*where, of_biases)
        sink.accept(of_weights, of_biases)

    def _columns_of(self, connections: Connections) -> Columns:
        if self._columns is None or connections is not self._of:
            self._of, self._columns = connections, Columns.of(connections)
        return self._columns

    def __getstate__(self) -> dict[str, None]:
        """Without the columns, which are made again."""
        return {"_of": None, "_columns": None}


READINGS: dict[bool, Callable[[], Reading]] = {False: NumbersRead, True: TokensRead}
"""By whether tokens are read."""
