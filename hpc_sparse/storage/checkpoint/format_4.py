"""Layout of checkpoints of format 4, apart from their layers (:mod:`hpc_sparse.storage.checkpoint.layer_groups`).

No group has more than 8 members and no object more than 8 attributes, so that HDF5 keeps them all in headers.

| group or array         | content                                                                               |
|------------------------|---------------------------------------------------------------------------------------|
| ``run``                | attributes ``epoch``, ``step``, ``step_in_epoch``, ``n_ranks``, ``n_replicas``; after an evaluation ``best_epoch``, ``best_value`` |
| ``config``             | text[1], the configuration                                                            |
| ``metrics``            | if there are: ``names`` text[n], ``values`` float64[n]                                |
| ``layers``             | attribute ``n_layers``; if told: ``tile_width``, ``instructions``; groups of layers   |
| ``neurons``            | if neurons were removed: original numbers int32[width] of each such layer, 0 = inputs |
| ``front_end``          | if there are: one group per front end with its arrays                                 |
| ``target_connections`` | if decided: int64[n], one per connections                                             |
| ``progress``           | within an epoch: ``names`` text[n], ``sums`` float64[n_ranks, n]                      |

Layers, and layers of neurons, are numbered from 0 in octal, with one group per digit. All numbers have as many digits
as the largest one: of 20 layers, number 11 is ``layers/1/3``; of 3 layers, number 2 is ``layers/2``.
"""  # noqa: E501  (a table)

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from hpc_sparse.dtypes import OFFSET
from hpc_sparse.errors import quoted
from hpc_sparse.storage.checkpoint.contents import Contents, LayerInfo, check_targets, read_config_text
from hpc_sparse.storage.checkpoint.layer_groups import MOST_MEMBERS, place_layer, read_layer_infos, write_layer_info
from hpc_sparse.storage.checkpoint.octal import octal_place
from hpc_sparse.storage.container.reader import ContainerReader
from hpc_sparse.storage.container.writer import ContainerWriter

RUN, LAYERS, NEURONS, FRONT_END = "run", "layers", "neurons", "front_end"
METRICS, PROGRESS, TARGETS = "metrics", "progress", "target_connections"
COUNTERS = ("epoch", "step", "step_in_epoch", "n_ranks", "n_replicas")

MOST_NAME_BYTES = 1024 * 1024
"""Most bytes of the names of metrics, and of the names of sums."""


def placed(contents: Contents) -> Contents:
    """The same with the places that arrays have in this format."""
    n_layers = len(contents.layers)
    counts = Counter(name.partition("/")[0] for name in contents.front_end)
    assert max(len(counts), *counts.values(), 0) <= MOST_MEMBERS, counts
    return replace(
        contents,
        layers=tuple(place_layer(each, number, n_layers) for number, each in enumerate(contents.layers)),
        neuron_ids={number: f"{NEURONS}/{octal_place(number, n_layers + 1)}" for number in contents.neuron_ids},
        front_end={name: f"{FRONT_END}/{name}" for name in contents.front_end},
        progress=None if contents.progress is None else f"{PROGRESS}/sums",
    )


def write_contents(writer: ContainerWriter, contents: Contents) -> None:
    """Write all but the arrays that the contents name places of (collective)."""
    for name in COUNTERS:
        writer.set_attribute(RUN, name, getattr(contents, name))
    if contents.history_best is not None:
        writer.set_attribute(RUN, "best_epoch", contents.history_best[0])
        writer.set_attribute(RUN, "best_value", float(contents.history_best[1]))
    _write_texts(writer, "config", (contents.config_text,))
    if contents.metrics:
        _write_texts(writer, f"{METRICS}/names", tuple(contents.metrics))
        writer.write_replicated(f"{METRICS}/values", np.array([*contents.metrics.values()], np.float64))
    if contents.progress is not None:
        _write_texts(writer, f"{PROGRESS}/names", contents.progress_names)
    if contents.target_connections:
        writer.write_replicated(TARGETS, np.array(contents.target_connections, OFFSET))
    writer.set_attribute(LAYERS, "n_layers", len(contents.layers))
    if contents.tile_width:
        writer.set_attribute(LAYERS, "tile_width", contents.tile_width)
        writer.set_attribute(LAYERS, "instructions", contents.instructions)
    for layer in contents.layers:
        write_layer_info(writer, layer, contents.n_replicas)


