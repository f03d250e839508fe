"""Keys by the names that they had in former versions: they are read for ever, and one note names the present ones."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import lru_cache

from hpc_sparse.config.problems import listed
from hpc_sparse.config.registry import REGISTRIES, Registry
from hpc_sparse.config.run_config import RunConfig
from hpc_sparse.config.section import Section
from hpc_sparse.config.tree import Tree, get, has, put, take

LOG = logging.getLogger(__name__)

FormerNames = Mapping[str, tuple[str, ...]]
"""Present places of a key by its former one: several where kinds have taken it over, each into its own section."""

MOST_NAMED = 4
"""Keys that the note names."""

FEW_NOTES = 64
"""Notes that are remembered, so that none is given twice."""


def former_names() -> FormerNames:
    """All keys that had another name, as the sections say."""
    found: dict[str, tuple[str, ...]] = {}
    for place, section in _sections():
        for key, old in section.formerly.items():
            found[old] = (*found.get(old, ()), f"{place}.{key}")
    return found


def twice(given: Mapping[str, object], former: FormerNames) -> tuple[str, str] | None:
    """The former and the present name of a key that is ``given`` by both; None if there is none."""
    pairs = ((old, new) for old, places in former.items() if has(given, old) for new in places if has(given, new))
    return next(pairs, None)


def upgrade(tree: Tree, former: FormerNames) -> dict[str, str]:
    """Give the keys of a configuration their present names, in place; the present ones of those that were renamed.

    A key that several kinds have taken over goes to the chosen kind. If that kind has no such key, the value has no
    effect. A default is then dropped; any other value goes to the first kind that has the key.

    Raises
    ------
    ValueError
        A key had an effect on every kind, and the chosen one has no such key.
    """
    renamed: dict[str, str] = {}
    for old, places in former.items():
        if has(tree, old):
            value, new = get(tree, old, None), _owned(tree, places)
            if new is None and value == _default(places[0]):
                take(tree, old)
                continue
            if new is None and not _is_within(places[0], old):
                raise ValueError(_without_owner(tree, old, places))
            renamed[old] = new or places[0]
            put(tree, renamed[old], take(tree, old))
    return renamed


@lru_cache(FEW_NOTES)
def note(origin: str, renamed: tuple[tuple[str, str], ...]) -> None:
    """Say which keys of ``origin``, (former, present) each, have another name now; once."""
    named = ", ".join(f"{old} is {new}" for old, new in renamed[:MOST_NAMED])
    more = f" and {len(renamed) - MOST_NAMED} more" if len(renamed) > MOST_NAMED else ""
    LOG.warning("%s: keys by former names, which are read as before: %s now%s", origin, named, more)


def _sections() -> Iterator[tuple[str, type[Section]]]:
    """Every section with its place in the file."""
    for name, field in RunConfig.model_fields.items():
        assert isinstance(field.annotation, type)
        assert issubclass(field.annotation, Section)
        yield name, field.annotation
    for registry in REGISTRIES:
        for name, section in registry.sections().items():
            yield f"{registry.place}.{name}", section


def _registry(place: str) -> Registry | None:
    """The registry of the kind whose section ``place`` is in; None for a key of the file's own sections."""
    section, *kind_and_key = place.split(".")
    is_of_kind = len(kind_and_key) > 1
    return next((registry for registry in REGISTRIES if is_of_kind and registry.place == section), None)


def _chosen(tree: Tree, registry: Registry) -> object:
    return get(tree, registry.key, _default(registry.key))


def _owned(tree: Tree, places: tuple[str, ...]) -> str | None:
    """The place that a key goes to; None if it is of kinds of which none is chosen."""
    registry = _registry(places[0])
    if registry is None:
        return places[0]
    start = f"{registry.place}.{_chosen(tree, registry)}."
    return next((place for place in places if place.startswith(start)), None)


def _default(place: str) -> object:
    section = dict(_sections())[place.rpartition(".")[0]]
    return section.model_fields[place.rpartition(".")[2]].default


def _is_within(place: str, old: str) -> bool:
    """Whether a key was where its kind is chosen, so that it had an effect on that kind alone."""
    return place.startswith(f"{old.rpartition('.')[0]}.")


def _without_owner(tree: Tree, old: str, places: tuple[str, ...]) -> str:
    registry = _registry(places[0])
    assert registry is not None
    return (
        f'{old} = {get(tree, old, None)!r}: not with {registry.key} = "{_chosen(tree, registry)}"; now a key of '
        f"{listed(places, quote='')}"
    )
