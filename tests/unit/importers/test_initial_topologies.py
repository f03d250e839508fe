"""First connections from files for the layers of a configuration, and what does not fit them."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.config import parse_config
from hpc_sparse.errors import ConfigError, DataError
from hpc_sparse.importers.initial_topologies import find_topologies, read_topologies

GENES = ["TP53", "KRAS", "BRCA1", "EGFR"]
PATHWAYS = "feature,group\nKRAS,growth\nTP53,repair\nBRCA1,repair\nEGFR,growth\nTP53,growth\n"
PROCESSES = "group,feature\ncell cycle,repair\ncell cycle,growth\nsignals,growth\n"

NETWORK = """
data.path = "genes.h5"
training.epochs = 1
network = {{ {} }}
"""


@pytest.fixture
def read(tmp_path):
    """Read the files of ``[network]`` for four genes."""

    def read(network, names=GENES):
        config = parse_config(NETWORK.format(network), "run.toml")
        paths = find_topologies(config, tmp_path / "run.toml")
        return read_topologies(config.network, paths, len(GENES), names)

    (tmp_path / "pathways.csv").write_text(PATHWAYS)
    (tmp_path / "processes.csv").write_text(PROCESSES)
    return read


def test_the_first_layer_has_the_pairs_of_the_networks_file(read):
    (found,) = read('hidden = [2, 5], initial_topology = "file:pathways.csv"').values()
    assert (found.groups, found.topology.shape) == (("growth", "repair"), (2, 4))
    np.testing.assert_array_equal(found.topology.keys(), [0, 1, 3, 4, 6])


def test_a_layer_above_knows_the_neurons_below_by_the_names_of_their_groups(read):
    layers = '{ n = 2, initial_topology = "file:pathways.csv" }, { n = 2, initial_topology = "file:processes.csv" }'
    found = read(f"layers = [{layers}, {{ n = 3 }}]")
    assert list(found) == [0, 1]
    assert found[1].groups == ("cell cycle", "signals")
    np.testing.assert_array_equal(found[1].topology.keys(), [0, 1, 2])


def test_a_layer_above_one_without_a_file_has_numbers_for_its_neurons(read, tmp_path):
    (tmp_path / "numbers.csv").write_text("feature,group\n0,a\n2,b\n1,b\n")
    (found,) = read('layers = [{ n = 3 }, { n = 2, initial_topology = "file:numbers.csv" }]').values()
    np.testing.assert_array_equal(found.topology.keys(), [0, 4, 5])


@pytest.mark.parametrize(
    ("network", "error", "said"),
    [
        (
            'hidden = [3, 5], initial_topology = "file:pathways.csv"',
            ConfigError,
            r"network\.hidden = \[3, 5\]: expected 2 neurons in layer 0, one for each group of .*pathways\.csv$",
        ),
        (
            'layers = [{ n = 3 , initial_topology = "file:pathways.csv" }]',
            ConfigError,
            r"network\.layers\.0\.n = 3: expected 2 neurons, one for each group of .*pathways\.csv$",
        ),
        (
            'hidden = [2], initial_topology = "file:none.csv"',
            ConfigError,
            r'network\.initial_topology = "file:none\.csv": no such file \(.*run\.toml\); looked at .*none\.csv',
        ),
        (
            'layers = [{ n = 3 }, { n = 2, initial_topology = "file:." }]',
            ConfigError,
            r'network\.layers\.1\.initial_topology = "file:\.": no such file .* \(a folder\)',
        ),
        (
            'layers = [{ n = 2 }, { n = 2, initial_topology = "file:processes.csv" }]',
            DataError,
            r'line 2: feature "repair": expected a number from 0 to 1, as features of layer 0 have no names$',
        ),
    ],
)
def test_what_does_not_fit_is_one_message(read, network, error, said):
    with pytest.raises(error, match=said):
        read(network)


def test_features_without_a_group_are_refused_unless_they_are_to_stay(read, tmp_path):
    (tmp_path / "pathways.csv").write_text(PATHWAYS.replace("EGFR,growth\n", ""))
    network = 'hidden = [2], initial_topology = "file:pathways.csv"'
    with pytest.raises(DataError, match=r'feature "EGFR" is in no group: .*, or network\.ungrouped_features = "keep"$'):
        read(network)
    (found,) = read(f'{network}, ungrouped_features = "keep"').values()
    np.testing.assert_array_equal(found.topology.fan_out(), [2, 1, 1, 0])


def test_a_name_of_two_features_is_refused_where_a_pair_has_it(read):
    with pytest.raises(DataError, match=r'line 3: feature "TP53": 2 features of the data have this name: expected one'):
        read('hidden = [2], initial_topology = "file:pathways.csv"', names=["TP53", "KRAS", "BRCA1", "TP53"])


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ('hidden = [2], initial_topology = "file:"', r"initial_topology = 'file:': must be .*'csti' or 'file:PATH'"),
        ('hidden = [2], initial_topology = "ring"', r"initial_topology = 'ring': must be .*'csti' or 'file:PATH'"),
        ("hidden = [2], initial_topology = 3", r"initial_topology = 3: must be 'erdos_renyi', .* or 'file:PATH'"),
        ('layers = [{ n = 2, initial_topology = "snip" }]', r"layers\.0\.initial_topology = 'snip': must be .*'file:P"),
        ('hidden = [], initial_topology = "file:a"', r'initial_topology = "file:a": needs a hidden layer'),
        (
            'hidden = [2], connections = "dense", initial_topology = "file:a"',
            r'network\.initial_topology = "file:a": not with connections = "dense"; use "csr"',
        ),
        (
            'layers = [{ n = 2, density = 0.5, initial_topology = "file:a" }]',
            r'network\.layers\.0\.initial_topology = "file:a": not with density = 0\.5 of the layer; the file says',
        ),
        (
            'layers = [{ kind = "recurrent", n = 2, initial_topology = "file:a" }]',
            r'network\.layers\.0\.initial_topology = "file:a": not with kind = "recurrent"',
        ),
        (
            'layers = [{ n = 2, initial_topology = "file:a" }], initial_topology = "snip"',
            r'layers\.0\.initial_topology = "file:a": not with network\.initial_topology = "snip", which chooses',
        ),
        (
            'layers = [{ n = 8, connections = "diagonal", initial_topology = "covering" }]',
            r'layers\.0\.initial_topology = "covering": not with connections = "diagonal"; use "csr" or "block"',
        ),
    ],
)
def test_keys_that_do_not_go_together_are_refused(network, said):
    with pytest.raises(ConfigError, match=said):
        parse_config(NETWORK.format(network), "run.toml")


def test_a_final_density_is_refused():
    text = NETWORK.format('hidden = [2], initial_topology = "file:a"')
    with pytest.raises(
        ConfigError, match=r'"file:a": not with evolution\.final_density = 0\.1; the file says how many'
    ):
        parse_config(text, "run.toml", ["evolution.final_density=0.1"])


def test_layers_may_have_patterns_of_their_own():
    text = NETWORK.format('layers = [{ n = 4 }, { n = 4, initial_topology = "covering" }], initial_topology = "file:a"')
    network = parse_config(text, "run.toml").network
    assert network.initial_topologies == ["file:a", "covering"]
    assert [network.pattern_of(number) for number in range(2)] == ["erdos_renyi", "covering"]
    assert network.topology_files == {0: "a"}
