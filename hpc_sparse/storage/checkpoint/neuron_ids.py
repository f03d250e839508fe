"""Which of its original neurons a network still has: ``neurons/0000`` (inputs) and so on, int32, increasing."""

from __future__ import annotations

from hpc_sparse.dtypes import INDEX, Int32Array
from hpc_sparse.storage.checkpoint.layer_state import write_even_parts
from hpc_sparse.storage.container.reader import ContainerReader
from hpc_sparse.storage.container.writer import ContainerWriter

NEURONS = "neurons"
"""Group of the arrays; a layer of neurons from which none was removed has no array."""


def write_neuron_ids(writer: ContainerWriter, neuron_ids: tuple[Int32Array | None, ...]) -> None:
    """Write the ids, which every rank holds whole (collective)."""
    for number, ids in enumerate(neuron_ids):
        if ids is not None:
            write_even_parts(writer, f"{NEURONS}/{number:04d}", ids)


def reduced_layers(reader: ContainerReader, n_widths: int) -> tuple[int, ...]:
    """Numbers of the layers of neurons, 0 = inputs, that have lost some (collective)."""
    names = reader.names(NEURONS) if reader.has(NEURONS) else []
    numbers = {f"{number:04d}": number for number in range(n_widths)}
    for name in names:
        if name not in numbers:
            reader.fail(f"{NEURONS}/{name}: expected at most 0000 to {n_widths - 1:04d}, the layers of neurons")
    return tuple(numbers[name] for name in names)


def read_neuron_ids(reader: ContainerReader, widths: list[int]) -> tuple[Int32Array | None, ...]:
    """The ids per layer of neurons, of which there are ``widths``; () if none was ever removed (collective)."""
    reduced = reduced_layers(reader, len(widths))
    if not reduced:
        return ()
    neuron_ids: list[Int32Array | None] = [None] * len(widths)
    for number in reduced:
        name = f"{NEURONS}/{number:04d}"
        reader.require(name, INDEX, (widths[number],))
        neuron_ids[number] = reader.read(name)
    return tuple(neuron_ids)
