"""Keys of a section that a part of the program brings along when it is registered, with values of their own."""

from __future__ import annotations

from pydantic.fields import FieldInfo

from hpc_sparse.config.run_config import RunConfig
from hpc_sparse.config.section import Section


def add_key(section: type[Section], name: str, values: type[Section]) -> None:
    """Let ``[section.name]`` stand in configurations, checked as ``values``; absent by default.

    Raises
    ------
    ValueError
        The section has such a key.
    """
    if name in section.model_fields:
        raise ValueError(f"{section.__name__} has a key {name} already")
    section.model_fields[name] = FieldInfo(annotation=values | None, default=None, description=values.__doc__)  # type: ignore[arg-type]
    _rebuild(section)


def remove_key(section: type[Section], name: str) -> None:
    """Undo :func:`add_key`."""
    del section.model_fields[name]
    _rebuild(section)


def _rebuild(section: type[Section]) -> None:
    section.model_rebuild(force=True)
    RunConfig.model_rebuild(force=True)