def read_contents(reader: ContainerReader) -> Contents:
    """Contents of an open checkpoint (collective)."""
    names = reader.names("/")
    minima = {name: int(name == "n_ranks") for name in COUNTERS}
    counters = {name: reader.integer(RUN, name, minimum) for name, minimum in minima.items()}
    layers = read_layer_infos(reader, LAYERS, counters["n_replicas"])
    tile_width, instructions = _read_arithmetic(reader)
    return Contents(
        **counters,
        history_best=_read_history_best(reader),
        metrics=_read_metrics(reader) if METRICS in names else {},
        config_text=read_config_text(reader),
        target_connections=_read_targets(reader, layers) if TARGETS in names else (),
        progress_names=_read_progress_names(reader, counters["n_ranks"]) if PROGRESS in names else (),
        layers=layers,
        neuron_ids=_neuron_places(reader, len(layers) + 1) if NEURONS in names else {},
        front_end=_front_end_places(reader) if FRONT_END in names else {},
        progress=f"{PROGRESS}/sums" if PROGRESS in names else None,
        tile_width=tile_width,
        instructions=instructions,
    )


def _write_texts(writer: ContainerWriter, name: str, texts: tuple[str, ...]) -> None:
    encoded = [text.encode() for text in texts]
    writer.write_replicated(name, np.array(encoded, f"S{max(1, *map(len, encoded), 1)}"))


def _read_arithmetic(reader: ContainerReader) -> tuple[int, str]:
    """Width of tiles and vector instructions, on which the last bits of a run depend; (0, "") if the file is silent."""
    if "tile_width" not in reader.attribute_names(LAYERS):
        return 0, ""
    width = reader.integer(LAYERS, "tile_width", minimum=1)
    return width, quoted(str(reader.attribute(LAYERS, "instructions")))


def _read_history_best(reader: ContainerReader) -> tuple[int, float] | None:
    if "best_epoch" not in reader.attribute_names(RUN):
        return None
    return reader.integer(RUN, "best_epoch"), reader.number(RUN, "best_value")


def _read_metrics(reader: ContainerReader) -> dict[str, float]:
    names = reader.read_text(f"{METRICS}/names", None, MOST_NAME_BYTES)
    reader.require(f"{METRICS}/values", np.float64, (len(names),))
    metrics = dict(zip(names, reader.read(f"{METRICS}/values").tolist(), strict=True))
    if len(metrics) != len(names):
        reader.fail(f"{METRICS}/names: {len(names)} names: expected each once")
    return metrics


def _read_targets(reader: ContainerReader, layers: tuple[LayerInfo, ...]) -> tuple[int, ...]:
    reader.require(TARGETS, OFFSET, (None,))
    targets = tuple(reader.read(TARGETS).tolist())
    check_targets(reader, targets, layers)
    return targets


def _read_progress_names(reader: ContainerReader, n_ranks: int) -> tuple[str, ...]:
    names = reader.read_text(f"{PROGRESS}/names", None, MOST_NAME_BYTES)
    reader.require(f"{PROGRESS}/sums", np.float64, (n_ranks, len(names)))
    if len(set(names)) != len(names):
        reader.fail(f"{PROGRESS}/names: {len(names)} names: expected each once")
    return names


def _neuron_places(reader: ContainerReader, n_widths: int) -> dict[int, str]:
    """Places of the arrays that there are; with many layers they are in groups of their own."""
    numbers = {octal_place(number, n_widths): number for number in range(n_widths)}
    found, groups = {}, {""}
    for _ in next(iter(numbers)).split("/"):
        below = set()
        for group in sorted(groups):
            for name in reader.names(f"{NEURONS}/{group}".rstrip("/")):
                place = f"{group}/{name}".lstrip("/")
                if place in numbers:
                    found[numbers[place]] = f"{NEURONS}/{place}"
                elif any(known.startswith(f"{place}/") for known in numbers):
                    below.add(place)
                else:
                    reader.fail(f"{NEURONS}/{place}: expected the number of one of {n_widths} layers of neurons")
        groups = below
    return dict(sorted(found.items()))


def _front_end_places(reader: ContainerReader) -> dict[str, str]:
    names = [f"{kind}/{own}" for kind in reader.names(FRONT_END) for own in reader.names(f"{FRONT_END}/{kind}")]
    return {name: f"{FRONT_END}/{name}" for name in names}
