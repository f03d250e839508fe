"""Registries of what a configuration chooses by name, and the sections that hold the keys of kinds.

A kind states its keys, ``[evolution.gse]`` within ``[evolution]``, and what it does not go together with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeVar

from pydantic import ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticKnownError

from hpc_sparse.config.problems import listed, nested_problems, unknown_key
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
SectionT = TypeVar("SectionT", bound=Section)


class Registry:
    """The kinds that one key of a configuration chooses from, in the order in which their modules were loaded.

    Attributes
    ----------
    key : str
        ``section.key`` that holds the name.
    home : str
        Package that loads all kinds of this program, for the message to a programmer who has not imported it.
    place : str
        Section that the kinds' own are within, by default the key's.
    """

    def __init__(self, key: str, home: str, place: str | None = None) -> None:
        self.key, self.home = key, home
        self.place = key.rpartition(".")[0] if place is None else place
        self._kinds: dict[str, type[Kind]] = {}

    @property
    def key_section(self) -> str:
        """Section that the key is in."""
        return self.key.rpartition(".")[0]

    @property
    def key_name(self) -> str:
        """The key within its section."""
        return self.key.rpartition(".")[2]

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

OBJECTIVES = Registry("training.loss", "hpc_sparse.network.objectives")
"""What is learned from."""

OPTIMIZERS = Registry("training.optimizer", "hpc_sparse.network.optimizers", place="optimizer")
"""How parameters move down their gradients."""

REGISTRIES = (STRATEGIES, OBJECTIVES, OPTIMIZERS)
"""All of them."""


class SectionOfKinds(Section):
    """A section that holds those of kinds, of which any may be there; other keys are refused.

    Attributes
    ----------
    place : str
        Its name in the file.
    """

    place: ClassVar[str]

    model_config = ConfigDict(extra="allow")

    def own(self, name: str, section: type[SectionT]) -> SectionT:
        """The section of a kind, which is of this class; with defaults if it is not there."""
        found = (self.model_extra or {}).get(name, section())
        assert isinstance(found, section)
        return found

    @model_validator(mode="wrap")
    @classmethod
    def _with_sections(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """The section with those of kinds: all that are given, and those of the kinds that it chooses."""
        if not isinstance(values, dict):
            return handler(values)
        fields = {key: value for key, value in values.items() if key in cls.model_fields}
        known, given, problems = cls._known(), dict[str, Section](), list[InitErrorDetails]()
        for key, value in values.items():
            if key not in fields and key not in known:
                problems.append(unknown_key(key, value))
            elif key not in fields:
                try:
                    given[key] = known[key].model_validate(value)
                except ValidationError as error:
                    problems += nested_problems(error, key)
        for chosen in cls._chosen(fields):
            if chosen in known and chosen not in values:
                given[chosen] = known[chosen]()
        try:
            found = handler(fields | given)
        except ValidationError as error:
            problems[:0] = nested_problems(error)
        if problems:
            raise ValidationError.from_exception_data(cls.__name__, problems)
        return found

    @classmethod
    def _known(cls) -> dict[str, type[Section]]:
        """The sections of kinds by name."""
        registries = [registry for registry in REGISTRIES if registry.place == cls.place]
        return {name: section for registry in registries for name, section in registry.sections().items()}

    @classmethod
    def _chosen(cls, fields: dict[str, Any]) -> list[str]:
        """Names of the kinds that keys of this section choose."""
        registries = [each for each in REGISTRIES if each.place == each.key_section == cls.place]
        chosen = [fields.get(each.key_name, cls.model_fields[each.key_name].default) for each in registries]
        return [name for name in chosen if isinstance(name, str)]


def check_known(registry: Registry, value: Any) -> Any:
    """The value if it is the name of a kind.

    Raises
    ------
    PydanticKnownError
        It is not; the message lists the names.
    """
    names = registry.names()
    if not isinstance(value, str) or value not in names:
        raise PydanticKnownError("literal_error", {"expected": listed(names)})
    return value
