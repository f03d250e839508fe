"""A trained network out of a checkpoint, with all that is needed to evaluate it, whole or in part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hpc_sparse.config import RunConfig, parse_config
from hpc_sparse.errors import DataError
from hpc_sparse.inputs.batches import BatchAssembler
from hpc_sparse.inputs.chain import FrontEndChain
from hpc_sparse.models.merged import read_merged
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.registry import make_objective
from hpc_sparse.network.replica import Replica
from hpc_sparse.parallel.collectives import collective_errors, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import read_checkpoint
from hpc_sparse.storage.checkpoint.info import read_checkpoint_info
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.storage.dataset.file import load_dataset
from hpc_sparse.storage.dataset.samples import Dataset
from hpc_sparse.training.evaluation import evaluate
from hpc_sparse.training.replica_states import (
    check_fits,
    replica_from_states,
)


@dataclass(frozen=True)
class StoredNetwork:
    """Contents of a checkpoint, ready for use.

    Attributes
    ----------
    path : Path
    checkpoint : Checkpoint
    config : RunConfig
        Configuration of the run that wrote it.
    replica : Replica
    front_end : FrontEndChain
        Front ends of the network, for the features that it has inputs for.
    """

    path: Path
    checkpoint: Checkpoint
    config: RunConfig
    replica: Replica
    front_end: FrontEndChain

    @classmethod
    def read(cls, ctx: ParallelContext, path: Path) -> StoredNetwork:
        """Read the network of a checkpoint, or the average of several, on every rank (collective).

        Raises
        ------
        InputError
            On every rank: the file is not what it should be.
        """
        info = on_root(ctx, lambda: read_checkpoint_info(path))
        origin = f"configuration stored in {path}"
        if info.n_replicas:
            with collective_errors(ctx, f"reading {path}"):
                config = parse_config(info.config_text, origin)
                checkpoint, replica = read_merged(path, config)
                return cls(path, checkpoint, config, replica, _front_end(path, checkpoint, config, replica))
        checkpoint = read_checkpoint(ctx, path)
        with collective_errors(ctx, f"reading {path}"):
            config = parse_config(checkpoint.config_text, origin)
            replica = replica_from_states(config, checkpoint.layers, checkpoint.neuron_ids, str(path))
            return cls(path, checkpoint, config, replica, _front_end(path, checkpoint, config, replica))

    def load_data(self, ctx: ParallelContext, path: Path) -> Dataset:
        """Load a data set for this network, on each rank its share (collective).

        Raises
        ------
        InputError
            On every rank: the file is not a data set, or does not fit the network.
        """
        dataset = load_dataset(ctx, path)
        with collective_errors(ctx, "fitting the checkpoint to the data set"):
            check_fits(self.replica.network, self.config, dataset.info, str(self.path))
            self._check_features(dataset)
        return dataset

    def evaluate(self, ctx: ParallelContext, network: Network, dataset: Dataset) -> tuple[float, float]:
        """Loss and accuracy on the test part, with the front ends of the training (collective).

        ``network`` is that of the replica, or what is left of it after pruning.
        """
        batch_size = self.config.training.batch_size
        front_end = self.front_end.choosing(network.neuron_ids[0])
        reading = network.tile_width, network.n_places, network.n_tokens
        assembler = BatchAssembler(front_end, dataset.info.n_features, batch_size, *reading)
        objective = make_objective(self.config)
        workspace = network.make_workspace(batch_size, activations=self.config.training.activations)
        settings, is_text = (assembler, workspace, batch_size), dataset.info.is_text
        return evaluate(ctx, network, objective, dataset.test, *settings, is_text=is_text)

    def _check_features(self, dataset: Dataset) -> None:
        """The front ends must fit; a network without some of its inputs might have more features than they know."""
        info, n_features = dataset.info, self.front_end.n_features
        if n_features not in {None, info.n_features}:
            raise DataError(f"{info.path}: {info.n_features} features, but {self.path} was trained on {n_features}")
        self.front_end.check_data(dataset)


def _front_end(path: Path, checkpoint: Checkpoint, config: RunConfig, replica: Replica) -> FrontEndChain:
    """The front ends of a checkpoint, checked against its network."""
    chain = FrontEndChain.restore(config, checkpoint.front_end, replica.network.neuron_ids[0])
    if chain.n_features is not None:
        chain.check_fits(str(path), chain.n_features, replica.network.n_inputs)
    return chain
