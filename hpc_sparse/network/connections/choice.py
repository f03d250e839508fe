"""What kinds of connections say of a configuration, unless they say otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from hpc_sparse.config import LayerSection, RunConfig


class FreeChoice:
    """Kinds without keys of their own, which go together with everything.

    See :class:`hpc_sparse.config.layers.ConnectionKind` for what each answer means.
    """

    kind: ClassVar[str]
    keys: ClassVar[Mapping[str, object]] = MappingProxyType({})
    small_keys: ClassVar[Mapping[str, object]] = MappingProxyType({})
    in_groups: ClassVar[bool] = False
    evolves: ClassVar[bool] = True

    @classmethod
    def unit_of(cls, section: LayerSection) -> tuple[int, int]:  # noqa: ARG003
        """(1, 1): each connection comes and goes alone."""
        return (1, 1)

    @classmethod
    def density_of(cls, section: LayerSection, n_in: int) -> float | None:  # noqa: ARG003
        """The layer's key of this name."""
        return section.density

    @classmethod
    def keys_like(cls, section: LayerSection) -> Mapping[str, object]:
        """The same keys."""
        return {key: getattr(section, key) for key in cls.keys}

    @classmethod
    def refuses_section(cls, section: LayerSection) -> str | None:  # noqa: ARG003
        """None: there are no keys."""
        return None

    @classmethod
    def refuses_shape(cls, shape: tuple[int, int], section: LayerSection) -> str | None:  # noqa: ARG003
        """None: any layer may have such connections."""
        return None

    @classmethod
    def refuses(cls, config: RunConfig) -> Iterable[str]:  # noqa: ARG003
        """Nothing."""
        return ()
