"""Dataclasses of options that several commands share, written out as a command's own parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from inspect import Parameter
from typing import Any, TypeGuard, get_type_hints


def expand_groups(function: Callable[..., None], without: Collection[str] = ()) -> Callable[..., None]:
    """The command whose parameters are those of ``function``, with each group replaced by its fields.

    Parameters
    ----------
    function : callable
        A parameter annotated with a dataclass is a group; the fields are annotated as Typer wants them.
    without : collection of str, optional
        Fields that are no parameters: they keep their defaults.
    """
    hints = get_type_hints(function, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if _is_group(hint)}
    members = {name: [field.name for field in _shown(group, without)] for name, group in groups.items()}

    @wraps(function)
    def command(**given: Any) -> None:
        made = {name: group(**{n: given.pop(n) for n in members[name]}) for name, group in groups.items()}
        function(**given, **made)

    parameters = list(_parameters(function, hints, without))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _is_group(hint: Any) -> TypeGuard[type[Any]]:
    return isinstance(hint, type) and is_dataclass(hint)


def _shown(group: type[Any], without: Collection[str]) -> list[Field[Any]]:
    return [field for field in fields(group) if field.name not in without]


def _parameters(function: Callable[..., None], hints: dict[str, Any], without: Collection[str]) -> Iterator[Parameter]:
    """Parameters for Typer, in the order of ``function``; by keyword only, so that any may have a default."""
    for parameter in inspect.signature(function).parameters.values():
        hint = hints[parameter.name]
        if not _is_group(hint):
            yield parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=hint)
            continue
        field_hints = get_type_hints(hint, include_extras=True)
        for field in _shown(hint, without):
            yield Parameter(
                field.name, Parameter.KEYWORD_ONLY, default=_default(field), annotation=field_hints[field.name]
            )


def _default(field: Field[Any]) -> Any:
    return Parameter.empty if field.default is MISSING else field.default
