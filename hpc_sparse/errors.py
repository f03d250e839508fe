"""The errors a user can meet, each with the exit code it ends the process with.

A message names the thing, its value, what was expected, and where it was found.
Broken invariants of the program itself are assertions, not members of this family.
"""

from __future__ import annotations

from typing import ClassVar

LONGEST_QUOTE = 200
"""Characters shown of foreign text."""


def printable(text: str) -> str:
    """Text that may have foreign parts, for a terminal that they must not steer; its lines stay."""
    return "".join(char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text)


def quoted(text: str, longest: int = LONGEST_QUOTE) -> str:
    """Foreign text for a message: printable, on one line, cut off after ``longest`` characters."""
    shown = printable(text[:longest]).replace("\n", "\\n").replace("\t", "\\t")
    return f"{shown}..." if len(text) > longest else shown


class HpcSparseError(Exception):
    """Base of every error that is shown as one message instead of a traceback."""

    exit_code: ClassVar[int] = 1


class InputError(HpcSparseError):
    """Something given from outside is wrong; nothing was written or changed."""

    exit_code: ClassVar[int] = 2


class ConfigError(InputError):
    """A configuration key or value, or an override on the command line, is wrong."""


class ParameterError(ConfigError, ValueError):
    """A parameter of an estimator is wrong: also a ValueError, as scikit-learn's users expect."""


class DataError(InputError):
    """A data set does not hold what it should, or does not fit the network."""


class ArrayError(DataError, ValueError):
    """An array or a matrix that a caller gave is wrong: also a ValueError, as callers of a library expect."""


class FileFormatError(InputError):
    """A file is truncated, foreign, of an unknown version, or inconsistent in itself."""


class NewerFormatError(FileFormatError):
    """A file of a format version that this program does not know yet: not damaged, only too new."""


class OutputError(InputError):
    """A file or folder cannot be written, or would overwrite something."""


class MachineError(InputError):
    """A request beyond this machine or installation."""


class DivergedError(HpcSparseError):
    """The loss or the weights are no longer finite, or the replicas no longer agree."""

    exit_code: ClassVar[int] = 3

    @classmethod
    def in_epoch(cls, epoch: int, train_loss: float, learning_rate: float) -> DivergedError:
        """A loss or a weight is no longer a finite number."""
        return cls(
            f"epoch {epoch}: training diverged (training loss {train_loss}); lower optimizer.learning_rate = "
            f"{learning_rate} or use optimizer.warmup_epochs"
        )

    @classmethod
    def not_finite(cls) -> DivergedError:
        """A weight is no longer a finite number, found at a sync."""
        return cls(
            "training diverged (a weight is no longer a finite number); lower optimizer.learning_rate or use "
            "optimizer.warmup_epochs"
        )


class PlannedStop(HpcSparseError):  # noqa: N818  (nothing has gone wrong)
    """The run was asked to stop, has written a checkpoint, and can be continued."""

    exit_code: ClassVar[int] = 75
    """EX_TEMPFAIL of sysexits.h: try again later."""


class RankError(HpcSparseError):
    """A rank failed in work that the others depend on; every rank raises this."""
