"""Texts as tokens: characters or words, in windows of as many as a sequence has steps.

At each step, the token that comes next is to be predicted. Training and test part are parted by position, and windows
stay in their order: the end of the training part is the natural validation part.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from hpc_sparse.dtypes import INDEX, Int32Array
from hpc_sparse.errors import DataError, quoted
from hpc_sparse.importers.text_files import opened_text
from hpc_sparse.storage.dataset.file import read_info
from hpc_sparse.storage.dataset.samples import DatasetInfo, DenseFeatures, Samples
from hpc_sparse.storage.dataset.writer import write_dataset

Unit: TypeAlias = Literal["character", "word"]

UNKNOWN = "<unknown>"
"""Name of the token that stands for all that the vocabulary lacks."""

WORDS = re.compile(r"\w+(?:['\u2019-]\w+)*|[^\w\s]|\n")
"""Words, signs and ends of lines; other white space separates."""

SMALLEST_VOCABULARY = 2


@dataclass(frozen=True)
class TextOptions:
    """How a text becomes tokens.

    Attributes
    ----------
    unit : "character" or "word"
        What a token is.
    steps : int
        Tokens of a window.
    vocabulary_size : int or None
        Tokens at most, the unknown one included: the most frequent ones of the training part; None: all.
    test_fraction : float
        Share of the text for testing, at its end; not with a text of its own.
    """

    unit: Unit = "character"
    steps: int = 50
    vocabulary_size: int | None = None
    test_fraction: float = 0.1


def import_text(
    source: Path | str,
    target: Path | str,
    *,
    options: TextOptions | None = None,
    test: Path | str | None = None,
    title: str | None = None,
    overwrite: bool = False,
) -> DatasetInfo:
    """Import a text in UTF-8, plain or compressed, for the prediction of its next token.

    Parameters
    ----------
    source, target : path
    options : TextOptions, optional
    test : path, optional
        A text for testing, instead of the end of the first.
    title : str, optional
        By default the file's name.
    overwrite : bool
        Whether an existing target may be replaced.

    Raises
    ------
    DataError
        A file is missing, is no text in UTF-8, or is shorter than a window.
    OutputError
        ``target`` exists and is not to be overwritten, or cannot be written.
    """
    options, path = options or TextOptions(), Path(source)
    _check(path, options)
    whole = split_text(read_text(path), options.unit)
    split = f"the last {options.test_fraction:.3g} of the text for testing"
    if test is None:
        n_train = len(whole) - round(options.test_fraction * len(whole))
        parts = whole[:n_train], whole[n_train:]
    else:
        parts, split = (whole, split_text(read_text(Path(test)), options.unit)), f"{Path(test).name} for testing"
    vocabulary = make_vocabulary(parts[0], {*parts[1]}, options.vocabulary_size)
    number_of = {name: number for number, name in enumerate(vocabulary)}
    train, held_out = (windows(encoded(part, number_of), options.steps) for part in parts)
    wants_test = test is not None or options.test_fraction > 0
    for samples, tokens, where in ((train, parts[0], f"{path}: train"), (held_out, parts[1], f"{test or path}: test")):
        if not samples.n_samples and (samples is train or wants_test):
            raise DataError(
                f"{where}ing part: {len(tokens)} {options.unit}s: expected more than steps = {options.steps}"
            )
    write_dataset(
        target,
        train,
        held_out,
        title=path.stem if title is None else title,
        class_names=vocabulary,
        source=path.name,
        split=split,
        overwrite=overwrite,
        time_steps=options.steps,
        vocabulary=vocabulary,
        unit=options.unit,
    )
    return read_info(target)


def split_text(text: str, unit: str) -> list[str]:
    """The tokens of a text."""
    return list(text) if unit == "character" else WORDS.findall(text)


def join_tokens(tokens: list[str], unit: str) -> str:
    """A text of such tokens: words with spaces between them, but not before signs."""
    if unit == "character":
        return "".join(tokens)
    words = "".join(name if not (name[:1].isalnum() or name == UNKNOWN) else f" {name}" for name in tokens)
    return words.replace("\n ", "\n").removeprefix(" ")


def make_vocabulary(tokens: list[str], others: set[str], size: int | None) -> tuple[str, ...]:
    """Names of the tokens: the most frequent first, equals in their order; the unknown one last, if there is any."""
    counts = Counter(tokens)
    names = sorted(counts, key=lambda name: (-counts[name], name))
    if size is not None and len(names) > size:
        names = names[: size - 1]
    known = {*names}
    has_unknown = len(names) < len(counts) or not others <= known
    return (*names, UNKNOWN) if has_unknown else tuple(names)


def encoded(tokens: list[str], number_of: dict[str, int]) -> Int32Array:
    """int32[n]: numbers of tokens."""
    unknown = number_of.get(UNKNOWN, -1)
    return np.fromiter((number_of.get(name, unknown) for name in tokens), INDEX, len(tokens))


def windows(tokens: Int32Array, steps: int) -> Samples:
    """Windows that follow each other, and the token after each of theirs; what is left at the end is left out."""
    n = max(0, tokens.size - 1) // steps
    features, labels = (tokens[first : first + n * steps].reshape(n, steps) for first in (0, 1))
    return Samples(DenseFeatures(np.ascontiguousarray(features)), np.ascontiguousarray(labels))


def read_text(path: Path) -> str:
    """A text with line feeds alone.

    Raises
    ------
    DataError
        The file is missing or damaged, or is no text in UTF-8.
    """
    with opened_text(path) as (file, _):
        content = file.read()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = quoted(str(content[error.start : error.start + 4]))
        raise DataError(f"{path}: byte {error.start}: {found}: expected text in UTF-8") from None
    if (place := text.find("\0")) >= 0:
        raise DataError(f"{path}: character {place} is 0: expected text in UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _check(path: Path, options: TextOptions) -> None:
    if options.unit not in ("character", "word"):
        raise DataError(f'{path}: unit = "{quoted(options.unit)}": expected "character" or "word"')
    if options.steps < 2:
        raise DataError(f"{path}: steps = {options.steps}: expected at least 2")
    size = options.vocabulary_size
    if size is not None and size < SMALLEST_VOCABULARY:
        raise DataError(f"{path}: vocabulary_size = {size}: expected at least {SMALLEST_VOCABULARY}")
    if not 0 <= options.test_fraction < 1:
        raise DataError(f"{path}: test_fraction = {options.test_fraction}: expected >= 0 and < 1")
