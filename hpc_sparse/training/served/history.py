"""What became of the connections of earlier topologies: how late gradients find their weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpc_sparse.dtypes import VALUE, Float32Array
from hpc_sparse.network.connections.topology import TopologyChange
from hpc_sparse.network.network import Network
from hpc_sparse.network.parameters import ParameterLayout


class TopologyHistory:
    """Numbers the topologies of a network and carries gradients from any remembered one to the present one.

    A gradient counts only for connections that have existed ever since: one that was dropped, even if it has grown
    again, does not get it (RetainValidUpdates of WASAP-SGD; Curci et al. 2021). The changes since each remembered
    version are kept composed to one map per layer, so carrying a gradient is one gather per layer.

    Attributes
    ----------
    version : int
        Number of the present topology.
    """

    def __init__(self, network: Network) -> None:
        self.version = 0
        self._layouts = {0: ParameterLayout.of(network)}
        self._changes: dict[int, list[TopologyChange | None]] = {}

    def advance(self, network: Network, changes: Sequence[TopologyChange | None]) -> None:
        """Take note of a change.

        Parameters
        ----------
        network : Network
            After the change.
        changes : sequence of TopologyChange or None
            One per layer; None where the layer stayed.
        """
        for version, composed in self._changes.items():
            self._changes[version] = [_then(before, now) for before, now in zip(composed, changes, strict=True)]
        self._changes[self.version] = list(changes)
        self.version += 1
        self._layouts[self.version] = ParameterLayout.of(network)

    def forget_before(self, version: int) -> None:
        """Forget the topologies before ``version``."""
        for old in [number for number in self._layouts if number < min(version, self.version)]:
            del self._layouts[old], self._changes[old]

    @property
    def remembered(self) -> list[int]:
        """Versions from which gradients can be carried, oldest first."""
        return sorted(self._layouts)

    def layout(self, version: int) -> ParameterLayout:
        """How vectors of that version are laid out."""
        return self._layouts[version]

    def carry(self, version: int, gradient: Float32Array) -> Float32Array:
        """A gradient vector of ``version``, float32[its n_parameters], brought to the present topology.

        Returns
        -------
        float32[present n_parameters]
            ``gradient`` itself if it is of the present version.
        """
        if version == self.version:
            return gradient
        layout = self._layouts[self.version]
        carried = np.empty(layout.n_parameters, VALUE)
        old_views, new_views = self._layouts[version].views(gradient), layout.views(carried)
        for change, old, new in zip(self._changes[version], old_views, new_views, strict=True):
            new[0][:] = old[0] if change is None else change.carry(old[0])
            new[1][:] = old[1] if change is None else change.carry_neurons(old[1])
        return carried


def _then(before: TopologyChange | None, now: TopologyChange | None) -> TopologyChange | None:
    if before is None or now is None:
        return before or now
    return before.then(now)
