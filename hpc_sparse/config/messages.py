"""Error messages of a configuration, one line per key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from hpc_sparse.config.layers import LayerSection
from hpc_sparse.config.registry import REGISTRIES
from hpc_sparse.config.run_config import RunConfig
from hpc_sparse.config.section import Section
from hpc_sparse.errors import quoted

MOST_LINES = 20


def describe_all(error: ValidationError, origin: str, origins: Mapping[str, str]) -> list[str]:
    """One line per wrong key, blamed on the override that set it, or else on the file.

    Parameters
    ----------
    error : ValidationError
    origin : str
        Name of the file.
    origins : mapping of str to str
        Overrides as they are shown, by ``section.key``.
    """
    by_key: dict[str, list[Any]] = {}
    found = error.errors(include_url=False)
    for problem in found[:MOST_LINES]:
        by_key.setdefault(".".join(str(part) for part in problem["loc"][:2]), []).append(problem)
    lines = []
    for problems in by_key.values():
        first, *others = [_described(each, _blamed(each["loc"], origins) or origin) for each in problems]
        alternatives = [problem["msg"].removeprefix("Input should be ") for problem in problems[1:]]
        is_union = any(_is_alternative(part) for part in problems[0]["loc"][2:])
        lines += (
            [first.replace(" (", f" or {' or '.join(alternatives)} (", 1)] if is_union and others else [first, *others]
        )
    n_more = len(found) - MOST_LINES
    return [*lines, f"and {n_more} more ({origin})"] if n_more > 0 else lines


def first_problems(problems: Sequence[Any]) -> list[Any]:
    """The problems without those of further alternatives of a key, such as "a number or a word"."""
    found: dict[tuple[Any, ...], Any] = {}
    for number, problem in enumerate(problems):
        is_alternative = any(_is_alternative(part) for part in problem["loc"][2:])
        found.setdefault(problem["loc"][:2] if is_alternative else (number,), problem)
    return list(found.values())


def _blamed(location: tuple[int | str, ...], origins: Mapping[str, str]) -> str | None:
    """The override that set a key, a part of its value, or something in an unknown section."""
    parts = [str(part) for part in location]
    for length in range(len(parts), 1, -1):
        if shown := origins.get(".".join(parts[:length])):
            return shown
    if not parts or parts[0] in RunConfig.model_fields:
        return None
    return next((shown for path, shown in reversed(list(origins.items())) if path.partition(".")[0] == parts[0]), None)


def _described(problem: Any, origin: str) -> str:
    """One line for one pydantic error: key = value: what was expected (file)."""
    location = [str(part) for n, part in enumerate(problem["loc"]) if n < 2 or not _is_alternative(part)]
    key = quoted(".".join(location))
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown {'key' if len(location) > 1 else 'section'}{_suggestion(location)} ({origin})"
    if problem["type"] == "missing":
        return f"{key}: missing, but required ({origin})"
    message = problem["msg"].removeprefix("Value error, ")
    message = message.replace("Input should be", "must be").replace("a valid tuple", "a list, such as [1000, 1000]")
    if not location:
        return f"{message} ({origin})"
    if isinstance(problem["input"], dict):
        return f"{key}{'.' if _begins_with_key(message, location) else ': '}{message} ({origin})"
    return f"{key} = {_shown(problem['input'])}: {message} ({origin})"


def _begins_with_key(message: str, location: list[str]) -> bool:
    """Whether what is said of a whole section is about one of its keys: ``density = 2: ...``, ``layers.0: ...``."""
    section: Any = RunConfig.model_fields[location[0]].annotation if location[0] in RunConfig.model_fields else None
    found = re.match(r"([a-z_]+)(\.[\w.]+)?( = |: )", message)
    return len(location) == 1 and found is not None and found[1] in getattr(section, "model_fields", ())


def _is_alternative(part: int | str) -> bool:
    """Whether a part of a location names one of the types that a key may have, as in "a number or a word"."""
    numbers = {"int", "constrained-int", "float", "constrained-float"}
    return isinstance(part, str) and (part in numbers or part.startswith(("literal[", "tuple[", "constrained-tuple")))


def _shown(value: Any) -> str:
    """A value as a message shows it, whatever it is."""
    try:
        return quoted(repr(value))
    except (ValueError, RecursionError):
        return f"({type(value).__name__} too long to be shown)"


def _suggestion(location: list[str]) -> str:
    known = _known_keys(location[:-1])
    close = difflib.get_close_matches(location[-1], known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"


def _known_keys(place: list[str]) -> list[str]:
    """Keys of the file, of a section, or of a kind's section."""
    if not place:
        return list(RunConfig.model_fields)
    kinds: dict[str, type[Section]] = {}
    for registry in REGISTRIES:
        kinds |= registry.sections() if registry.place == place[0] else {}
    if place[:2] == ["network", "layers"]:
        return list(LayerSection.model_fields)
    if len(place) > 1:
        return list(kinds[place[1]].model_fields)
    section = RunConfig.model_fields[place[0]].annotation
    assert isinstance(section, type)
    assert issubclass(section, Section)
    return [*section.model_fields, *kinds]
