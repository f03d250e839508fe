"""Readers of arrays: estimators, models out of checkpoints, what other programs give, and analyses."""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from fuzzing.arrays import any_matrix, any_samples, any_vector, break_index, same_as_dense
from fuzzing.mutations import changed_array
from hpc_sparse import analysis
from hpc_sparse.errors import HpcSparseError, InputError, quoted
from hpc_sparse.estimators import SparseFeatureSelector, SparseMLPClassifier, SparseMLPRegressor, SparseRNNClassifier
from hpc_sparse.inference import load_model
from hpc_sparse.interop.dense_recurrent import recurrent_weights
from hpc_sparse.interop.dense_weights import dense_weights
from hpc_sparse.interop.semi_structured import SemiStructured, from_semi_structured, to_semi_structured
from hpc_sparse.network.blueprint import LayerBlueprint
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layers.recurrent_section import RecurrentSection

N_ROWS, N_FEATURES = 20, 8
N_SEEDS = 40
TINY = {"hidden": (8,), "epochs": 1, "random_state": 0}
Call = Callable[[random.Random], Any]


def seeds() -> tuple[bytes, ...]:
    """Contents of files from which trials are made; the first ones compile what the others call."""
    return tuple(number.to_bytes(8, "little") for number in range(N_SEEDS))


def another(content: bytes, chance: random.Random) -> bytes:
    """Another trial."""
    return chance.randbytes(len(content))


def reader(call: Call) -> Callable[[Path], None]:
    """What reads a file of :func:`seeds`: it makes arrays of the number there, and gives them to ``call``."""

    def read(path: Path) -> None:
        chance = random.Random(path.read_bytes())
        try:
            call(chance)
        except HpcSparseError as error:
            raise InputError(str(error)) from error
        except (ValueError, TypeError) as error:
            # A TypeError is what scikit-learn raises of objects that are no numbers.
            raise InputError(quoted(str(error))) from error

    return read


def use_estimator(chance: random.Random) -> None:
    """A fit or a prediction; afterwards the estimator predicts as before, or is another one as a whole."""
    kept = chance.choice(_fitted())
    model, sound, _ = pickle.loads(kept)
    before = model.predict(sound) if hasattr(model, "predict") else model.ranking_
    X = any_samples(chance, N_ROWS, N_FEATURES)
    call = chance.choice((_predict, _predict, _fit, _fit, _partial_fit))
    if chance.random() < 0.03:
        _in_a_fork(partial(call, model, chance, X))
        return
    if chance.random() < 0.1:
        with ThreadPoolExecutor(2) as pool:
            others = [pickle.loads(kept)[0] for _ in range(2)]
            futures = [pool.submit(call, other, random.Random(0), X) for other in others]
            [future.exception() for future in futures]
    try:
        call(model, chance, X)
    except Exception:
        after = model.predict(sound) if hasattr(model, "predict") else model.ranking_
        assert np.array_equal(after, before), "a call that failed has changed the estimator"
        raise


def use_model(files: tuple[bytes, ...], folder: Path) -> Call:
    """Predictions of models out of checkpoints, which are the same for sparse and dense samples."""

    @cache
    def models() -> list[Any]:
        made = []
        for number, content in enumerate(files):
            (path := folder / f"model{number}.h5").write_bytes(content)
            made.append(load_model(path, threads=1))
        return made

    def call(chance: random.Random) -> None:
        model = chance.choice(models())
        X = any_samples(chance, 5, model.n_features)
        found = model.weighted_sums(X, raw=chance.random() < 0.05)
        assert found.shape[1] == model.network.widths[-1]
        if (dense := same_as_dense(X)) is not None:
            assert np.array_equal(found, model.weighted_sums(dense)), "sparse and dense samples differ"

    models()
    return call


def use_foreign_weights(chance: random.Random) -> None:
    """Dense weights of another program, or a matrix in the layout of sparse tensor cores."""
    rng = np.random.default_rng(chance.randrange(2**32))
    if chance.random() < 0.5:
        widths = [5, 4, 3]
        arrays = {"0.weight": rng.normal(size=(4, 5)), "0.bias": np.zeros(4), "1.weight": rng.normal(size=(3, 4))}
        arrays |= {"1.bias": np.zeros(3), "mean": np.zeros(5), "deviation": np.ones(5)}
        for _ in range(chance.choice((0, 1, 2))):
            name = chance.choice(sorted(arrays))
            arrays[name] = changed_array(arrays[name], chance)
        dense_weights(Path("arrays"), arrays, widths, "auto")
        return
    if chance.random() < 0.5:
        use_foreign_cells(chance, rng)
        return
    values = rng.normal(size=(6, 16)).astype(np.float32)
    metadata = np.full((6, 2), 0x4444, np.uint16)
    if chance.random() < 0.7:
        metadata = changed_array(metadata, chance)
    if chance.random() < 0.3:
        values = changed_array(values, chance)
    connections = from_semi_structured(SemiStructured(values, metadata))
    assert np.array_equal(to_semi_structured(connections).metadata, metadata)
    connections.topology.check()


