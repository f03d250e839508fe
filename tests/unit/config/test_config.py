"""Configurations: what is accepted, what is written back, and what each mistake is told."""

from __future__ import annotations

import re
import tomllib

import pytest

from hpc_sparse.config import find_data, load_config, parse_config
from hpc_sparse.errors import ConfigError

SMALLEST = """
[data]
path = "a.h5"
[network]
hidden = [10, 20]
[training]
epochs = 3
"""


def message_of(text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "run.toml", overrides)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_the_smallest_configuration_gets_every_default():
    config = parse_config(SMALLEST, "run.toml")
    assert config.network.hidden == (10, 20)
    assert (config.network.epsilon, config.network.density) == (20.0, None)
    assert (config.optimizer.learning_rate, config.optimizer.momentum, config.network.dropout) == (0.01, 0.9, 0.3)
    assert config.parallel.sync_every_steps == "epoch"


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("network.density=0.1", "parallel.sync_every_steps=7", "network.hidden=[5]"),
        ('data.path="ä \\"b\\".h5"', "optimizer.learning_rate=1", "training.seed=9223372036854775807"),
        ("network.hidden=[]", "network.epsilon=1e-9"),
    ],
)
def test_the_written_configuration_reads_back_equal(overrides):
    config = parse_config(SMALLEST, "run.toml", overrides)
    text = config.to_toml()
    assert parse_config(text, "stored") == config
    assert parse_config(text, "stored").to_toml() == text


def test_every_default_is_written_out():
    config = parse_config(SMALLEST, "run.toml")
    written = tomllib.loads(config.to_toml())
    for name in type(config).model_fields:
        section = getattr(config, name)
        expected = {key for key in type(section).model_fields if getattr(section, key) is not None}
        assert set(written[name]) == expected


def test_a_configuration_cannot_be_changed():
    config = parse_config(SMALLEST, "run.toml")
    with pytest.raises(ValueError, match="frozen"):
        config.training.epochs = 5


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("training.epochs=30", "training", "epochs", 30),
        (" training.epochs = 30 ", "training", "epochs", 30),
        ("data.path=b.h5", "data", "path", "b.h5"),
        ('data.path="b.h5"', "data", "path", "b.h5"),
        ("network.hidden=[7, 8]", "network", "hidden", (7, 8)),
        ("optimizer.nesterov=true", "optimizer", "nesterov", True),
        ("optimizer.learning_rate=1", "optimizer", "learning_rate", 1.0),
        ("parallel.sync_every_steps=12", "parallel", "sync_every_steps", 12),
        ("parallel.sync_every_steps=epoch", "parallel", "sync_every_steps", "epoch"),
        ("data.path=a=b.h5", "data", "path", "a=b.h5"),
    ],
)
def test_overrides_replace_what_the_file_says(override, section, key, value):
    found = getattr(getattr(parse_config(SMALLEST, "run.toml", [override]), section), key)
    assert found == value
    assert type(found) is type(value)


def test_the_last_override_wins():
    assert parse_config(SMALLEST, "run.toml", ["training.epochs=5", "training.epochs=6"]).training.epochs == 6


