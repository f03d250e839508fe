"""One run's configuration: a TOML file, validated as a whole, every default written out in the stored copy."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hpc_sparse.dtypes import MAX_NEURONS
from hpc_sparse.errors import ConfigError

DEFAULT_EPSILON = 20.0

Fraction = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
PositiveCount = Annotated[int, Field(ge=1)]
Width = Annotated[int, Field(ge=1, le=MAX_NEURONS)]


class Section(BaseModel):
    """A section of the file: frozen, strict about types, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class DataSection(Section):
    """The data set and how its features are scaled."""

    path: str
    """HDF5 data set. A relative path is looked up beside the configuration, in $HPC_SPARSE_DATA, in data/."""

    standardize: bool = True
    """Dense features: subtract the training part's mean and divide by its standard deviation. CSR features stay."""

    augmentation: Literal["none", "cifar"] = "none"
    """Of training images; cifar: 32 x 32 x 3, rotated by up to 10 degrees, shifted by up to 0.1, flipped."""


class NetworkSection(Section):
    """The network at the start of the run."""

    hidden: Annotated[tuple[Width, ...], Field(strict=False)]
    """Neurons of each hidden layer, first to last; empty for a linear model."""

    epsilon: Positive | None = None
    """SET's sparsity: density of a layer = epsilon (n_in + n_out) / (n_in n_out). 20 unless density is set."""

    density: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    """Instead of epsilon: the same density for every layer."""

    activation: Literal["all_relu", "relu", "leaky_relu"] = "all_relu"
    """Of the hidden layers."""

    alpha: NonNegative = 0.6
    """Slope below zero of all_relu (alternating in sign) and leaky_relu."""

    initializer: Literal["he_uniform", "he_fan_in", "xavier_uniform", "normal"] = "he_uniform"
    """Of initial and grown weights; he_fan_in uses each neuron's real number of connections."""

    dropout: Fraction = 0.3
    """Share of hidden activations dropped in training."""

    @model_validator(mode="after")
    def _one_sparsity(self) -> Self:
        if self.epsilon is not None and self.density is not None:
            raise ValueError("epsilon and density exclude each other: give one of them")
        if self.epsilon is None and self.density is None:
            object.__setattr__(self, "epsilon", DEFAULT_EPSILON)
        return self


class TrainingSection(Section):
    """Length of the run, batches and loss."""

    epochs: PositiveCount
    """Passes over the training data in total, also counting those before a resume."""

    batch_size: PositiveCount = 128
    """Samples per step and rank."""

    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    """Of every random stream of the run."""

    loss: Literal["cross_entropy", "binary_cross_entropy", "mse", "mse_tanh"] = "cross_entropy"
    """With softmax, one sigmoid (two classes), sigmoid and tanh outputs respectively."""


class OptimizerSection(Section):
    """SGD with momentum."""

    learning_rate: Positive = 0.01
    """Of one replica; see parallel.learning_rate_scaling."""

    momentum: Fraction = 0.9
    """Share of the velocity that stays from step to step."""

    nesterov: bool = False
    """Nesterov's correction."""

    weight_decay: NonNegative = 0.0
    """Multiplied by the learning rate and taken off the weights, not off the biases."""

    schedule: Literal["constant", "step", "cosine"] = "constant"
    """Of the learning rate, by epoch. A cosine depends on training.epochs."""

    warmup_epochs: Count = 0
    """Epochs over which the learning rate rises to its full value."""

    warmup_from: Literal["zero", "unscaled"] = "zero"
    """Where that rise starts; unscaled: at learning_rate without the scaling for replicas (Goyal et al. 2017)."""

    momentum_correction: bool = False
    """When the rate changes, scale the velocities by new / old, so that no old rate lives on in them (ibid.)."""

    step_epochs: PositiveCount = 25
    """Step schedule: epochs between two reductions."""

    step_factor: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Step schedule: factor of each reduction."""


class EvolutionSection(Section):
    """How the topology changes between epochs; the output layer keeps its own."""

    strategy: Literal["set", "static"] = "set"
    """set: drop the weakest connections, grow as many at random."""

    drop_fraction: Fraction = 0.3
    """SET's zeta: share of the connections replaced each time."""

    every_epochs: PositiveCount = 1
    """Epochs from one change to the next; there is none after the last epoch."""


