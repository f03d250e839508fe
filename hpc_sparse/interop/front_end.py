"""A network as formats of other programs can say it: standardised, chosen features, then layers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import Int32Array
from hpc_sparse.errors import InputError
from hpc_sparse.inference import TrainedModel
from hpc_sparse.inputs.chain import FrontEndChain
from hpc_sparse.inputs.chosen_features import ChosenFeatures
from hpc_sparse.inputs.protocol import FrontEnd
from hpc_sparse.inputs.standardise import Standardise
from hpc_sparse.network.layers.protocol import Layer
from hpc_sparse.network.layers.sparse import SparseLayer


@dataclass(frozen=True)
class ExportedNetwork:
    """A network whose other front ends are folded into its first layer.

    Attributes
    ----------
    config : RunConfig
        Without those front ends.
    standardise : Standardise or None
    chosen : int32[n_inputs] or None
        Numbers of the features that the first layer takes; None for all.
    layers : list of Layer
    kept : FrontEndChain
        Front ends that change nothing and stay.
    """

    config: RunConfig
    standardise: Standardise | None
    chosen: Int32Array | None
    layers: list[Layer]
    kept: FrontEndChain

    @classmethod
    def of(cls, model: TrainedModel) -> ExportedNetwork:
        """The network of a model, which is not changed.

        Raises
        ------
        InputError
            A front end cannot be folded into the first layer.
        """
        parts = model.front_end.parts
        said = list(takewhile(_is_sayable, parts))
        first, *others = model.network.layers
        config = model.config
        if len(parts) > len(said):
            if not isinstance(first, SparseLayer):
                raise InputError(
                    f'layer 0 is of the kind "{first.kind}": {parts[len(said)].name} can be folded into a layer of the '
                    f'kind "{SparseLayer.kind}" alone'
                )
            config, first = model.front_end.folded(config, first, kept=len(said))
        standardise = next((part for part in said if isinstance(part, Standardise)), None)
        chosen = next((part.chosen for part in said if isinstance(part, ChosenFeatures)), None)
        kept = FrontEndChain(tuple(part for part in parts if part.stays_in_exports))
        return cls(config, standardise, chosen, [first, *others], kept)


def _is_sayable(part: FrontEnd) -> bool:
    """Whether an export can leave it out or express it."""
    return isinstance(part, Standardise | ChosenFeatures) or not part.acts_in_predictions
