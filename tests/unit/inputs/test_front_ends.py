"""Each front end against NumPy, alone, in a chain, folded into a layer, and what a wrong one is told."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import permutations
from typing import ClassVar

import numpy as np
import pytest
import scipy.sparse
from sklearn.feature_extraction.text import TfidfTransformer

import hpc_sparse
from hpc_sparse.config import DataSection, Section, parse_config
from hpc_sparse.config.added_keys import add_key
from hpc_sparse.config.reference import configuration_reference
from hpc_sparse.errors import ConfigError, DataError, InputError
from hpc_sparse.importers.arrays.npz import import_npz
from hpc_sparse.inference.inputs import checked_features
from hpc_sparse.inputs.augmentation import Augmentation, AugmentedBatches
from hpc_sparse.inputs.batches import BatchAssembler
from hpc_sparse.inputs.chain import FrontEndChain, any_samples, changed_arrays, planned_bytes
from hpc_sparse.inputs.chosen_features import ChosenFeatures
from hpc_sparse.inputs.protocol import FrontEnd, Gather
from hpc_sparse.inputs.registry import FRONT_ENDS, fixed_keys, register, unregister
from hpc_sparse.inputs.standardise import Standardise
from hpc_sparse.inputs.term_weights import TermWeights
from hpc_sparse.kernels.simd import machine
from hpc_sparse.models.stored import StoredNetwork
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run
from hpc_sparse.storage.checkpoint.file import read_checkpoint, write_checkpoint
from hpc_sparse.storage.checkpoint.folder import newest_checkpoint
from hpc_sparse.storage.dataset.file import load_dataset
from hpc_sparse.storage.dataset.samples import DenseFeatures, Samples

CTX = ParallelContext.serial(threads=1)
CHOSEN = np.array([0, 3, 4, 11], np.int32)


@dataclass(frozen=True)
class Shifted(FrontEnd):
    """Three more than before: changes zeros, too, and has no layer to be folded into."""

    name: ClassVar[str] = "shifted"

    @classmethod
    def restore(cls, config, arrays):
        return None

    def apply(self, batch, n_samples, out):
        np.add(batch[:, :n_samples], 3, out=out[:, :n_samples])
        out[:, n_samples:] = 0


def standardise(dataset, *, is_on=True):
    return Standardise(dataset.mean, dataset.deviation, is_on)


def by_numpy(part, values):
    """One front end in float64; ``values`` are samples x features."""
    if isinstance(part, Standardise):
        return (values - part.mean) / part.deviation if part.is_on else values
    return values[:, part.chosen] if isinstance(part, ChosenFeatures) else values + 3


@pytest.mark.parametrize("kind", ["float32", "uint8"])
@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("width", machine.WIDTHS)
def test_front_ends_give_in_any_order_what_numpy_gives(make_dataset, kind, order, width):
    dataset = make_dataset(kind=kind)
    parts = [ChosenFeatures(CHOSEN), Shifted(), standardise(dataset)]
    if order.index(0) < order.index(2):
        parts[2] = Standardise(dataset.mean[CHOSEN], dataset.deviation[CHOSEN])
    parts = [parts[number] for number in order]
    chain = FrontEndChain(tuple(parts))
    assembler = BatchAssembler(chain, 12, 150, width)
    assert assembler.n_inputs == chain.n_inputs(12) == CHOSEN.size
    for chosen in (np.arange(64), np.array([3]), np.arange(90, 110), np.arange(70, 220)):
        expected = dataset.train.features.values[chosen].astype(np.float64)
        for part in parts:
            expected = by_numpy(part, expected)
        batch, _ = assembler.assemble(dataset.train, chosen)
        np.testing.assert_allclose(batch.matrix()[:, : chosen.size], expected.T, rtol=1e-5, atol=1e-5)
        assert (batch.matrix()[:, chosen.size :] == 0).all()


@pytest.mark.parametrize("width", machine.WIDTHS)
def test_a_front_end_that_changes_zeros_leaves_sparse_batches_right(make_dataset, width):
    features = make_dataset(kind="csr").train
    plain = BatchAssembler(FrontEndChain(), 12, 150, width)
    shifted = BatchAssembler(FrontEndChain((Shifted(),)), 12, 150, width)
    for chosen in (np.arange(64), np.arange(64, 214), np.arange(64, 128), np.array([3])):
        before, after = (each.assemble(features, chosen)[0].matrix() for each in (plain, shifted))
        np.testing.assert_array_equal(after[:, : chosen.size], before[:, : chosen.size] + np.float32(3))
        assert not after[:, chosen.size :].any()


@pytest.mark.parametrize("kind", ["float32", "uint8", "csr"])
@pytest.mark.parametrize("chosen", [None, CHOSEN])
def test_the_first_sample_has_alone_the_bits_that_it_has_in_a_batch(make_dataset, kind, chosen):
    dataset = make_dataset(kind=kind)
    chain = FrontEndChain((standardise(dataset if kind != "csr" else make_dataset()),)).choosing(chosen)
    gather, later = chain.fused()
    batch, _ = BatchAssembler(chain, 12, 64).assemble(dataset.train, np.arange(64))
    assert later == ()
    np.testing.assert_array_equal(gather.values_of_first(dataset.train.features), batch.matrix()[:, 0])


def test_what_is_switched_off_is_no_part_of_the_pass(make_dataset):
    off = standardise(make_dataset(), is_on=False)
    assert FrontEndChain((Augmentation(), off)).fused() == (Gather(), ())
    assert set(FrontEndChain((off,)).arrays()) == {"standardize/mean", "standardize/deviation"}


@pytest.mark.parametrize("is_on", [True, False])
def test_a_folded_layer_takes_raw_features(make_dataset, make_connections, is_on):
    dataset, own = make_dataset(), make_connections(9, CHOSEN.size)
    layer = SparseLayer.of(own.topology, own.weight, own.bias, 0.5)
    chain = FrontEndChain((Augmentation(), standardise(dataset, is_on=is_on))).choosing(CHOSEN)
    values = dataset.train.features.values.astype(np.float64)
    expected = values
    for part in chain.parts[1:]:
        expected = by_numpy(part, expected)
    expected = expected @ own.matrix.T + own.bias
    config, folded = chain.folded(_config(standardize=is_on), layer)
    assert folded.topology.shape == (9, 12)
    assert not config.data.standardize
    t = folded.topology
    matrix = scipy.sparse.csr_array((folded.weight.astype(np.float64), t.indices, t.indptr), shape=t.shape)
    np.testing.assert_allclose(values @ matrix.T + folded.bias, expected, rtol=1e-5, atol=1e-4)
    kept, same = chain.folded(config, layer, kept=3)
    assert kept is config
    assert same is layer


def _config(**data):
    config = parse_config("[data]\npath = 'x.h5'\n[network]\nhidden = [3]\n[training]\nepochs = 1\n", "x.toml")
    return config.model_copy(update={"data": config.data.model_copy(update=data)})


def test_a_front_end_without_a_layer_of_its_own_cannot_be_folded(make_connections):
    own = make_connections(9, 12)
    layer = SparseLayer.of(own.topology, own.weight, own.bias, 0.5)
    with pytest.raises(InputError, match="front end shifted: cannot be folded into the first layer"):
        FrontEndChain((Shifted(),)).folded(_config(), layer)


def test_the_data_set_states_what_built_in_front_ends_need(make_config, make_dataset):
    dataset, config = make_dataset(), make_config()
    for chain in (FrontEndChain.known(config, dataset), FrontEndChain.start(CTX, config, dataset)):
        (part,) = chain.parts
        np.testing.assert_array_equal(part.mean, dataset.mean)
        assert (part.is_on, chain.n_features) == (True, 12)
    again = FrontEndChain.restore(config, chain.arrays(), CHOSEN)
    np.testing.assert_array_equal(again.chosen, CHOSEN)
    np.testing.assert_array_equal(again.part(Standardise).deviation, dataset.deviation)
    assert FrontEndChain.known(config, make_dataset(kind="csr")).parts == ()
    assert planned_bytes(config, dataset.info, 32) == sum(array.nbytes for array in chain.arrays().values())


def test_augmented_batches_come_through_the_chain(make_config):
    shard = Samples(
        DenseFeatures(np.random.default_rng(2).integers(0, 256, (20, 3072)).astype(np.uint8)), np.zeros(20, np.int32)
    )
    chain = FrontEndChain.restore(make_config("data.augmentation=cifar"), {})
    batches = [np.arange(8), np.arange(8, 20)]
    found = chain.training_batches(shard, 3, 1)
    expected = AugmentedBatches(shard, 3, 1).prepare(2, batches)
    for own, other in zip(found.prepare(2, batches), expected, strict=True):
        np.testing.assert_array_equal(own.features.values, other.features.values)
    assert chain.training_batches(Samples(DenseFeatures(shard.features.values[:0]), shard.labels[:0]), 3, 1) is None
    assert FrontEndChain().training_batches(shard, 3, 1) is None
    assert any_samples(make_config("data.augmentation=cifar")) == make_config()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"nobody/a": np.zeros(3)},
            "front end nobody: unknown; known are augmentation, term_weights, missing_values, standardize",
        ),
        ({"standardize/mean": np.zeros(3)}, "front end standardize: arrays mean: expected mean, deviation"),
        (
            {"term_weights/idf": np.zeros(3, np.float32), "term_weights/row_length": np.zeros(0)},
            r"front end term_weights: idf float32\[3\], row_length \[0\]: expected",
        ),
    ],
)
def test_arrays_that_no_front_end_has_are_refused(make_config, arrays, message):
    with pytest.raises(DataError, match=message):
        FrontEndChain.restore(make_config(), arrays)


def test_a_checkpoint_with_weights_of_other_terms_is_refused(write_network):
    path = write_network(has_statistics=False)
    weights = {"term_weights/idf": np.ones(29, np.float32), "term_weights/row_length": np.ones(1)}
    write_checkpoint(CTX, path, replace(read_checkpoint(CTX, path), front_end=weights))
    with pytest.raises(DataError, match=r"net\.h5: front ends give 29 values per sample: expected 30 inputs"):
        StoredNetwork.read(CTX, path)


def test_a_run_may_go_on_if_what_acts_in_training_is_the_same():
    before = {"standardize/mean": np.arange(3.0), "standardize/deviation": np.ones(3)}
    assert changed_arrays(before, before | {"term_weights/idf": np.zeros(3)}) == []
    assert changed_arrays(before, before | {"standardize/mean": np.zeros(3)}) == ["standardize/mean"]
    assert changed_arrays({}, before) == list(before)


def test_kinds_have_names_of_their_own_and_their_keys_are_fixed():
    assert fixed_keys() == ("augmentation", "standardize")
    with pytest.raises(ValueError, match="there is a front end standardize already"):
        register(Standardise)
    with pytest.raises(ValueError, match="has a key path already"):
        add_key(DataSection, "path", DataSection)
    assert len({kind.name for kind in FRONT_ENDS}) == len(FRONT_ENDS)


class ShiftedSection(Section):
    """Added to each value."""

    by: int = 3
    """How much."""


def test_a_kind_brings_its_key_along_and_takes_it_away(make_config, make_dataset):
    @dataclass(frozen=True)
    class Configured(Shifted):
        array_names: ClassVar[tuple[str, ...]] = ("by",)
        section: ClassVar[type[Section]] = ShiftedSection

    register(Configured)
    try:
        config = make_config("data.shifted={by=4}")
        assert Configured.settings(config) == ShiftedSection(by=4)
        assert parse_config(config.to_toml(), "again") == config
        assert Configured.settings(Configured.without(config)) is None
        assert fixed_keys() == ("augmentation", "standardize", "shifted")
        assert "| `shifted` |  | table of keys | Added to each value. |" in configuration_reference()
        with pytest.raises(ConfigError, match=r"data\.shifted\.by = 'much': must be a valid integer"):
            make_config("data.shifted={by='much'}")
        with pytest.raises(DataError, match="front end shifted: arrays none: expected by"):
            FrontEndChain.known(config, make_dataset())
    finally:
        unregister(Configured)
    with pytest.raises(ConfigError, match=r"data\.shifted: unknown key"):
        make_config("data.shifted={by=4}")


@pytest.fixture
def counts_run(tmp_path):
    """A run on weighted counts: raw counts of the test part, its data set, and the checkpoint."""
    rng = np.random.default_rng(2)
    labels = np.arange(300) % 3
    rates = 0.1 + 1.5 * (np.arange(15)[None, :] % 3 == labels[:, None])
    counts = scipy.sparse.csr_array(rng.poisson(rates).astype(np.float32))
    arrays = {"shape": np.array([200, 100, 15])}
    for part, rows in (("train", slice(0, 200)), ("test", slice(200, 300))):
        block = counts[rows]
        arrays |= {f"{part}_indptr": block.indptr, f"{part}_indices": block.indices, f"{part}_data": block.data}
        arrays |= {f"{part}_label": labels[rows]}
    np.savez(tmp_path / "t.npz", **arrays)
    import_npz(tmp_path / "t.npz", tmp_path / "data.h5", tf_idf=True)
    text = "[data]\npath='data.h5'\n[network]\nhidden=[20]\nepsilon=9\n[training]\nepochs=3\nbatch_size=20\n"
    (tmp_path / "run.toml").write_text(text)
    train_run(CTX, RunRequest(tmp_path / "run.toml", (), tmp_path / "run"), SilentReporter())
    return counts, tmp_path, newest_checkpoint(tmp_path / "run" / "checkpoints")


def test_raw_counts_are_weighted_as_the_import_weighted_those_of_the_data_set(counts_run):
    counts, folder, path = counts_run
    model, dataset = hpc_sparse.load_model(path), load_dataset(CTX, folder / "data.h5")
    test = dataset.test.features
    weighted = scipy.sparse.csr_array((test.values, test.indices, test.indptr), shape=(100, 15))
    expected = model.weighted_sums(weighted)
    np.testing.assert_array_equal(model.weighted_sums(counts[200:], raw=True), expected)
    np.testing.assert_array_equal(model.predict(counts[200:], raw=True), expected.argmax(axis=1))
    np.testing.assert_array_equal(model.predict_proba(counts[200:], raw=True), model.predict_proba(weighted))

    (part,) = model.front_end.parts
    oracle = TfidfTransformer(sublinear_tf=True).fit(scipy.sparse.csr_matrix(counts[:200].astype(np.float64)))
    np.testing.assert_allclose(part.idf, oracle.idf_, rtol=1e-6)
    assert part.row_length == pytest.approx(np.sqrt(counts[:200].nnz / 200))
    prepared = part.prepare("X", checked_features(counts[200:], 15))
    np.testing.assert_allclose(
        dense_of(prepared), part.row_length * oracle.transform(counts[200:]).toarray(), rtol=1e-5
    )
    with pytest.raises(DataError, match=r"X: tf-idf of 0\.5: expected counts"):
        model.predict(counts[200:] * 0.5, raw=True)


def dense_of(features):
    shape = (features.n_samples, features.n_features)
    return scipy.sparse.csr_array((features.values, features.indices, features.indptr), shape=shape).toarray()


def test_a_checkpoint_from_before_term_weights_were_stored_goes_on(counts_run):
    _, folder, path = counts_run
    state = read_checkpoint(CTX, path)
    assert set(state.front_end) == {"term_weights/idf", "term_weights/row_length"}
    path.unlink()
    write_checkpoint(CTX, path, replace(state, front_end={}))
    request = RunRequest(folder / "run.toml", ("training.epochs=4",), folder / "run", resume="auto")
    assert train_run(CTX, request, SilentReporter())["epochs"] == 4
    assert json.loads((folder / "run" / "summary.json").read_text())["epochs"] == 4
    newest = read_checkpoint(CTX, newest_checkpoint(folder / "run" / "checkpoints"))
    np.testing.assert_array_equal(newest.front_end["term_weights/idf"], state.front_end["term_weights/idf"])


def test_raw_features_are_refused_where_the_import_prepared_nothing(write_network):
    model = hpc_sparse.load_model(write_network())
    with pytest.raises(DataError, match=r"raw = True: the data set .* holds features as the import was given them"):
        model.predict(np.zeros((2, 30), np.float32), raw=True)


def test_term_weights_count_in_the_plan_and_leave_training_batches_alone(make_config, make_dataset):
    dataset = make_dataset(kind="csr")
    part = TermWeights(np.full(12, 2, np.float32), np.ones(1))
    batch, _ = BatchAssembler(FrontEndChain((part,)), 12, 64).assemble(dataset.train, np.arange(64))
    expected, _ = BatchAssembler(FrontEndChain(), 12, 64).assemble(dataset.train, np.arange(64))
    np.testing.assert_array_equal(batch.matrix(), expected.matrix())
    assert planned_bytes(make_config(), dataset.info, 32) == part.idf.nbytes


def test_colours_of_images_are_standardised_over_all_pixels():
    values = np.random.default_rng(0).integers(0, 256, (50, 4, 6, 3)).astype(np.float64) * [1, 0.5, 2]
    values[:, 1, 2] = 7  # constant: its deviation of 0 is stored as 1
    values[:, :, :, 2] += 100
    flat = values.reshape(50, -1)
    deviation = flat.std(axis=0)
    arrays = {
        "mean": flat.mean(axis=0).astype(np.float32),
        "deviation": np.where(deviation == 0, 1, deviation).astype(np.float32),
    }
    text = """
    data.path = "x.h5"
    training.epochs = 1
    [[network.layers]]
    kind = "convolution"
    n = 5
    image = [4, 6]
    pool = "average"
    """
    part = Standardise.restore(parse_config(text, "test"), arrays)
    expected = (values - values.mean(axis=(0, 1, 2))) / values.std(axis=(0, 1, 2))
    found = np.empty((72, 50), np.float32)
    part.apply(flat.T.astype(np.float32), 50, found)
    np.testing.assert_allclose(found.T.reshape(values.shape), expected, rtol=1e-5, atol=1e-5)
    fused = part.fused(Gather())
    np.testing.assert_allclose((flat - fused.shift) * fused.scale, expected.reshape(50, -1), rtol=1e-5, atol=1e-5)