class ImportancePruningSection(Section):
    """Taking away unimportant neurons while training; a neuron's importance is the sum of its incoming |weights|."""

    mode: Literal["off", "compact", "released"] = "off"
    """compact: remove them from the network for good; released: cut their incoming connections, as the authors do."""

    after_epoch: Count = 200
    """The authors' tau: no pruning before this epoch is over."""

    every_epochs: PositiveCount = 10
    """The authors' p: epochs from one pruning to the next."""

    until_epoch: Count = 250
    """No pruning after this epoch. Removals compound: five at percentile 20 leave a third; the authors' have no end."""

    percentile: Annotated[float, Field(ge=0, lt=100, allow_inf_nan=False)] = 20.0
    """Of each hidden layer's importances; neurons at or below it go."""

    input_percentile: Annotated[float, Field(ge=0, lt=100, allow_inf_nan=False)] = 0.0
    """The same for input neurons, by their outgoing |weights|; 0 keeps all inputs. For compact only."""

    @model_validator(mode="after")
    def _inputs_are_removed_only(self) -> Self:
        if self.input_percentile and self.mode != "compact":
            raise ValueError('input_percentile needs mode = "compact"')
        return self

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> Self:
        if self.mode != "off" and self.until_epoch < self.after_epoch:
            raise ValueError(
                f"until_epoch = {self.until_epoch}: must be >= after_epoch = {self.after_epoch}, else nothing is pruned"
            )
        return self


class ParallelSection(Section):
    """How ranks train together; without effect on one rank."""

    strategy: Literal["local_sgd", "wasap", "wassp"] = "local_sgd"
    """local_sgd: replicas averaged at each sync; wasap, wassp: rank 0 serves workers, without or with waiting."""

    sync_every_steps: PositiveCount | Literal["epoch"] = "epoch"
    """local_sgd: steps from one sync to the next; every epoch ends with one in any case."""

    topology: Literal["shared", "independent"] = "shared"
    """local_sgd: replicas evolve alike (shared), or each by its own stream, merged at the next sync (independent)."""

    momentum: Literal["average", "reset"] = "average"
    """local_sgd: what a sync does to the optimiser's velocities."""

    overlap: bool = False
    """local_sgd: average while training goes on; wasap: compute a gradient while the last is under way."""

    learning_rate_scaling: Literal["auto", "none", "sqrt", "linear"] = "auto"
    """Factor of the rate by the number of replicas that share a step; auto: linear, for wasap none."""

    max_staleness: PositiveCount = 64
    """wasap: a gradient is discarded if more updates than this came after the weights it was computed with."""

    staleness_aware: bool = False
    """wasap: divide the rate by 1 + staleness."""

    phase2_share: Fraction = 0.1
    """wasap, wassp: share of the epochs, at the end, in which workers train alone before they are averaged."""

    phase2_learning_rate: Positive | None = None
    """wasap, wassp: rate of phase 2; by default the schedule's, without scaling."""

    @model_validator(mode="after")
    def _overlap_is_possible(self) -> Self:
        if not self.overlap or self.strategy == "wasap":
            return self
        if self.strategy == "wassp":
            raise ValueError('overlap = true needs strategy = "local_sgd" or "wasap"')
        if self.topology != "shared" or self.momentum != "average":
            raise ValueError('overlap = true needs topology = "shared" and momentum = "average"')
        if self.sync_every_steps == "epoch":
            raise ValueError("overlap = true needs a number for sync_every_steps: it is for syncs within an epoch")
        return self


class CheckpointSection(Section):
    """When checkpoints are written and which are kept."""

    every_epochs: PositiveCount = 10
    """Epochs between checkpoints; the last epoch always writes one."""

    keep_last: PositiveCount = 2
    """How many of the newest are kept; so is the one with the best test accuracy."""