@pytest.mark.parametrize(("given", "other"), [("density = 0.2", "epsilon=5"), ("epsilon = 5", "density=0.2")])
def test_overriding_one_sparsity_replaces_the_other(given, other):
    text = SMALLEST.replace("hidden", f"{given}\nhidden")
    network = parse_config(text, "run.toml", [f"network.{other}"]).network
    key, value = other.split("=")
    assert getattr(network, key) == float(value)
    assert getattr(network, given.split()[0]) is None


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("network.epsilom=3", ["network.epsilom", "unknown key", "did you mean epsilon?"]),
        ("network.zzz=3", ["network.zzz", "unknown key", "known are hidden, layers"]),
        ("trainning.epochs=3", ["trainning", "unknown section", "did you mean training?"]),
        ("optimizer.learning_rate=fast", ["optimizer.learning_rate", "'fast'", "must be a valid number"]),
        ("optimizer.learning_rate=-0.1", ["optimizer.learning_rate = -0.1", "must be greater than 0"]),
        ("optimizer.learning_rate=nan", ["optimizer.learning_rate = nan", "must be a finite number"]),
        ("optimizer.learning_rate=inf", ["optimizer.learning_rate = inf", "must be a finite number"]),
        ("optimizer.momentum=1.0", ["optimizer.momentum = 1.0", "must be less than 1"]),
        ("optimizer.momentum=nan", ["optimizer.momentum = nan"]),
        ("optimizer.weight_decay=inf", ["optimizer.weight_decay = inf", "must be a finite number"]),
        ("optimizer.schedule=linear", ["optimizer.schedule = 'linear'", "must be 'constant', 'step' or 'cosine'"]),
        ("optimizer.step_factor=nan", ["optimizer.step_factor = nan"]),
        ("optimizer.nesterov=1", ["optimizer.nesterov = 1", "must be a valid boolean"]),
        ("network.epsilon=-1", ["network.epsilon = -1", "must be greater than 0"]),
        ("network.epsilon=0", ["network.epsilon = 0", "must be greater than 0"]),
        ("network.epsilon=nan", ["network.epsilon = nan", "must be a finite number"]),
        ("network.density=1.5", ["network.density = 1.5", "must be less than or equal to 1"]),
        ("network.density=0", ["network.density = 0", "must be greater than 0"]),
        ("network.hidden=[10, 0]", ["network.hidden.1 = 0", "must be greater than or equal to 1"]),
        ("network.hidden=[3000000000]", ["network.hidden.0 = 3000000000", "must be less than or equal to 2147483647"]),
        ("network.hidden=[1.5]", ["network.hidden.0 = 1.5", "must be a valid integer"]),
        ("network.hidden=['a']", ["network.hidden.0 = 'a'", "must be a valid integer"]),
        ("network.hidden=[true]", ["network.hidden.0 = True", "must be a valid integer"]),
        ("network.hidden=10", ["network.hidden = 10", "must be a list, such as [1000, 1000]"]),
        ("network.dropout=1", ["network.dropout = 1", "must be less than 1"]),
        ("network.dropout=-0.1", ["network.dropout = -0.1", "must be greater than or equal to 0"]),
        ("network.alpha=nan", ["network.alpha = nan"]),
        ("network.activation=relux", ["network.activation = 'relux'", "must be 'all_relu', 'relu' or 'leaky_relu'"]),
        ("network.initializer=he", ["network.initializer = 'he'", "'he_uniform'"]),
        ("training.epochs=0", ["training.epochs = 0", "must be greater than or equal to 1"]),
        ("training.epochs=2.5", ["training.epochs = 2.5", "must be a valid integer"]),
        ("training.epochs=true", ["training.epochs = True", "must be a valid integer"]),
        ("training.batch_size=0", ["training.batch_size = 0", "must be greater than or equal to 1"]),
        ("training.seed=-1", ["training.seed = -1", "must be greater than or equal to 0"]),
        ("training.seed=9223372036854775808", ["training.seed = 9223372036854775808", "must be less than"]),
        ("training.loss=hinges", ["training.loss = 'hinges'", "'cross_entropy'"]),
        ("evolution.drop_fraction=1", ["evolution.drop_fraction = 1", "must be less than 1"]),
        ("evolution.every_epochs=0", ["evolution.every_epochs = 0"]),
        (
            "parallel.sync_every_steps=0",
            ["parallel.sync_every_steps = 0", "must be greater than or equal to 1 or 'epoch'"],
        ),
        (
            "parallel.sync_every_steps=never",
            ["parallel.sync_every_steps = 'never'", "must be a valid integer or 'epoch'"],
        ),
        ("checkpoint.keep_last=0", ["checkpoint.keep_last = 0"]),
        ("runtime.threads=-1", ["runtime.threads = -1"]),
        ("data.path=3", ["data.path = 3", "must be a valid string"]),
    ],
)
def test_a_wrong_value_is_told_with_key_value_expectation_and_origin(override, parts):
    message = message_of(SMALLEST, override)
    for part in [*parts, f"(--set {override})"]:
        assert part in message
    assert "pydantic" not in message
    assert not re.search(r"constrained|literal\[|Traceback", message)


