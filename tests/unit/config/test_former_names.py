"""Keys by their former names: read for ever, with one note; both names together are refused."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import hpc_sparse.evolution  # noqa: F401  (its strategies have sections)
from hpc_sparse.config import RunConfig, parse_config
from hpc_sparse.config.former_names import LOG, former_names, note
from hpc_sparse.config.tree import get
from hpc_sparse.errors import ConfigError

GOLDEN = Path(__file__).parents[2] / "golden"
SMALLEST = """
data.path = "a.h5"
network.hidden = [10]
training.epochs = 3
"""
PRESENT = {
    "default": [],
    "top_kast": [
        "evolution.strategy=top_kast",
        "evolution.top_kast.acting_share=0.5",
        "evolution.top_kast.shrinkage=0.25",
        "network.initial_topology=snip",
    ],
    "gse_wasap": [
        "evolution.strategy=gse",
        "evolution.gse.candidates=graest",
        "evolution.gse.candidate_ratio=2.5",
        "evolution.gse.scope=global",
        "evolution.deep_r.noise=0.5",
        "parallel.algorithm=wasap",
    ],
    "deep_r_independent": [
        "evolution.strategy=deep_r",
        "evolution.deep_r.shrinkage=0.5",
        "evolution.deep_r.noise=0.125",
        "parallel.replica_topology=independent",
        "parallel.velocity_at_sync=reset",
        "network.initial_topology=constant_fan_in",
    ],
    "static_reserve": ["evolution.strategy=static", "evolution.static.acting_share=0.75"],
    "srigl": ["evolution.strategy=srigl", "evolution.srigl.min_salient=0.5"],
}
"""How the present names say what each golden configuration, which a former version has stored, says."""
STORED = ("evolution.drop_fraction=0.3", "evolution.drop_schedule=constant", "optimizer.warmup_epochs=0")
"""Defaults of that version, which it has stored, that are others now."""


@pytest.fixture(autouse=True)
def notes(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What has been noted, whatever other tests have set up and noted."""
    note.cache_clear()
    monkeypatch.setattr(LOG, "handlers", [caplog.handler])
    monkeypatch.setattr(LOG, "propagate", False)
    monkeypatch.setattr(LOG, "level", logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records]


def read(*overrides: str, text: str = SMALLEST) -> RunConfig:
    return parse_config(text, "run.toml", overrides)


def message_of(*overrides: str, text: str = SMALLEST) -> str:
    with pytest.raises(ConfigError) as caught:
        read(*overrides, text=text)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize("name", PRESENT)
def test_a_configuration_stored_by_a_former_version_means_what_it_meant(name, notes):
    text = (GOLDEN / f"configuration_v1_{name}.toml").read_text(encoding="utf-8")
    found = parse_config(text, "stored")
    written = found.to_toml()
    assert parse_config(written, "again") == found
    assert found == parse_config(SMALLEST.replace("[10]", "[10, 20]"), "now", [*STORED, *PRESENT[name]])
    (said,) = notes()
    assert said.startswith("stored: keys by former names")
    assert "network.topology is network.initial_topology" in said


def test_there_is_a_golden_configuration_for_each_case():
    assert {path.stem.removeprefix("configuration_v1_") for path in GOLDEN.glob("configuration_v1_*")} == set(PRESENT)


def test_every_former_name_is_read_in_a_file_and_on_the_command_line():
    values = {
        "network.topology": "snip",
        "network.acting_share": 0.5,
        "parallel.strategy": "wassp",
        "parallel.topology": "independent",
        "parallel.momentum": "reset",
        "evolution.candidates": "uniform",
        "evolution.candidate_ratio": 3.0,
        "evolution.scope": "global",
        "evolution.shrinkage": 0.5,
        "evolution.noise": 0.5,
        "evolution.min_salient": 0.5,
    }
    assert former_names().keys() == values.keys()
    for old, places in former_names().items():
        for new in places:
            strategy = new.split(".")[1] if new.count(".") > 1 else "set"
            start = [f"evolution.strategy={strategy}"]
            start += ["evolution.top_kast.acting_share=0.9"] * (strategy == "top_kast" and "acting" not in new)
            expected = read(*start, f"{new}={values[old]}")
            assert get(expected.model_dump(), new, None) == values[old]
            assert read(*start, f"{old}={values[old]}") == expected
            line = f'{old} = "{values[old]}"' if isinstance(values[old], str) else f"{old} = {values[old]}"
            assert read(*start, text=f"{line}\n{SMALLEST}") == expected


