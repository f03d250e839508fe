"""Texts that a network goes on with, token by token."""

from __future__ import annotations

import numpy as np

from hpc_sparse.dtypes import INDEX, VALUE, Float32Array, Float64Array, Int64Array
from hpc_sparse.errors import DataError, quoted
from hpc_sparse.importers.text.tokens import UNKNOWN, join_tokens, split_text
from hpc_sparse.inputs.vocabulary import Vocabulary
from hpc_sparse.network import chain
from hpc_sparse.network.network import Network
from hpc_sparse.network.tokens import Tokens
from hpc_sparse.network.workspace import Workspace


class Generator:
    """A network that has read some tokens, and says how likely each is to come next.

    Parameters
    ----------
    network : Network
        One that reads tokens and has outputs for each step.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._workspace = Workspace(network.layers, 1, network.tile_width)
        self._goes_on = False

    def read(self, token: int) -> Float32Array:
        """float32[n_tokens]: weighted sums of the outputs after one more token."""
        batch = Tokens.of(np.array([[token]], INDEX), self._network.n_tokens, self._network.tile_width)
        n = batch.batch.n_samples
        rooms, outs = self._workspace.saved(n), self._workspace.activations(n)
        sums = chain.forward(self._network.layers, batch, outs, rooms, goes_on=self._goes_on)
        self._goes_on = True
        return sums.matrix()[:, 0].astype(VALUE)


def generate(
    network: Network, vocabulary: Vocabulary | None, text: str, *, length: int, temperature: float, seed: int
) -> str:
    """``text`` and ``length`` more tokens: see :meth:`hpc_sparse.inference.model.TrainedModel.generate`."""
    if vocabulary is None or not vocabulary.unit_name or network.n_places_out == 1:
        raise DataError("the network does not predict tokens one after the other: expected one trained on a text")
    if length < 0:
        raise DataError(f"length = {length}: must be >= 0")
    if not 0 <= temperature < float("inf"):
        raise DataError(f"temperature = {temperature}: must be >= 0 and finite")
    entries, unit = vocabulary.entries, vocabulary.unit_name
    tokens, generator, rng = _numbers(text, entries, unit), Generator(network), np.random.default_rng(seed)
    for token in tokens[:-1]:
        generator.read(int(token))
    found = [int(tokens[-1])]
    for _ in range(length):
        found.append(_draw(generator.read(found[-1]), temperature, rng))
    names = [entries[number] for number in (*tokens[:-1], *found)]
    return text + join_tokens(names[len(tokens) :], unit) if unit == "character" else join_tokens(names, unit)


def _numbers(text: str, entries: tuple[str, ...], unit: str) -> Int64Array:
    """The tokens of a text."""
    number_of, names = {name: number for number, name in enumerate(entries)}, split_text(text, unit)
    if not names:
        raise DataError(f"the text to begin with has no {unit or 'token'}: expected at least one")
    for place, name in enumerate(names):
        if name not in number_of or name == UNKNOWN:
            raise DataError(
                f"{unit or 'token'} {place} of the text to begin with, {quoted(repr(name))}: not in the vocabulary of "
                f"{len(entries)} that the network was trained on"
            )
    return np.array([number_of[name] for name in names])


def _draw(sums: Float32Array, temperature: float, rng: np.random.Generator) -> int:
    """A token by its probability; the likeliest one at temperature 0."""
    if temperature == 0:
        return int(sums.argmax())
    scaled = (sums.astype(np.float64) - float(sums.max())) / temperature
    shares: Float64Array = np.exp(scaled)
    return int(rng.choice(shares.size, p=shares / shares.sum()))
