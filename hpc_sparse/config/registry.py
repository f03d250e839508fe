"""Registries of what a configuration chooses by name: a kind states its keys and what it does not go together with."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

from hpc_sparse.config.section import Section

if TYPE_CHECKING:
    from hpc_sparse.config.run_config import RunConfig


class Kind(Protocol):
    """A class that a configuration can choose.

    Attributes
    ----------
    name : str
        Its name in the file.
    section : type of Section
        Its own keys, in the table of its name; without keys there is no table.
    """

    name: ClassVar[str]
    section: ClassVar[type[Section]]

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:
        """The first setting that the kind does not go together with, in one sentence; None if there is none."""
        ...


KindT = TypeVar("KindT", bound="type[Kind]")


class Registry:
    """The kinds that one key of a configuration chooses from, in the order in which their modules were loaded.

    Attributes
    ----------
    key : str
        ``section.key`` that holds the name.
    home : str
        Package that loads all kinds of this program, for the message to a programmer who has not imported it.
    """

    def __init__(self, key: str, home: str) -> None:
        self.key, self.home = key, home
        self._kinds: dict[str, type[Kind]] = {}

    @property
    def place(self) -> str:
        """The section that the key is in; the kinds' own are within it."""
        return self.key.rpartition(".")[0]

    def register(self, kind: KindT) -> KindT:
        """The same class, which configurations can choose from now on; to be used as a decorator."""
        assert kind.name.isidentifier(), kind.name
        assert self._kinds.get(kind.name) in (None, kind), f"{self.key}: two kinds are called {kind.name}"
        self._kinds[kind.name] = kind
        return kind

    def __getitem__(self, name: str) -> type[Kind]:
        """The kind of this name, which must exist."""
        self._assert_loaded()
        return self._kinds[name]

    def names(self) -> list[str]:
        """Names of all kinds."""
        self._assert_loaded()
        return list(self._kinds)

    def sections(self) -> dict[str, type[Section]]:
        """The sections of those kinds that have keys of their own, by name."""
        self._assert_loaded()
        return {name: kind.section for name, kind in self._kinds.items() if kind.section.model_fields}

    def _assert_loaded(self) -> None:
        if not self._kinds:
            raise RuntimeError(f"{self.key}: nothing to choose from; import {self.home} before reading a configuration")


STRATEGIES = Registry("evolution.strategy", "hpc_sparse.evolution")
"""Strategies of evolution."""

REGISTRIES = (STRATEGIES,)
