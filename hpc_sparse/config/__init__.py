"""A run's configuration: a TOML file, validated as a whole; one file per section."""

from hpc_sparse.config.data import DataSection
from hpc_sparse.config.evolution import EvolutionSection, ImportancePruningSection
from hpc_sparse.config.layers import LayerSection
from hpc_sparse.config.loading import find_data, find_file, load_config, parse_config
from hpc_sparse.config.network import NetworkSection
from hpc_sparse.config.parallel import ParallelSection
from hpc_sparse.config.run_config import RunConfig
from hpc_sparse.config.runtime import CheckpointSection, RuntimeSection
from hpc_sparse.config.section import Section
from hpc_sparse.config.training import OptimizerSection, TrainingSection

__all__ = [
    "CheckpointSection",
    "DataSection",
    "EvolutionSection",
    "ImportancePruningSection",
    "LayerSection",
    "NetworkSection",
    "OptimizerSection",
    "ParallelSection",
    "RunConfig",
    "RuntimeSection",
    "Section",
    "TrainingSection",
    "find_data",
    "find_file",
    "load_config",
    "parse_config",
]
