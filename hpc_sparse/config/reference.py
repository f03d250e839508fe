"""Every key of a configuration in one Markdown text, made from the model that checks configurations."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Collection
from itertools import pairwise
from textwrap import dedent
from typing import Any

from pydantic.fields import FieldInfo

from hpc_sparse.config.layers import LAYER_SECTIONS, LayerSection
from hpc_sparse.config.registry import REGISTRIES
from hpc_sparse.config.run_config import RunConfig
from hpc_sparse.config.section import MAX_COUNT, Section
from hpc_sparse.dtypes import MAX_NEURONS

HEAD = """# Configuration

Every key of a run's configuration, as `hpc-sparse config` prints it. Required are `data.path`, `training.epochs`
and either `network.hidden` or `network.layers`. `--set section.key=value` replaces a value on the command line.
"""

BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}

UNSAID = {MAX_COUNT, MAX_COUNT + 1, MAX_NEURONS}
"""Limits of what fits a machine's numbers."""

KINDS = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true`, `false`"}


def configuration_reference() -> str:
    """Markdown: a table of keys, defaults, values and meanings for each section."""
    parts = [HEAD]
    for name, field in RunConfig.model_fields.items():
        section: type[Section] = field.annotation  # type: ignore[assignment]
        parts.append(_section_text(name, section))
        if name == "network":
            parts.append(_section_text("[network.layers]", LayerSection))
            for kind, own in LAYER_SECTIONS.items():
                if own.model_fields.keys() > LayerSection.model_fields.keys():
                    parts.append(
                        _section_text("[network.layers]", own, LayerSection.model_fields, f" of kind `{kind}`")
                    )
        for registry in REGISTRIES:
            if registry.place == name:
                parts += [_section_text(f"{name}.{kind}", own) for kind, own in registry.sections().items()]
    return "\n".join(parts)


def _section_text(name: str, section: type[Section], without: Collection[str] = (), kind: str = "") -> str:
    properties = section.model_json_schema()["properties"]
    for registry in REGISTRIES:
        if registry.key_section == name:
            properties[registry.key_name] = {"enum": registry.names()}
    assert section.__doc__ is not None, name
    lines = [
        f"## `[{name}]`{kind}",
        "",
        section.__doc__.strip(),
        "",
        "| key | default | values | meaning |",
        "|---|---|---|---|",
    ]
    said = _meanings(section)
    for key, field in section.model_fields.items():
        if key in without:
            continue
        meaning = " ".join((field.description or said.get(key, "")).split())
        cells = (f"`{key}`", _default(field), _values(properties[key]), meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _meanings(section: type[Section]) -> dict[str, str]:
    """The text below each key in the section's source, which no run needs to read."""
    found = dict[str, str]()
    for kind in reversed(section.__mro__):
        if issubclass(kind, Section):
            [definition] = ast.parse(dedent(inspect.getsource(kind))).body
            assert isinstance(definition, ast.ClassDef)
            for pair in pairwise(definition.body):
                match pair:
                    case ast.AnnAssign(target=ast.Name(id=key)), ast.Expr(value=ast.Constant(value=str(text))):
                        found[key] = text
    return found


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return "" if field.default is None else f"`{json.dumps(field.default)}`"


def _values(schema: dict[str, Any]) -> str:
    """Permitted values of a key, in words."""
    if "anyOf" in schema:
        return " or ".join(_values(option) for option in schema["anyOf"] if option.get("type") != "null")
    choices = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if "$ref" in schema:
        return "table of keys"
    if choices:
        return ", ".join(f"`{json.dumps(choice)}`" for choice in choices)
    if "prefixItems" in schema:
        return f"list of {len(schema['prefixItems'])}: {_values(schema['prefixItems'][0])}"
    if schema["type"] == "array":
        return f"list of: {_values(schema['items'])}"
    bounds = [f"{sign} {schema[name]:g}" for name, sign in BOUNDS.items() if schema.get(name, MAX_COUNT) not in UNSAID]
    return f"{KINDS[schema['type']]} {' and '.join(bounds)}".rstrip()