class RuntimeSection(Section):
    """The machine, and what is shown; nothing here changes what a run computes."""

    threads: Count = 0
    """Threads per rank; 0: all cores that belong to the rank."""

    hdf5: Literal["auto", "mpio", "serial"] = "auto"
    """HDF5 back end: mpio needs h5py built with MPI; serial lets root write; auto takes mpio where it can."""

    log: Literal["debug", "info", "warning"] = "info"
    """The least level of log messages shown."""

    time_limit: NonNegative = 0.0
    """Seconds after which the run writes a checkpoint and stops with exit code 75, to be resumed; 0 for none."""

    stop_within: Positive = 5.0
    """Seconds in which a signal (SIGTERM, SIGUSR1, SIGINT) or the limit is followed, give or take an evaluation."""

    oversubscribe: bool = False
    """Allow more ranks on a node than it has cores."""


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


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read and validate a configuration file.

    Parameters
    ----------
    path : Path
        TOML file.
    overrides : sequence of str
        ``section.key=value`` each, the value in TOML's notation (bare words count as strings); they replace
        what the file says.

    Raises
    ------
    ConfigError
        Naming the file or override, the key, its value and what was expected.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder; expected a configuration file (TOML)") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise ConfigError(f"{path}: cannot read the configuration: {reason}") from None
    return parse_config(text, str(path), overrides)


def parse_config(text: str, origin: str, overrides: Sequence[str] = ()) -> RunConfig:
    """As :func:`load_config`, for TOML text; ``origin`` names it in messages."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{origin}: not valid TOML: {error}") from None
    for override in overrides:
        _apply_override(tree, override)
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("\n".join(_describe_all(error, origin, overrides))) from None


def find_data(path: str, config_path: Path) -> Path:
    """Where the data set of a configuration is: beside it, in ``$HPC_SPARSE_DATA``, or in ``data/``.

    Raises
    ------
    ConfigError
        It is at none of these places; the message lists them.
    """
    candidates = [config_path.parent / path]
    if (folder := os.environ.get("HPC_SPARSE_DATA")) is not None:
        candidates.append(Path(folder) / path)
    candidates.append(Path("data") / path)
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    looked = ", ".join(str(candidate) for candidate in candidates)
    raise ConfigError(f'data.path = "{path}": no such data set ({config_path}); looked at {looked}')


def _apply_override(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (equals and dot and section and name):
        raise ConfigError(f"--set {override}: expected section.key=value, such as training.epochs=30")
    table = tree.setdefault(section, {})
    if not isinstance(table, dict):
        raise ConfigError(f"--set {override}: {section} is not a section")
    table[name] = _parse_value(text.strip())
    for other in {"epsilon": ("density",), "density": ("epsilon",)}.get(name, ()):
        table.pop(other, None)


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _describe_all(error: ValidationError, origin: str, overrides: Sequence[str]) -> list[str]:
    """One line per wrong key, blamed on the override that set it, or else on the file."""
    origins = {override.partition("=")[0].strip(): f"--set {override}" for override in overrides}
    unknown = {key.partition(".")[0]: where for key, where in origins.items()}
    origins.update({section: where for section, where in unknown.items() if section not in RunConfig.model_fields})
    by_key: dict[str, list[Any]] = {}
    for problem in error.errors():
        by_key.setdefault(".".join(str(part) for part in problem["loc"][:2]), []).append(problem)
    lines = []
    for key, problems in by_key.items():
        first, *others = [_described(problem, origins.get(key, origin)) for problem in problems]
        alternatives = [problem["msg"].removeprefix("Input should be ") for problem in problems[1:]]
        is_union = key == "parallel.sync_every_steps"
        lines += (
            [first.replace(" (", f" or {' or '.join(alternatives)} (", 1)] if is_union and others else [first, *others]
        )
    return lines


def _described(problem: Any, origin: str) -> str:
    """One line for one pydantic error: key = value: what was expected (file)."""
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown {'key' if len(location) > 1 else 'section'}{_suggestion(location)} ({origin})"
    if problem["type"] == "missing":
        return f"{key}: missing, but required ({origin})"
    if location[-1] in {"int", "constrained-int", "literal['epoch']"}:
        key = ".".join(location[:-1])
    message = problem["msg"].removeprefix("Value error, ")
    message = message.replace("Input should be", "must be").replace("a valid tuple", "a list, such as [1000, 1000]")
    value = "" if isinstance(problem["input"], dict) else f" = {problem['input']!r}"
    return f"{key}{value}: {message} ({origin})"


def _suggestion(location: list[str]) -> str:
    fields = RunConfig.model_fields
    if len(location) > 1:
        section = fields[location[0]].annotation
        assert isinstance(section, type)
        assert issubclass(section, Section)
        fields = section.model_fields
    close = difflib.get_close_matches(location[-1], fields, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(fields)}"
