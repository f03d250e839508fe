"""The networks of checkpoints: with removed neurons, with replicas, with a missing choice."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hpc_sparse.analysis.checkpoints import in_common_numbers, read_one_topology, read_topologies
from hpc_sparse.errors import FileFormatError, InputError
from hpc_sparse.storage.container.hdf5 import LIBRARY_VERSIONS
from hpc_sparse.storage.container.word_sum import WORD_SUM, word_sum

GOLDEN = Path(__file__).parents[2] / "golden"


def configured(golden_file: str, folder: Path, hidden: str = "[5]") -> Path:
    """A copy of a golden file (7-5-3 once, 4-3-3 now) with a complete configuration."""
    text = f'[data]\npath = "a.h5"\n[network]\nhidden = {hidden}\n[training]\nepochs = 1\n'.encode()
    path = Path(shutil.copy(GOLDEN / golden_file, folder / golden_file))
    with h5py.File(path, "a", libver=LIBRARY_VERSIONS) as file:
        array = np.array([text], f"S{len(text)}")
        del file["config"]
        file["config"] = array
        file["config"].attrs[WORD_SUM] = word_sum(array)
    return path


@pytest.fixture
def reduced(tmp_path: Path) -> Path:
    return configured("checkpoint_v2.h5", tmp_path)


@pytest.fixture
def replicas(tmp_path: Path) -> Path:
    return configured("checkpoint_v2_replicas.h5", tmp_path)


def pairs(topology: Any) -> list[tuple[int, int]]:
    """(out, in) of every connection."""
    return [divmod(key, topology.shape[1]) for key in topology.keys().tolist()]


def test_a_reduced_network_is_known_in_its_old_and_new_numbers(reduced):
    network = read_one_topology(reduced)
    assert (network.name, network.epoch, network.widths) == (str(reduced), 12, [4, 3, 3])
    assert network.original_widths == (7, 5, 3)
    assert network.n_connections == 11
    assert pairs(network.topologies[0]) == [(0, 0), (0, 3), (2, 1), (2, 2), (2, 3)]
    first, second = network.original()
    assert (first.shape, second.shape) == ((5, 7), (3, 5))
    assert pairs(first) == [(1, 0), (1, 6), (4, 2), (4, 3), (4, 6)]
    assert pairs(second) == [(0, 1), (0, 2), (0, 4), (1, 4), (2, 1), (2, 2)]


def test_every_replica_is_a_network_of_its_own(replicas):
    found = read_topologies(replicas)
    assert [network.name for network in found] == [f"{replicas} replica 0", f"{replicas} replica 1"]
    assert [network.n_connections for network in found] == [6, 8]
    assert read_one_topology(replicas, 1).n_connections == 8


def test_one_of_several_replicas_must_be_chosen(replicas):
    with pytest.raises(InputError, match="holds 2 replicas that differ: choose one with --replica"):
        read_one_topology(replicas)
    with pytest.raises(InputError, match=r"--replica 2: .* holds replicas 0 to 1"):
        read_topologies(replicas, 2)


def test_a_network_of_all_ranks_is_that_of_every_replica(reduced):
    assert read_one_topology(reduced, 5).name == str(reduced)


def test_a_version_1_checkpoint_can_be_read():
    network = read_one_topology(GOLDEN / "checkpoint_v1.h5")
    assert tuple(network.widths) == network.original_widths
    for topology, original in zip(network.topologies, network.original(), strict=True):
        np.testing.assert_array_equal(topology.keys(), original.keys())


@pytest.mark.parametrize(("hidden", "message"), [("[4]", "neuron 4 in layer 1: must be < 4"), ("[5, 5]", "has 4")])
def test_a_configuration_of_another_network_is_noticed(tmp_path, hidden, message):
    with pytest.raises(FileFormatError, match=message):
        read_topologies(configured("checkpoint_v2.h5", tmp_path, hidden))


def test_inputs_that_nobody_counted_do_not_hinder_a_comparison(reduced):
    network = read_one_topology(reduced)
    uncounted = replace(
        network, original_widths=(6, 5, 3), neuron_ids=(np.array([0, 2, 3, 5], np.int32), *network.neuron_ids[1:])
    )
    first, second = in_common_numbers([uncounted, network])
    assert [topology.shape for topology in first] == [topology.shape for topology in second]
    whole = replace(network, original_widths=(4, 5, 3), neuron_ids=(None, *network.neuron_ids[1:]))
    assert in_common_numbers([whole, network])[0][0].shape == (5, 4)