def use_foreign_cells(chance: random.Random, rng: np.random.Generator) -> None:
    """Dense weights of a recurrent network of another program, whose inputs are numbers or tokens."""
    section = RecurrentSection(kind="recurrent", n=4)
    reads_tokens = chance.random() < 0.5
    common: Any = {"density": 1.0, "activation": "linear", "alpha": 0.0, "initializer": "zeros", "seed": 0}
    first = LayerBlueprint(0, (4, 5), **common, section=section, grid=(3,), reads_tokens=reads_tokens)
    plans = [first, LayerBlueprint(1, (3, 4), **common)]
    arrays = {"rnn.weight_ih_l0": rng.normal(size=(12, 2 if reads_tokens else 5)), "rnn.bias_ih_l0": np.zeros(12)}
    arrays |= {"rnn.weight_hh_l0": rng.normal(size=(12, 4)), "rnn.bias_hh_l0": np.zeros(12)}
    arrays |= {"fc.weight": rng.normal(size=(3, 4)), "fc.bias": np.zeros(3)}
    arrays |= {"e.weight": rng.normal(size=(5, 2))} if reads_tokens else {"mean": np.zeros(5), "deviation": np.ones(15)}
    for _ in range(chance.choice((0, 1, 2))):
        name = chance.choice(sorted(arrays))
        arrays[name] = changed_array(arrays[name], chance)
    weights = recurrent_weights(Path("arrays"), arrays, plans, "auto")
    shapes = [{name: own.weight.shape for name, own in layer.items()} for layer in weights.layers]
    assert shapes == [{"input": (12, 5), "recurrent": (12, 4)}, {"input": (3, 4)}], shapes


def use_analysis(chance: random.Random) -> None:
    """Every analysis of one or two networks of SciPy matrices or topologies."""
    networks = [[_layer(chance, shape) for shape in ((7, 5), (5, 3))] for _ in range(2)]
    calls: tuple[Callable[[], Any], ...] = (
        lambda: analysis.topology_distance(*networks, exact_width=chance.choice((2, 100))),
        lambda: analysis.shared_connections(*networks),
        lambda: analysis.explored_connections(networks),
        lambda: analysis.count_paths(networks[0]),
        lambda: analysis.find_reach(networks[0]),
        lambda: [analysis.fan_out_distribution(each).mean for each in analysis.as_topologies(networks[1])],
    )
    chance.choice(calls)()


def _layer(chance: random.Random, shape: tuple[int, int]) -> Any:
    if chance.random() < 0.5:
        return any_matrix(chance, shape)
    topology = Topology.random(shape[::-1], 0.5, np.uint64(chance.randrange(1000)))
    if chance.random() < 0.5:
        return topology
    indptr, indices = topology.rows
    if chance.random() < 0.5:
        return Topology(topology.shape, indptr, break_index(indices, chance))
    return Topology(topology.shape, break_index(indptr, chance), indices)


@cache
def _fitted() -> list[bytes]:
    """Pickled fitted estimators of several kinds, each with samples that it can predict."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, N_FEATURES)).astype(np.float32)
    y, names = np.arange(N_ROWS) % 3, np.array(["a", "b", "c"])[np.arange(N_ROWS) % 3]
    far = X.astype(float) + np.where(np.arange(N_FEATURES) == 2, 1.7e9, 0)
    made = [
        (SparseMLPClassifier(**TINY, warm_start=True).fit(X, names), X, names),
        (SparseMLPClassifier(**TINY, connections="n_of_m", pattern="2:4").fit(X, y), X, y),
        (SparseMLPClassifier(**TINY, standardize=False).fit(X, y), X, y),
        (SparseMLPRegressor(**TINY).fit(far, rng.normal(size=(N_ROWS, 2))), far, rng.normal(size=(N_ROWS, 2))),
        (SparseRNNClassifier(**TINY, time_steps=2).fit(X, y), X, y),
        (SparseFeatureSelector(SparseMLPClassifier(**TINY)).fit(X, y), X, y),
    ]
    return [pickle.dumps(each) for each in made]


def _predict(model: Any, chance: random.Random, X: Any) -> None:
    if not hasattr(model, "predict"):
        chance.choice((model.transform, model.inverse_transform))(X)
        return
    found = model.predict(X)
    if chance.random() < 0.5 and (dense := same_as_dense(X)) is not None:
        assert np.array_equal(found, model.predict(dense)), "sparse and dense samples differ"


def _fit(model: Any, chance: random.Random, X: Any) -> None:
    model.fit(X, *_targets(model, chance, X, can_weigh=not isinstance(model, SparseFeatureSelector)))


def _partial_fit(model: Any, chance: random.Random, X: Any) -> None:
    if not hasattr(model, "partial_fit"):
        _fit(model, chance, X)
        return
    y, *weights = _targets(model, chance, X, can_weigh=True)
    model.partial_fit(X, y, sample_weight=weights[0] if weights else None)


def _targets(model: Any, chance: random.Random, X: Any, *, can_weigh: bool) -> list[Any]:
    n_rows = X.shape[0] if getattr(X, "ndim", 0) and X.shape[0] else N_ROWS
    sound = np.random.default_rng(0).normal(size=(n_rows, 2)) if isinstance(model, SparseMLPRegressor) else None
    classes = getattr(model, "classes_", np.arange(3))
    y = any_vector(chance, classes[np.arange(n_rows) % len(classes)] if sound is None else sound[:, 0])
    y = sound if sound is not None and chance.random() < 0.7 else y
    return [y, any_vector(chance, np.linspace(0, 2, n_rows))] if can_weigh and chance.random() < 0.3 else [y]


def _in_a_fork(call: Callable[[], Any]) -> None:
    """The same in a forked process, which must end."""
    pid = os.fork()
    if not pid:
        try:
            call()
            os._exit(0)
        except (HpcSparseError, ValueError, TypeError):
            os._exit(1)
        finally:
            os._exit(2)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in {0, 1}, f"the forked process ended with {status}"
    if status:
        raise InputError("refused in the forked process")
