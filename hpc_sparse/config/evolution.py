"""Sections ``[evolution]``, ``[importance_pruning]``, ``[block_pruning]``, ``[group_lasso]``: topology changes."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, field_validator, model_validator

from hpc_sparse.config.registry import STRATEGIES, SectionOfKinds, SectionT, check_known
from hpc_sparse.config.section import (
    Count,
    Fraction,
    NonNegative,
    Percentile,
    Positive,
    PositiveCount,
    Section,
    Share,
)

DropSchedule = Literal["constant", "cosine", "linear", "exponential"]
DensitySchedule = Literal["cubic", "sigmoid"]


class Published(NamedTuple):
    """How much a strategy replaces and until when, as its authors have it.

    Attributes
    ----------
    drop_fraction : float
        Share of the connections replaced at the first change.
    drop_schedule : str
        Its decay.
    end : float or None
        Share of all epochs after which nothing changes any more; None: changes go on to the last epoch.
    least : float
        What the share decays to.
    """

    drop_fraction: float = 0.3
    drop_schedule: DropSchedule = "constant"
    end: float | None = None
    least: float = 0.0


class EvolutionSection(SectionOfKinds):
    """Changes of the topology while the network trains; the output layer keeps its own."""

    place: ClassVar[str] = "evolution"

    strategy: str = "set"
    """Choice of connections to drop and to grow: see the table of strategies. Their own keys have own sections."""

    grown_weights: Literal["strategy", "initial", "zero"] = "strategy"
    """Weights of grown connections: as the strategy has it (set: initial weights; others: zero), or
    always initial weights, or always zero. Some strategies have no choice."""

    drop_fraction: Fraction | Literal["auto"] = "auto"
    """Share of the connections replaced each time, at first (SET's zeta, RigL's alpha). auto: 0.3; snfs: 0.5."""

    drop_schedule: Literal["auto", "constant", "cosine", "linear", "exponential"] = "auto"
    """Decay of drop_fraction until end_epoch; exponential: with the third power of the time left. auto: as the authors
    of the strategy have it, and an end_epoch with it unless one is set: a cosine to 75 % of the epochs for rigl and
    srigl, to 60 % for gse, to the last one and 0.005 for snfs; else constant."""

    every_epochs: PositiveCount = 1
    """Epochs from one change to the next; there is none after the last epoch."""

    every_steps: PositiveCount | Literal["auto"] | None = None
    """Instead of every_epochs: steps from one change to the next, counted over the whole run; updates where a rank
    serves. auto: as many as an epoch has on one rank, so that what grows has time to learn where shards are small."""

    begin_epoch: Count = 0
    """No change before this epoch is over, and none before the first step."""

    end_epoch: PositiveCount | None = None
    """No change after this epoch, where schedules end; by default the last, or with drop_schedule = "auto" that of the
    strategy."""

    final_density: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] | None = None
    """Density of all evolving layers together after the last change; every layer shrinks in proportion."""

    density_schedule: DensitySchedule = "cubic"
    """final_density: decrease of the connections. cubic: fast at first and slow in the end; sigmoid: slow at both."""

    block_score: Literal["norm", "largest"] = "norm"
    """Connections in blocks: size by which blocks are dropped: the Euclidean norm, or the largest |weight|."""

    growth_samples: PositiveCount = 256
    """Strategies that grow by gradients: training samples these are computed on, drawn anew for each change."""

    growth_pool: PositiveCount = 4096
    """Training samples they are drawn from; every rank holds them all, as they are stored."""

    @property
    def published(self) -> Published:
        """How much the chosen strategy replaces and until when, as its authors have it."""
        found: Published = getattr(STRATEGIES[self.strategy], "published", Published())
        return found

    @property
    def first_fraction(self) -> float:
        """Share of the connections replaced at the beginning."""
        return self.published.drop_fraction if self.drop_fraction == "auto" else self.drop_fraction

    @property
    def decay(self) -> DropSchedule:
        """Decay of the drop fraction."""
        return self.published.drop_schedule if self.drop_schedule == "auto" else self.drop_schedule

    @property
    def least_fraction(self) -> float:
        """What the drop fraction decays to."""
        return min(self.first_fraction, self.published.least) if self.drop_schedule == "auto" else 0.0

    def last_change(self, n_epochs: int) -> int | None:
        """Epochs that are over at the last possible change of a run; None if changes go on to its end."""
        if self.end_epoch is not None or self.drop_schedule != "auto" or self.published.end is None:
            return self.end_epoch
        return max(self.begin_epoch + 1, round(self.published.end * n_epochs))

    def chosen(self, section: type[SectionT]) -> SectionT:
        """The section of the chosen strategy, which is of this class."""
        return self.own(self.strategy, section)

    @field_validator("strategy", mode="before")
    @classmethod
    def _is_known(cls, value: Any) -> Any:
        return check_known(STRATEGIES, value)

    @model_validator(mode="after")
    def _ends_after_its_begin(self) -> Self:
        if self.end_epoch is not None and self.end_epoch <= self.begin_epoch:
            raise ValueError(
                f"end_epoch = {self.end_epoch}: must be > begin_epoch = {self.begin_epoch}, else nothing changes"
            )
        return self

    @model_validator(mode="after")
    def _pool_is_large_enough(self) -> Self:
        if self.growth_pool < self.growth_samples:
            raise ValueError(
                f"growth_pool = {self.growth_pool}: must be >= growth_samples = {self.growth_samples}, drawn from it"
            )
        return self


class ImportancePruningSection(Section):
    """Taking away unimportant neurons while training."""

    mode: Literal["off", "compact", "released"] = "off"
    """compact: remove them from the network; released: only cut their incoming connections, as the authors do."""

    after_epoch: Count = 200
    """The authors' tau: no pruning before this epoch is over."""

    every_epochs: PositiveCount = 10
    """The authors' p: epochs from one pruning to the next."""

    until_epoch: Count = 250
    """No pruning after this epoch. Removals compound: five at percentile 20 leave a third; the authors' have no end."""

    percentile: Percentile = 20.0
    """Percentile of each hidden layer's importances; neurons at or below it are removed."""

    importance: Literal["incoming", "two_sided", "taylor"] = "incoming"
    """Importance of a neuron: the sum of its incoming |weights|; that times the sum of the outgoing ones; or the mean
    |activation x derivative of the loss| over evolution.growth_samples training samples."""

    fold_means: bool = True
    """compact: add what a removed neuron contributed on average, over as many samples, to the biases above."""

    input_percentile: Percentile = 0.0
    """The same for input neurons, by their outgoing |weights|; 0 keeps all inputs. For compact only."""

    @property
    def needs_samples(self) -> bool:
        """Whether pruning looks at what samples do in the network."""
        return self.mode != "off" and (self.importance == "taylor" or (self.mode == "compact" and self.fold_means))

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


