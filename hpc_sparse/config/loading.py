"""Reading configuration files: TOML, overrides of the command line, where the data set is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hpc_sparse.config.former_names import FormerNames, former_names, note, twice, upgrade
from hpc_sparse.config.messages import describe_all
from hpc_sparse.config.run_config import RunConfig
from hpc_sparse.config.toml_text import parse_toml, read_text
from hpc_sparse.config.tree import Tree, has, put, take
from hpc_sparse.errors import ConfigError, quoted

EXCLUSIVE = {
    "network.epsilon": ("network.density",),
    "network.density": ("network.epsilon",),
    "network.hidden": ("network.layers",),
    "network.layers": ("network.hidden",),
}
"""Keys that an override takes the place of."""


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
        text = read_text(path)
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder; expected a configuration file (TOML)") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise ConfigError(f"{path}: cannot read the configuration: {reason}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error}") from None
    return parse_config(text, str(path), overrides)


def parse_config(text: str, origin: str, overrides: Sequence[str] = ()) -> RunConfig:
    """As :func:`load_config`, for TOML text; ``origin`` names it in messages."""
    try:
        tree = parse_toml(text)
    except ValueError as error:
        raise ConfigError(f"{origin}: not valid TOML: {quoted(str(error))}") from None
    former, given = former_names(), Tree()
    _assert_one_name(tree, former, origin)
    origins: dict[str, str] = {}
    for override in overrides:
        path, value = _parse_override(override)
        origins[path] = f"--set {quoted(override)}"
        try:
            put(given, path, value)
            _assert_one_name(given, former, origins[path])
            _make_room(tree, path, former)
            put(tree, path, value)
        except ValueError as error:
            raise ConfigError(f"{origins[path]}: {error}") from None
    try:
        renamed = upgrade(tree, former)
    except ValueError as error:
        raise ConfigError(f"{error} ({origin})") from None
    if renamed:
        note(origin, tuple(renamed.items()))
        origins.update({new: origins[old] for old, new in renamed.items() if old in origins})
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("\n".join(describe_all(error, origin, origins))) from None


def find_data(path: str, config_path: Path) -> Path:
    """Path of a configuration's data set: see :func:`find_file`."""
    return find_file(path, config_path, f'data.path = "{path}"', "data set")


def find_file(path: str, config_path: Path, setting: str, what: str) -> Path:
    """Path of a file that a configuration names: beside it, in ``$HPC_SPARSE_DATA``, or in ``data/``.

    Parameters
    ----------
    path : str
    config_path : Path
    setting, what : str
        The key with its value, and what the file is, for the message.

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
    looked = ", ".join(f"{candidate} (a folder)" if candidate.is_dir() else str(candidate) for candidate in candidates)
    raise ConfigError(f"{setting}: no such {what} ({config_path}); looked at {looked}")


def _assert_one_name(tree: Tree, former: FormerNames, origin: str) -> None:
    if pair := twice(tree, former):
        raise ConfigError(f"{pair[0]} and {pair[1]}: two names of one key; keep {pair[1]} ({origin})")


def _parse_override(override: str) -> tuple[str, Any]:
    shown = f"--set {quoted(override)}"
    try:
        override.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{shown}: expected text in UTF-8") from None
    path, equals, text = override.partition("=")
    path = path.strip()
    if not (equals and "." in path and all(path.split("."))):
        raise ConfigError(f"{shown}: expected section.key=value, such as training.epochs=30")
    return path, _parse_value(text.strip())


def _make_room(tree: Tree, path: str, former: FormerNames) -> None:
    """Take out what an override replaces under another name."""
    others = {*EXCLUSIVE.get(path, ()), *former.get(path, ())}
    for old, places in former.items():
        if path in places and has(tree, old):
            value = take(tree, old)
            for place in set(places) - {path}:
                put(tree, place, value)
    for other in others:
        if has(tree, other):
            take(tree, other)


def _parse_value(text: str) -> Any:
    try:
        return parse_toml(f"value = {text}")["value"]
    except ValueError:
        return text
