"""Choice among a file's arrays: those that the user names, or the only (outermost) ones with usual names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hpc_sparse.errors import DataError, quoted

X_NAMES = ("x", "data", "features", "fea", "images", "x_train")
Y_NAMES = ("y", "label", "labels", "gnd", "target", "targets", "class", "y_train")
MOST_LISTED = 20


@dataclass(frozen=True)
class ArrayNames:
    """Names of the arrays of features and labels, None to guess them; those for testing may be missing."""

    x: str | None = None
    y: str | None = None
    x_test: str | None = None
    y_test: str | None = None

    def chosen(self, where: str, found: Mapping[str, str], has: Callable[[str], bool]) -> list[tuple[str, str]]:
        """Pairs of names (features, labels), for training and perhaps for testing.

        Parameters
        ----------
        where : str
            File, to begin messages with.
        found : mapping
            Description by name.
        has : callable
            Whether a name exists; there may be more than those described.

        Raises
        ------
        DataError
            There is no such array, or none or several have a usual name.
        """
        if (self.x_test is None) != (self.y_test is None):
            raise DataError(f"{where}: only one of --x-test and --y-test is given: expected both or none")
        train = (
            _chosen(where, "--x", self.x, X_NAMES, found, has),
            _chosen(where, "--y", self.y, Y_NAMES, found, has),
        )
        if self.x_test is None:
            return [train]
        test = (
            _chosen(where, "--x-test", self.x_test, (), found, has),
            _chosen(where, "--y-test", self.y_test, (), found, has),
        )
        return [train, test]


def described(file: str, pairs: Sequence[tuple[str, str]]) -> str:
    """File and arrays, as a text."""
    return f"{file}, " + "; ".join(f"{x}, {y}" for x, y in pairs)


def _chosen(
    where: str,
    option: str,
    wanted: str | None,
    usual: Sequence[str],
    found: Mapping[str, str],
    has: Callable[[str], bool],
) -> str:
    if wanted is not None:
        if has(wanted):
            return wanted
        raise DataError(f'{where}: {option} = "{wanted}": no such array: it has {_listed(found)}')
    fitting = [name for name in found if name.rpartition("/")[2].lower() in usual]
    if len(fitting) == 1:
        return fitting[0]
    outer = [name for name in fitting if "/" not in name]
    if len(outer) == 1:
        return outer[0]
    problem = "several may be meant" if fitting else "none has a usual name"
    raise DataError(f"{where}: {problem}: name one of its arrays with {option}: it has {_listed(found)}")


def _listed(found: Mapping[str, str]) -> str:
    shown = [f"{quoted(name, 40)} {kind}" for name, kind in list(found.items())[:MOST_LISTED]]
    if len(found) > MOST_LISTED:
        shown.append(f"and {len(found) - MOST_LISTED} more")
    return ", ".join(shown) or "none"