class BlockPruningSection(Section):
    """Pruning of blocks whose largest |weight| is below a threshold that rises while the network trains."""

    threshold: Positive | None = None
    """The authors' q: |weight| at the 90th percentile of a trained dense layer of the kind. Without: no pruning."""

    recurrent_threshold: Positive | None = None
    """The same for connections of a layer to itself; by default threshold. Without threshold: only these are pruned."""

    every_steps: PositiveCount = 100
    """Steps from one pruning to the next, counted over the whole run; updates where a rank serves."""

    after_epoch: Count = 1
    """The threshold is 0 until this epoch is over."""

    ramp: Fraction = 0.25
    """Share of all epochs after which the threshold rises 1.5 times as fast."""

    end: Share = 0.5
    """Share of all epochs after which nothing is pruned any more."""

    block_scale: Positive = 1.0
    """Factor of the threshold, as blocks of another size may need. Ours; the authors do not say how it depends."""

    @model_validator(mode="after")
    def _ends_after_its_ramp(self) -> Self:
        if self.end <= self.ramp:
            raise ValueError(
                f"end = {self.end}: must be > ramp = {self.ramp}, where the threshold begins to rise faster"
            )
        return self

    @property
    def is_on(self) -> bool:
        """Whether anything is pruned."""
        return self.threshold is not None or self.recurrent_threshold is not None


class GroupLassoSection(Section):
    """Group lasso: the norm of every block is part of the loss, so that whole blocks become 0."""

    strength: NonNegative = 0.0
    """The authors' lambda; after each step, the norm of a block shrinks by learning rate x strength. 0: none."""

    recurrent_strength: NonNegative | None = None
    """The same for connections of a layer to itself; by default strength."""

    @property
    def is_on(self) -> bool:
        """Whether anything shrinks."""
        return self.strength > 0 or bool(self.recurrent_strength)