@pytest.mark.parametrize("key", ["path", "hidden", "epochs"])
def test_a_missing_key_is_named(key):
    text = "\n".join(line for line in SMALLEST.splitlines() if not line.startswith(key))
    section = {"path": "data", "hidden": "network", "epochs": "training"}[key]
    assert message_of(text) == f"{section}.{key}: missing, but required (run.toml)"


def test_a_missing_section_is_named():
    assert message_of("[data]\npath = 'a'\n[network]\nhidden = [1]") == "training: missing, but required (run.toml)"


def test_all_mistakes_are_told_at_once():
    lines = message_of(SMALLEST, "training.epochs=0", "network.dropout=2", "runtime.thread=1").splitlines()
    assert len(lines) == 3
    assert {line.partition(" (")[2] for line in lines} == {
        "--set training.epochs=0)",
        "--set network.dropout=2)",
        "--set runtime.thread=1)",
    }


def test_a_wrong_value_of_the_file_is_told_with_the_file():
    assert message_of(SMALLEST.replace("epochs = ", "epochs = -")).endswith("(run.toml)")


def test_importance_pruning_has_a_time_and_takes_inputs_only_where_neurons_are_removed():
    late = "importance_pruning.after_epoch=300"
    parse_config(SMALLEST, "run.toml", [late])
    message = message_of(SMALLEST, late, "importance_pruning.mode=compact")
    assert "until_epoch = 250: must be >= after_epoch = 300" in message
    message = message_of(SMALLEST, "importance_pruning.mode=released", "importance_pruning.input_percentile=5")
    assert 'input_percentile needs mode = "compact"' in message


def test_epsilon_and_density_exclude_each_other():
    message = message_of(SMALLEST.replace("hidden", "epsilon = 5\ndensity = 0.1\nhidden"))
    assert message == "network: epsilon and density exclude each other: give one of them (run.toml)"


def test_a_value_in_place_of_a_section_is_told():
    message = message_of(f"optimizer = 5\n{SMALLEST}")
    assert message.startswith("optimizer = 5: must be a ")
    assert message.endswith("(run.toml)")


def test_broken_toml_is_told_with_its_line():
    assert re.fullmatch(r"run.toml: not valid TOML: .*line 2.*", message_of("[data]\npath = \n"))


@pytest.mark.parametrize("override", ["epochs", "epochs=3", "training.epochs", ".epochs=3", "training.=3", "=", ""])
def test_an_override_of_the_wrong_form_is_told(override):
    assert message_of(SMALLEST, override).startswith(f"--set {override}: expected section.key=value")


def test_an_override_of_a_key_in_a_value_is_told():
    assert message_of(f"optimizer = 5\n{SMALLEST}", "optimizer.momentum=0") == (
        "--set optimizer.momentum=0: optimizer is not a section"
    )


