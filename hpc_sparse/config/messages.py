"""What is wrong with a configuration, one line per key."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from hpc_sparse.config.run_config import RunConfig
from hpc_sparse.config.section import Section
from hpc_sparse.errors import quoted

MOST_LINES = 20


def describe_all(error: ValidationError, origin: str, overrides: Sequence[str]) -> list[str]:
    """One line per wrong key, blamed on the override that set it, or else on the file."""
    origins = {override.partition("=")[0].strip(): f"--set {quoted(override)}" for override in overrides}
    unknown = {key.partition(".")[0]: where for key, where in origins.items()}
    origins.update({section: where for section, where in unknown.items() if section not in RunConfig.model_fields})
    by_key: dict[str, list[Any]] = {}
    found = error.errors(include_url=False)
    for problem in found[:MOST_LINES]:
        by_key.setdefault(".".join(str(part) for part in problem["loc"][:2]), []).append(problem)
    lines = []
    for key, problems in by_key.items():
        first, *others = [_described(problem, origins.get(key, origin)) for problem in problems]
        alternatives = [problem["msg"].removeprefix("Input should be ") for problem in problems[1:]]
        is_union = key == "parallel.sync_every_steps"
        lines += (
            [first.replace(" (", f" or {' or '.join(alternatives)} (", 1)] if is_union and others else [first, *others]
        )
    n_more = len(found) - MOST_LINES
    return [*lines, f"and {n_more} more ({origin})"] if n_more > 0 else lines


def _described(problem: Any, origin: str) -> str:
    """One line for one pydantic error: key = value: what was expected (file)."""
    location = [str(part) for part in problem["loc"]]
    key = quoted(".".join(location))
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown {'key' if len(location) > 1 else 'section'}{_suggestion(location)} ({origin})"
    if problem["type"] == "missing":
        return f"{key}: missing, but required ({origin})"
    if location[-1] in {"int", "constrained-int", "literal['epoch']"}:
        key = quoted(".".join(location[:-1]))
    message = problem["msg"].removeprefix("Value error, ")
    message = message.replace("Input should be", "must be").replace("a valid tuple", "a list, such as [1000, 1000]")
    value = "" if isinstance(problem["input"], dict) else f" = {_shown(problem['input'])}"
    return f"{key}{value}: {message} ({origin})"


def _shown(value: Any) -> str:
    """A value as a message shows it, whatever it is."""
    try:
        return quoted(repr(value))
    except (ValueError, RecursionError):
        return f"({type(value).__name__} too long to be shown)"


def _suggestion(location: list[str]) -> str:
    fields = RunConfig.model_fields
    if len(location) > 1:
        section = fields[location[0]].annotation
        assert isinstance(section, type)
        assert issubclass(section, Section)
        fields = section.model_fields
    close = difflib.get_close_matches(location[-1], fields, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(fields)}"
