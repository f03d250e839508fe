"""Reading configuration files: TOML, overrides of the command line, where the data set is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hpc_sparse.config.combinations import wrong_combinations
from hpc_sparse.config.messages import describe_all
from hpc_sparse.config.run_config import RunConfig
from hpc_sparse.config.toml_text import parse_toml, read_text
from hpc_sparse.errors import ConfigError, quoted


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
    for override in overrides:
        _apply_override(tree, override)
    try:
        config = RunConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("\n".join(describe_all(error, origin, overrides))) from None
    if problems := [f"{problem} ({origin})" for problem in wrong_combinations(config)]:
        raise ConfigError("\n".join(problems))
    return config


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
    shown = f"--set {quoted(override)}"
    try:
        override.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{shown}: expected text in UTF-8") from None
    key, equals, text = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (equals and dot and section and name):
        raise ConfigError(f"{shown}: expected section.key=value, such as training.epochs=30")
    table = tree.setdefault(section, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{shown}: {section} is not a section")
    table[name] = _parse_value(text.strip())
    for other in {"epsilon": ("density",), "density": ("epsilon",)}.get(name, ()):
        table.pop(other, None)


def _parse_value(text: str) -> Any:
    try:
        return parse_toml(f"value = {text}")["value"]
    except ValueError:
        return text
