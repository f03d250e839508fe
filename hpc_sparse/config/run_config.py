"""One run's configuration: all sections of a TOML file, every default written out in the stored copy."""

from __future__ import annotations

import tomlkit

from hpc_sparse.config.data import DataSection
from hpc_sparse.config.evolution import EvolutionSection, ImportancePruningSection
from hpc_sparse.config.network import NetworkSection
from hpc_sparse.config.parallel import ParallelSection
from hpc_sparse.config.runtime import CheckpointSection, RuntimeSection
from hpc_sparse.config.section import Section
from hpc_sparse.config.training import OptimizerSection, TrainingSection


class RunConfig(Section):
    """Everything that determines a run."""

    data: DataSection
    network: NetworkSection
    training: TrainingSection
    optimizer: OptimizerSection = OptimizerSection()
    evolution: EvolutionSection = EvolutionSection()
    importance_pruning: ImportancePruningSection = ImportancePruningSection()
    parallel: ParallelSection = ParallelSection()
    checkpoint: CheckpointSection = CheckpointSection()
    runtime: RuntimeSection = RuntimeSection()

    def to_toml(self) -> str:
        """The configuration as TOML, every default written out; reading it back gives an equal object."""
        return tomlkit.dumps(self.model_dump(mode="json", exclude_none=True))