def test_a_file_is_read_as_its_text_is(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(SMALLEST, encoding="utf-8")
    assert load_config(path, ["training.epochs=9"]) == parse_config(SMALLEST, "x", ["training.epochs=9"])


def test_mistakes_in_a_file_name_the_file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(SMALLEST.replace("3", "0"), encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape(f"({path})")):
        load_config(path)


@pytest.mark.parametrize("kind", ["missing", "folder", "binary"])
def test_what_is_no_text_file_is_refused(tmp_path, kind):
    path = tmp_path / "run.toml"
    if kind == "folder":
        path.mkdir()
    elif kind == "binary":
        path.write_bytes(b"\xff\xfe\x00\x81")
    expected = {"missing": "No such file", "folder": "is a folder", "binary": "not a text file"}[kind]
    with pytest.raises(ConfigError, match=rf"{re.escape(str(path))}: .*{expected}"):
        load_config(path)


def test_data_are_looked_for_beside_the_file_then_in_the_variable_then_in_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPC_SPARSE_DATA", str(tmp_path / "store"))
    places = [tmp_path / "jobs" / "a.h5", tmp_path / "store" / "a.h5", tmp_path / "data" / "a.h5"]
    for place in places:
        place.parent.mkdir()
        place.touch()
    config_path = tmp_path / "jobs" / "run.toml"
    for place in places:
        assert find_data("a.h5", config_path).resolve() == place
        place.unlink()
    with pytest.raises(ConfigError) as caught:
        find_data("a.h5", config_path)
    assert 'data.path = "a.h5": no such data set' in str(caught.value)
    assert all(str(place) in str(caught.value) for place in places[:2])
    assert str(config_path) in str(caught.value)
    places[1].mkdir()
    with pytest.raises(ConfigError, match=r"looked at .*jobs/a\.h5, .*store/a\.h5 \(a folder\), data/a\.h5$"):
        find_data("a.h5", config_path)


def test_an_absolute_path_is_taken_as_it_is(tmp_path, monkeypatch):
    monkeypatch.delenv("HPC_SPARSE_DATA", raising=False)
    place = tmp_path / "a.h5"
    place.touch()
    assert find_data(str(place), tmp_path / "elsewhere" / "run.toml") == place


@pytest.mark.parametrize("setting", ['replica_topology = "independent"', 'velocity_at_sync = "reset"'])
def test_overlap_is_refused_where_it_is_not_possible(setting):
    text = f"""
    data.path = "d.h5"
    network.hidden = [3]
    training.epochs = 1
    [parallel]
    overlap = true
    {setting}
    """
    with pytest.raises(ConfigError, match=r"parallel.*overlap = true needs replica_topology = \"shared\""):
        parse_config(text, "run.toml")


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["evolution.begin_epoch=5", "evolution.end_epoch=5"], ["end_epoch = 5: must be > begin_epoch = 5"]),
        (
            ["evolution.growth_pool=9", "evolution.growth_samples=10"],
            ["growth_pool = 9: must be >= growth_samples = 10"],
        ),
        (["evolution.strategy=static", "evolution.final_density=0.1"], ["final_density needs a strategy"]),
        (
            ["evolution.strategy=deep_r", "evolution.grown_weights=zero"],
            ['grown_weights = "zero": strategy = "deep_r" has no choice'],
        ),
        (["evolution.every_steps=0"], ["evolution.every_steps = 0", "greater than or equal to 1"]),
        (
            ["evolution.every_steps=5", "parallel.overlap=true", "parallel.sync_every_steps=3"],
            ["evolution.every_steps = 5: not with parallel.overlap = true", "(run.toml)"],
        ),
        (
            ["evolution.final_density=0.1", "importance_pruning.mode=released"],
            ["evolution.final_density = 0.1: not with importance_pruning.mode"],
        ),
        (
            ["evolution.strategy=snfs", "parallel.velocity_at_sync=reset"],
            ['evolution.strategy = "snfs": not with parallel.velocity_at_sync = "reset"'],
        ),
        (
            ["evolution.strategy=top_kast"],
            ['evolution.strategy = "top_kast"', "set evolution.top_kast.acting_share below 1"],
        ),
        (["network.acting_share=0.5"], ['network.acting_share = 0.5: not with evolution.strategy = "set"']),
        (["network.budget=uniform"], ['budget = "uniform" needs density']),
    ],
)
def test_settings_of_evolution_that_do_not_go_together_are_refused(overrides, parts):
    message = message_of(SMALLEST, *overrides)
    assert all(part in message for part in parts), message
    assert "\n" not in message


@pytest.mark.parametrize(
    "overrides",
    [
        ["evolution.every_steps=5", "parallel.overlap=true", "parallel.algorithm=wasap"],
        ["evolution.strategy=deep_r", "importance_pruning.mode=compact"],
        ["evolution.strategy=snfs", "parallel.velocity_at_sync=reset", "parallel.algorithm=wassp"],
        ["evolution.strategy=top_kast", "evolution.top_kast.acting_share=0.5"],
        ["evolution.strategy=static", "evolution.static.acting_share=0.5"],
        ["network.budget=erdos_renyi"],
        ["network.budget=uniform", "network.density=0.1"],
        ["network.budget=erdos_renyi", "network.density=0.1", "network.initial_topology=lognormal_fan_in"],
    ],
)
def test_settings_of_evolution_that_go_together_are_let_through(overrides):
    config = parse_config(SMALLEST, "run.toml", overrides)
    assert parse_config(config.to_toml(), "stored") == config
