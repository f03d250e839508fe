"""A run that is continued: with the same network, whatever its settings are called."""

from __future__ import annotations

import pytest

from hpc_sparse.errors import ConfigError
from hpc_sparse.runs.plan import check_same_network

TOP_KAST = ("evolution.strategy=top_kast", "evolution.top_kast.acting_share=0.5")


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ((), ("evolution.strategy=rigl", "optimizer.momentum=0.5")),
        (TOP_KAST, (*TOP_KAST, "evolution.top_kast.shrinkage=0.1")),
        (TOP_KAST, ("evolution.strategy=top_kast", "network.acting_share=0.5")),
        (TOP_KAST, ("evolution.strategy=static", "evolution.static.acting_share=0.5")),
    ],
)
def test_a_run_goes_on_with_other_settings_of_training(make_config, before, now):
    check_same_network(make_config(*before), make_config(*now), "old.h5")


@pytest.mark.parametrize(
    ("before", "now", "message"),
    [
        ((), ("network.dropout=0.5",), r"network\.dropout = 0\.5: old\.h5 was trained with 0\.2"),
        (TOP_KAST, ("evolution.strategy=static",), r"evolution\.static: 100% of the connections act, but .* with 50%"),
        (
            TOP_KAST,
            ("evolution.strategy=top_kast", "network.acting_share=0.25"),
            r"evolution\.top_kast: 25% of the connections act, but old\.h5 was trained with 50%; .* the same network",
        ),
    ],
)
def test_a_run_does_not_go_on_with_another_network(make_config, before, now, message):
    with pytest.raises(ConfigError, match=message):
        check_same_network(make_config(*before), make_config(*now), "old.h5")
