"""One run's configuration: all sections of a TOML file, every default written out in the stored copy."""

from __future__ import annotations

from typing import Any, Self

import tomlkit
from pydantic import Field, ValidationError, model_validator

from hpc_sparse.config.combinations import wrong_combinations
from hpc_sparse.config.data import DataSection
from hpc_sparse.config.evolution import (
    BlockPruningSection,
    EvolutionSection,
    GroupLassoSection,
    ImportancePruningSection,
)
from hpc_sparse.config.network import NetworkSection
from hpc_sparse.config.parallel import ParallelSection
from hpc_sparse.config.problems import problem
from hpc_sparse.config.registry import OPTIMIZERS
from hpc_sparse.config.runtime import CheckpointSection, RuntimeSection
from hpc_sparse.config.section import Section
from hpc_sparse.config.training import OptimizerSection, TrainingSection


class RunConfig(Section):
    """Configuration of a run: every setting that determines it."""

    data: DataSection
    network: NetworkSection
    training: TrainingSection
    optimizer: OptimizerSection = Field(default_factory=OptimizerSection)
    evolution: EvolutionSection = Field(default_factory=EvolutionSection)
    importance_pruning: ImportancePruningSection = ImportancePruningSection()
    block_pruning: BlockPruningSection = BlockPruningSection()
    group_lasso: GroupLassoSection = GroupLassoSection()
    parallel: ParallelSection = ParallelSection()
    checkpoint: CheckpointSection = CheckpointSection()
    runtime: RuntimeSection = RuntimeSection()

    @model_validator(mode="before")
    @classmethod
    def _section_of_the_optimizer(cls, values: Any) -> Any:
        """The configuration with the keys of the chosen optimiser, which another section chooses."""
        if not isinstance(values, dict):
            return values
        training, given = values.get("training"), values.get("optimizer", {})
        if not isinstance(training, dict) or not isinstance(given, dict):
            return values
        chosen = training.get("optimizer", TrainingSection.model_fields["optimizer"].default)
        if not isinstance(chosen, str) or chosen in given or chosen not in OPTIMIZERS.sections():
            return values
        return {**values, "optimizer": {**given, chosen: {}}}

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if problems := [problem("combination", line) for line in wrong_combinations(self)]:
            raise ValidationError.from_exception_data(type(self).__name__, problems)
        return self

    def to_toml(self) -> str:
        """The configuration as TOML, every default written out; reading it back gives an equal object."""
        return tomlkit.dumps(self.model_dump(mode="json", exclude_none=True))
