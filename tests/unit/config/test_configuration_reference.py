"""The reference of the configuration says what the model of the configuration says, and is up to date."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hpc_sparse.cli.app import app
from hpc_sparse.config import RunConfig
from hpc_sparse.config.layers import LAYER_SECTIONS, LayerSection
from hpc_sparse.config.reference import configuration_reference
from hpc_sparse.config.registry import OPTIMIZERS, STRATEGIES

FILE = Path(__file__).parents[3] / "docs" / "reference" / "configuration.md"


def rows():
    """Cells by ``section.key``."""
    found, section = {}, ""
    for line in configuration_reference().splitlines():
        if line.startswith("## "):
            section = ".".join(part.removeprefix("[").removesuffix("]") for part in line.split("`")[1::2])
        elif line.startswith("| `"):
            key, *cells = line.strip("| ").split(" | ")
            found[f"{section}.{key.strip('`')}"] = cells
    return found


def test_the_committed_reference_is_what_the_command_prints():
    result = CliRunner().invoke(app, ["config"])
    assert result.exit_code == 0
    assert FILE.read_text(encoding="utf-8") == result.output, "run: hpc-sparse config > docs/reference/configuration.md"


def test_every_key_has_its_values_and_its_meaning():
    keys = {
        f"{section}.{key}" for section, field in RunConfig.model_fields.items() for key in field.annotation.model_fields
    }
    keys |= {f"evolution.{name}.{key}" for name, own in STRATEGIES.sections().items() for key in own.model_fields}
    keys |= {f"optimizer.{name}.{key}" for name, own in OPTIMIZERS.sections().items() for key in own.model_fields}
    keys |= {f"[network.layers].{key}" for key in LayerSection.model_fields}
    own = {kind: section.model_fields.keys() - LayerSection.model_fields for kind, section in LAYER_SECTIONS.items()}
    keys |= {f"[network.layers].{kind}.{key}" for kind, found in own.items() for key in found}
    assert set(rows()) == keys
    assert all(values and meaning for _, values, meaning in rows().values())


@pytest.mark.parametrize(
    ("key", "default", "values"),
    [
        ("data.path", "required", "text"),
        ("network.hidden", "required", "list of: whole number >= 1"),
        ("network.density", "", "number > 0 and <= 1"),
        ("network.dropout", "`0.3`", "number >= 0 and < 1"),
        ("training.seed", "`0`", "whole number >= 0"),
        ("evolution.gse.scope", '`"layer"`', '`"layer"`, `"global"`'),
        ("evolution.srigl.min_salient", "`0.3`", "number >= 0 and <= 1"),
        ("runtime.hdf5", '`"auto"`', '`"auto"`, `"mpio"`, `"serial"`'),
        ("runtime.oversubscribe", "`false`", "`true`, `false`"),
        ("parallel.sync_every_steps", '`"epoch"`', 'whole number >= 1 or `"epoch"`'),
    ],
)
def test_defaults_and_values_are_in_the_notation_of_the_file(key, default, values):
    assert rows()[key][:2] == [default, values]
