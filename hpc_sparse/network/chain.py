"""The chain of layers: the one place where passes go from layer to layer."""

from __future__ import annotations

from collections.abc import Sequence

from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.layers.protocol import Layer, Saved
from hpc_sparse.network.placement import WHOLE, Placement
from hpc_sparse.network.sinks import Sink
from hpc_sparse.network.tiles import Tiles
from hpc_sparse.network.tokens import Batch


def forward(
    layers: Sequence[Layer],
    batch: Batch,
    outs: Sequence[Tiles],
    rooms: Sequence[Saved],
    placement: Placement = WHOLE,
    *,
    goes_on: bool = False,
) -> Tiles:
    """The output layer's weighted sums, ``outs[-1]``; no dropout.

    Parameters
    ----------
    layers : sequence of Layer
        From the first hidden one to the output.
    batch : Tiles or Tokens
        Of the inputs.
    outs : sequence of Tiles, one per layer
        Overwritten.
    rooms : sequence of Saved, one per layer
        What layers may compute in.
    placement : Placement
    goes_on : bool
        Whether the sequences go on where those of the pass before, in the same rooms, have ended.
    """
    source: Batch = batch
    for number, (layer, out, room) in enumerate(zip(layers, outs, rooms, strict=True)):
        if goes_on:
            layer.forward(source, out, room, None, goes_on=True)
        else:
            layer.forward(source, out, room, None)
        placement.begin(number, "forward")
        placement.finish(number, "forward")
        source = out
    return outs[-1]


def forward_train(
    layers: Sequence[Layer],
    batch: Batch,
    outs: Sequence[Tiles],
    saved: Sequence[Saved],
    dropouts: Sequence[Dropout | None],
    placement: Placement = WHOLE,
) -> Tiles:
    """As :func:`forward`, with dropout, saving in ``saved`` what :func:`backward` needs.

    Parameters
    ----------
    layers, batch, outs
        As in :func:`forward`.
    saved : sequence of Saved, one per layer
    dropouts : sequence of Dropout or None, one per layer
        None for the output layer.
    placement : Placement
    """
    source: Batch = batch
    for number, (layer, out, kept, dropout) in enumerate(zip(layers, outs, saved, dropouts, strict=True)):
        layer.forward(source, out, kept, dropout)
        placement.begin(number, "forward")
        placement.finish(number, "forward")
        source = out
    return outs[-1]


def backward(
    layers: Sequence[Layer],
    batch: Batch,
    outs: Sequence[Tiles],
    saved: Sequence[Saved],
    dropouts: Sequence[Dropout | None],
    delta: Tiles,
    deltas: Sequence[Tiles],
    sinks: Sequence[Sink] | None,
    placement: Placement = WHOLE,
) -> None:
    """Pass the deltas of the output layer down and give every layer's gradients to its sink.

    Parameters
    ----------
    layers, batch, outs, saved, dropouts
        Of the :func:`forward_train` before.
    delta : Tiles
        Deltas of the output layer; 0 in the columns beyond the batch.
    deltas : sequence of Tiles, one per hidden layer
        Overwritten with the layers' deltas; ``outs`` themselves where activations are not needed any more.
    sinks : sequence of Sink, one per layer, or None
        None: gradients are not wanted, only what :meth:`~hpc_sparse.network.layers.protocol.Layer.signals` tells.
    placement : Placement
    """
    for number in range(len(layers) - 1, 0, -1):
        below = layers[number - 1]
        gate = below.gate(saved[number - 1], dropouts[number - 1])
        sink = None if sinks is None else sinks[number]
        placement.finish(number, "backward")
        layers[number].backward(delta, outs[number - 1], saved[number], gate, sink, deltas[number - 1])
        placement.begin(number - 1, "backward")
        delta = deltas[number - 1]
    layers[0].backward(delta, batch, saved[0], None, None if sinks is None else sinks[0], None)
