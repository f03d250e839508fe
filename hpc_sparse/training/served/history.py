"""History of topologies, by which late gradients find their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hpc_sparse.dtypes import VALUE, Float32Array
from hpc_sparse.network.connections.topology import TopologyChange
from hpc_sparse.network.network import Network
from hpc_sparse.network.optimizers.state import carried as carried_over
from hpc_sparse.network.parameters import ParameterLayout

LayerChange = Mapping[str, TopologyChange]
"""Changes of a layer's connections, by name."""


class TopologyHistory:
    """History of a network's topologies, which carries gradients from any remembered version to the current one.

    A gradient counts only for connections that have existed since. A connection that was dropped does not get it, even
    if it has grown again (RetainValidUpdates of WASAP-SGD; Curci et al. 2021). The changes since each remembered
    version are composed to one map per layer, so carrying a gradient is one gather per layer.

    Attributes
    ----------
    version : int
        Number of the current topology.
    """

    def __init__(self, network: Network) -> None:
        self.version = 0
        self._layouts = {0: ParameterLayout.of(network)}
        self._n_each = [
            {name: each.values_per_unit for name, each in layer.connections().items()} for layer in network.layers
        ]
        self._owners = [
            {name: parameter.connections for name, parameter in layer.parameters().items()} for layer in network.layers
        ]
        self._changes: dict[int, list[LayerChange]] = {}

    def advance(self, network: Network, changes: Sequence[LayerChange]) -> None:
        """Take note of a change.

        Parameters
        ----------
        network : Network
            After the change.
        changes : sequence of dict of str to TopologyChange
            One per layer, by the names of its connections; without those that stayed.
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
        of_layers = zip(self._changes[version], self._owners, self._n_each, old_views, new_views, strict=True)
        for changes, owners, n_each, old, new in of_layers:
            for name, owner in owners.items():
                new[name][:] = carried_over(owner, changes, old[name], n_each)
        return carried


def _then(before: LayerChange, now: LayerChange) -> LayerChange:
    both = {name: before[name].then(now[name]) for name in before if name in now}
    return {**before, **now, **both}
