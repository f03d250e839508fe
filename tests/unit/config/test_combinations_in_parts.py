"""What does not work where several ranks hold one network together is refused by one message."""

from __future__ import annotations

import re

import pytest

from hpc_sparse.config import parse_config
from hpc_sparse.errors import ConfigError

TEXT = """
[data]
path = "data.h5"
[network]
hidden = [24, 16]
[training]
epochs = 1
[evolution]
strategy = "static"
"""
IN_PARTS = "parallel.model=2"


def test_static_networks_of_single_connections_are_for_parts() -> None:
    config = parse_config(TEXT, "run.toml", [IN_PARTS, 'network.connections="dense"', 'training.optimizer="adamw"'])
    assert config.parallel.model == 2
    assert config.parallel.in_one_part() == parse_config(TEXT, "run.toml").parallel


@pytest.mark.parametrize(
    ("override", "use"),
    [
        ('evolution.strategy="cht"', '"static"'),
        ('evolution.strategy="snfs"', '"static"'),
        ("evolution.static.acting_share=0.5", "1"),
        ('network.connections="block"', '"csr" or "dense"'),
        ('network.initial_topology="csti"', '"erdos_renyi"'),
        ('network.initial_topology="snip"', '"erdos_renyi"'),
        ('network.layers=[{kind="tanh", n=24}]', '"sparse"'),
        ('parallel.algorithm="wasap"', '"local_sgd"'),
        ('parallel.algorithm="wassp"', '"local_sgd"'),
        ('parallel.replica_topology="independent"', '"shared"'),
        ('optimizer.velocity="bfloat16"', '"float32"'),
        ("optimizer.clip_norm=1.5", "none"),
        ('optimizer.average="plain"', '"none"'),
    ],
)
def test_what_does_not_work_in_parts_is_refused_with_what_does(override: str, use: str) -> None:
    text = TEXT.replace("hidden = [24, 16]\n", "") if override.startswith("network.layers") else TEXT
    parse_config(text, "run.toml", [override])
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "run.toml", [override, IN_PARTS])
    key, _, value = override.partition("=")
    named = key if key != "network.layers" else "network.layers.0.kind"
    message = str(caught.value)
    assert re.search(rf"^{re.escape(named)} = .*: not with parallel\.model = 2, a network in parts; use ", message), (
        message
    )
    assert use in message
    assert message.count("parallel.model") == 1 or value.count("{")


def test_neurons_go_by_importances_that_parts_know() -> None:
    pruned = 'importance_pruning.mode="compact"'
    parse_config(TEXT, "run.toml", [IN_PARTS, pruned])
    said = r'importance = "taylor": not with parallel\.model = 2, a network in parts; use "incoming" or "two_sided"'
    with pytest.raises(ConfigError, match=said):
        parse_config(TEXT, "run.toml", [IN_PARTS, pruned, 'importance_pruning.importance="taylor"'])


def test_averages_that_are_under_way_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"parallel\.overlap = true: not with parallel\.model = 2"):
        parse_config(TEXT, "run.toml", [IN_PARTS, "parallel.overlap=true", "parallel.sync_every_steps=5"])


@pytest.mark.parametrize("value", ["0", "-1", "1.5", '"two"'])
def test_a_number_of_parts_is_a_positive_integer(value: str) -> None:
    with pytest.raises(ConfigError, match=r"parallel\.model = "):
        parse_config(TEXT, "run.toml", [f"parallel.model={value}"])
