"""Problems of a part of a configuration, in the form of pydantic's own errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError


def nested_problems(error: ValidationError, *within: str) -> list[InitErrorDetails]:
    """The problems of a part at its place ``within`` the whole."""
    return [
        problem(each["type"], each["msg"], (*within, *each["loc"]), each["input"])
        for each in error.errors(include_url=False)
    ]


def unknown_key(key: str, value: Any) -> InitErrorDetails:
    """The problem of an unknown key."""
    return problem("extra_forbidden", "Extra inputs are not permitted", (key,), value)


def problem(kind: str, message: str, location: tuple[int | str, ...] = (), value: Any = None) -> InitErrorDetails:
    """One problem; ``message`` is shown as it is."""
    custom = PydanticCustomError(kind, "{message}", {"message": message})
    return InitErrorDetails(type=custom, loc=location, input=value)


def listed(names: Sequence[str], quote: str = "'") -> str:
    """Names as a message lists them: 'a', 'b' or 'c'."""
    *others, last = [f"{quote}{name}{quote}" for name in names]
    return f"{', '.join(others)} or {last}" if others else last
