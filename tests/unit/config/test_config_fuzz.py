"""Whatever a configuration holds: it is refused with one message, or valid and written back as it was read."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path

import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

import hpc_sparse.evolution  # noqa: F401  (its strategies have sections)
from hpc_sparse.config import RunConfig, load_config, parse_config
from hpc_sparse.config.former_names import former_names
from hpc_sparse.config.registry import STRATEGIES
from hpc_sparse.config.toml_text import MOST_BYTES
from hpc_sparse.errors import ConfigError

SMALLEST = {"data": {"path": "a.h5"}, "network": {"hidden": [10]}, "training": {"epochs": 3}}
KEYS = {name: list(field.annotation.model_fields) for name, field in RunConfig.model_fields.items()}
LONGEST_MESSAGE = 20_000

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
number = st.one_of(
    st.sampled_from([0, 1, -1, 3, 2**31, 2**63 - 1, 2**63, -(2**63), 10**30]),
    st.integers(),
    st.floats(width=64),
    st.floats(0, 1),
)
leaf = st.one_of(
    number,
    st.booleans(),
    text,
    st.sampled_from(["epoch", "off", "auto", "cosine", "wasap", "compact", "none", ""]),
    st.just(dt.date(2020, 2, 29)),
)
value = st.recursive(
    leaf, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=3), max_leaves=6
)
FORMER = [tuple(old.split(".")) for old in former_names()]
STRATEGY = [("evolution", name) for name in STRATEGIES.sections()]
setting = st.sampled_from([*((section, key) for section, keys in KEYS.items() for key in keys), *FORMER, *STRATEGY])


def read(content: str, *overrides: str) -> RunConfig | None:
    """The configuration, which must read back equal, or None if it was refused in a proper message."""
    try:
        config = parse_config(content, "run.toml", overrides)
    except ConfigError as error:
        message = str(error)
        assert "run.toml" in message or "--set" in message
        assert len(message) < LONGEST_MESSAGE
        assert all(line.isprintable() for line in message.split("\n")), "a message steers a terminal"
        return None
    written = config.to_toml()
    written.encode()
    assert parse_config(written, "stored") == config
    assert parse_config(written, "stored").to_toml() == written
    return config


@settings(max_examples=250)
@given(st.dictionaries(setting, value, max_size=4))
def test_known_keys_with_any_values_are_refused_or_read_back_equal(changes):
    tree = {section: dict(keys) for section, keys in SMALLEST.items()}
    for (section, key), changed in changes.items():
        tree.setdefault(section, {})[key] = changed
    read(tomlkit.dumps(tree))


@settings(max_examples=100)
@given(st.dictionaries(st.sampled_from(list(KEYS)) | text, value, max_size=4))
def test_any_tables_are_refused_or_read_back_equal(tree):
    read(tomlkit.dumps(SMALLEST | tree))


@settings(max_examples=300)
@given(st.text(st.sampled_from(list("[]{}=.,\"'#\n \t-+_0123456789eEinfatrueTZ:\\ux\x00é")), max_size=60))
def test_any_text_is_refused_or_read_back_equal(content):
    read(content)
    read(f"{tomlkit.dumps(SMALLEST)}\n{content}")


@settings(max_examples=300)
@given(setting, st.one_of(leaf.map(repr), st.text(max_size=20)), st.text(max_size=5))
def test_any_override_is_refused_or_read_back_equal(name, given_value, stray):
    read(tomlkit.dumps(SMALLEST), f"{'.'.join(name)}={given_value}")
    read(tomlkit.dumps(SMALLEST), f"{name[0]}.{stray}={given_value}", stray)


def test_the_fuzzed_configurations_are_often_valid():
    assert read(tomlkit.dumps(SMALLEST), "training.epochs=9223372036854775807") is not None
    assert read(tomlkit.dumps(SMALLEST), "training.epochs=9223372036854775808") is None


@pytest.mark.parametrize(
    "content",
    [
        "x = " + "[" * 5000,
        "x = " + "[" * 300 + "]" * 300,
        "x = " + "{a = " * 5000,
        "x = " + "9" * 5000,
        f"training.epochs = 0x{'f' * 100_000}",
        f"training.epochs = -0x{'f' * 100_000}",
        f"optimizer.learning_rate = 0x{'f' * 100_000}",
        f"optimizer.learning_rate = 1e{'9' * 1000}",
        "a" + ".a" * 50_000 + " = 1",
        "[a" + ".a" * 50_000 + "]",
        "\n".join(f"key{number} = 1" for number in range(50_000)),
        "[training]\n" + "\n".join(f"epoch{number} = 1" for number in range(50_000)),
        f"network.hidden = [{'0, ' * 100_000}]",
        f"data.path = '{'x' * 900_000}'\nnetwork.hiden = 1",
        'data.path = "\\u0000\\u001b[2J"\n"\\u001b[2J\\n" = 1',
        "x" * (2 * MOST_BYTES),
        "é" * MOST_BYTES,
    ],
    ids=lambda content: content[:20].replace("\n", " "),
)
def test_what_is_made_to_break_the_reader_is_refused_within_a_moment(content):
    start = time.process_time()
    assert read(content) is None
    assert time.process_time() - start < 5


def test_no_more_of_a_file_is_read_than_a_configuration_has(tmp_path):
    sparse = tmp_path / "huge.toml"
    sparse.touch()
    with sparse.open("r+b") as file:
        file.truncate(1 << 40)
    for path in (sparse, Path("/dev/zero")):
        with pytest.raises(ConfigError, match=rf"{path}: cannot read the configuration: more than {MOST_BYTES} bytes"):
            load_config(path)