def test_one_note_names_the_new_names_once(notes):
    text = f'parallel.strategy = "wasap"\nnetwork.topology = "snip"\n{SMALLEST}'
    for _ in range(2):
        read(text=text)
    (said,) = notes()
    assert said == (
        "run.toml: keys by former names, which are read as before: network.topology is network.initial_topology, "
        "parallel.strategy is parallel.algorithm now"
    )


def test_present_names_are_not_worth_a_note(notes):
    read("evolution.strategy=srigl", "evolution.srigl.min_salient=0.5", "parallel.algorithm=wasap")
    assert notes() == []


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("parallel.strategy", "parallel.algorithm", '"wasap"'),
        ("network.topology", "network.initial_topology", '"snip"'),
        ("evolution.min_salient", "evolution.srigl.min_salient", "0.1"),
        ("evolution.shrinkage", "evolution.top_kast.shrinkage", "0.1"),
    ],
)
def test_both_names_together_are_refused(old, new, value):
    text = f"{old} = {value}\n{new} = {value}\n{SMALLEST}"
    assert message_of(text=text) == f"{old} and {new}: two names of one key; keep {new} (run.toml)"
    overrides = (f"{old}={value}", f"{new}={value}")
    assert message_of(*overrides).endswith(f"two names of one key; keep {new} (--set {overrides[1]})")


def test_an_override_replaces_what_the_file_says_by_another_name():
    assert read("parallel.strategy=wasap", text=f'parallel.algorithm = "wassp"\n{SMALLEST}') == read(
        "parallel.algorithm=wasap"
    )
    assert read("parallel.algorithm=wasap", text=f'parallel.strategy = "wassp"\n{SMALLEST}') == read(
        "parallel.algorithm=wasap"
    )
    deep_r = ("evolution.strategy=deep_r", "evolution.deep_r.shrinkage=0.5")
    assert read(*deep_r, text=f"evolution.shrinkage = 0.1\n{SMALLEST}").evolution.model_extra["deep_r"].shrinkage == 0.5


def test_a_key_goes_to_the_strategy_that_an_override_chooses():
    text = f'evolution.strategy = "gse"\nevolution.candidate_ratio = 3.0\n{SMALLEST}'
    assert read("evolution.strategy=snfs", text=text).evolution.model_extra["snfs"].candidate_ratio == 3.0


def test_a_wrong_value_is_blamed_on_the_override_that_gave_it():
    assert message_of("parallel.strategy=wasp").endswith("(--set parallel.strategy=wasp)")
    assert message_of("parallel.strategy=wasp").startswith("parallel.algorithm = 'wasp': must be")


def test_a_reserve_is_refused_for_a_strategy_that_has_none():
    message = message_of("network.acting_share=0.5", "evolution.strategy=rigl")
    assert message.startswith('network.acting_share = 0.5: not with evolution.strategy = "rigl"')
    assert "evolution.top_kast.acting_share" in message
    assert read("network.acting_share=1.0", "evolution.strategy=rigl") == read("evolution.strategy=rigl")


@pytest.mark.parametrize("override", [(), ("evolution.min_salient=0.1",), ("evolution.srigl.min_salient=0.1",)])
@pytest.mark.parametrize("text", ["evolution = 5", "network = 5", "[evolution]\nsrigl = 5", "[evolution.srigl.x]"])
def test_what_is_no_table_is_refused(text, override):
    others = SMALLEST if "network" not in text else "data.path = 'a'\ntraining.epochs = 1"
    assert re.search(
        r"is not a section|must be a valid dict|unknown key", message_of(*override, text=f"{others}\n{text}")
    )


def test_a_strategys_section_is_strict():
    chosen = "evolution.strategy=srigl"
    assert message_of(chosen, "evolution.srigl.min_saliant=1") == (
        "evolution.srigl.min_saliant: unknown key; did you mean min_salient? (--set evolution.srigl.min_saliant=1)"
    )
    message = message_of("evolution.srigl.min_salient=2")
    assert message.startswith("evolution.srigl.min_salient = 2: must be less than or equal to 1")
    assert message_of("evolution.sirgl.min_salient=1").startswith("evolution.sirgl: unknown key; did you mean srigl?")
    assert message_of("evolution.set.x=1").startswith("evolution.set: unknown key")
    unknown = message_of("evolution.strategy=best")
    assert unknown.startswith("evolution.strategy = 'best': must be 'cht', 'deep_r', 'gse', 'rigl', 'set'")


def test_what_a_strategy_is_told_is_written_out_and_what_others_are_told_is_kept():
    written = read("evolution.strategy=gse", "evolution.srigl.min_salient=0.1").to_toml()
    assert '[evolution.gse]\ncandidates = "grabo"\ncandidate_ratio = 1.0\nscope = "layer"' in written
    assert "[evolution.srigl]\nmin_salient = 0.1" in written
    assert "top_kast" not in written
