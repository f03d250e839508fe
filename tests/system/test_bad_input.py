"""Wrong input: one message that names the thing and the place, exit code 2, no traceback, nothing made or changed.

What is said is looked at in this process. On several ranks there is one case of each way in which an error reaches all
of them; whether it is the same on each is tested in tests/mpi.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hpc_sparse.storage.container.hdf5 import LIBRARY_VERSIONS
from hpc_sparse.storage.container.word_sum import WORD_SUM, word_sum

HPC_SPARSE = str(Path(sys.executable).with_name("hpc-sparse"))
RANKS = [None, 3]
OTHER_FEATURES = 12

Entries = dict[str, tuple[int, int]]


def some(cases: Sequence[Any], ranks: int | None) -> Sequence[Any]:
    """All cases alone, the first on several ranks: what root alone decides reaches the others in one way."""
    return cases if ranks is None else cases[:1]


def contents(folder: Path) -> Entries:
    """Every file and folder below ``folder``, with size and time of the last change."""
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def refuse(run: Any, workplace: Path) -> Callable[..., str]:
    """Run a command that must be refused; what it says."""

    def run_refused(*arguments: object, code: int = 2, says: tuple[str, ...], **start: Any) -> str:
        before = contents(workplace)
        start = {"cwd": workplace} | start
        result = run(*arguments, code=code, **start)
        assert "Traceback" not in result.stdout + result.stderr
        said = "\n".join(line for line in result.stderr.splitlines() if line)
        for part in says:
            assert part in said
        assert said.count("hpc-sparse: ") == 1
        assert contents(workplace) == before
        assert not (workplace / "runs").exists()
        return said

    return run_refused


CONFIGURATIONS = {
    "missing section": ("[training]\nepochs = 1\n", ("network: missing", "data: missing", "wrong.toml")),
    "missing key": ('[data]\npath = "data.h5"\n[network]\nhidden = [3]\n[training]\n', ("training.epochs: missing",)),
    "not TOML": ("[data\n", ("wrong.toml: not valid TOML", "line 1")),
}

OVERRIDES = {
    "unknown key": (
        "training.epoch=3",
        ("training.epoch: unknown key; did you mean epochs?", "--set training.epoch=3"),
    ),
    "unknown section": ("trainin.epochs=3", ("trainin: unknown section; did you mean training?",)),
    "text for a number": ("training.epochs=many", ("training.epochs = 'many': ", "integer")),
    "fraction for a count": ("training.batch_size=1.5", ("training.batch_size = 1.5: ", "integer")),
    "unknown choice": ("network.activation=relo", ("network.activation = 'relo': must be 'all_relu'",)),
    "not an override": ("training", ("--set training: expected section.key=value",)),
    "zero neurons": ("network.hidden=[10, 0]", ("network.hidden.1 = 0: ", "greater than or equal to 1")),
    "too many neurons": ("network.hidden=[3000000000]", ("network.hidden.0 = 3000000000: ",)),
    "negative epsilon": ("network.epsilon=-1", ("network.epsilon = -1: ", "greater than 0")),
    "not a number": ("network.epsilon=nan", ("network.epsilon = nan: ",)),
    "density above 1": ("network.density=1.5", ("network.density = 1.5: ",)),
    "dropout of everything": ("network.dropout=1.0", ("network.dropout = 1.0: ",)),
    "infinite learning rate": ("optimizer.learning_rate=inf", ("optimizer.learning_rate = inf: ",)),
    "never syncing": ("parallel.sync_every_steps=0", ("parallel.sync_every_steps = 0: ",)),
    "two classes": ("training.loss=binary_cross_entropy", ('training.loss = "binary_cross_entropy": for two classes',)),
    "convolutions of what is no image": (
        'network.layers=[{kind="convolution", n=5, image=[7, 7], pool="average"}]',
        ("data.h5: image = [7, 7]: samples of", "features are no such images"),
    ),
    "recurrent layers of plain samples": (
        'network.layers=[{kind="recurrent", n=24, output="all"}, {kind="recurrent", n=17}]',
        ("data.h5: time_steps = 1: expected sequences",),
    ),
    "blocks larger than a layer": (
        'network.layers=[{n=24}, {n=10, connections="block", block=[32, 8]}]',
        ("network.layers.1.block = [32, 8]: larger than the layer of 24 x 10 neurons; expected at most [10, 24]",),
    ),
    "a state that blocks do not divide": (
        'network.layers=[{kind="recurrent", n=24, connections="block", block=[16, 4]}]',
        ("network.layers.0: block = [16, 4]: must divide n = 24, the width of the state",),
    ),
    "pruning that ends before its ramp": (
        "block_pruning.end=0.1",
        ("block_pruning.end = 0.1: must be > ramp = 0.25",),
    ),
    "more of a group than there are": (
        'network.layers=[{n=24, connections="n_of_m", pattern="5:4"}]',
        ('network.layers.0.pattern = "5:4": must be N:M with 1 <= N <= M',),
    ),
    "transposable groups that evolve": (
        'network.layers=[{n=24, connections="n_of_m", pattern="2:4", transposable=true}]',
        ('evolution.strategy = "set": not with transposable = true, all stay; use "static"',),
    ),
    "missing data": ('data.path="nowhere.h5"', ('data.path = "nowhere.h5": no such data set', "data/nowhere.h5")),
    "too many threads": ("runtime.threads=4096", ("runtime.threads = 4096: ",)),
    "memory beyond the machine": ("training.batch_size=4000000000000", ("memory",)),
}


@pytest.mark.parametrize("ranks", RANKS)
def test_a_wrong_configuration_file_is_refused(workplace, refuse, ranks):
    for text, says in some(list(CONFIGURATIONS.values()), ranks):
        (workplace / "wrong.toml").write_text(text)
        refuse("train", "wrong.toml", says=says, ranks=ranks)
    refuse("train", "nowhere.toml", says=("nowhere.toml: cannot read the configuration: No such file",))
    refuse("train", ".", says=("is a folder; expected a configuration file",))


@pytest.mark.parametrize("name", OVERRIDES)
def test_a_wrong_value_is_refused(refuse, name):
    override, says = OVERRIDES[name]
    refuse("train", "run.toml", "--set", override, says=says)


@pytest.mark.parametrize(
    "name",
    ["two classes", "missing data", "too many threads", "memory beyond the machine"],
)
def test_a_wrong_value_is_refused_by_all_ranks(refuse, name):
    override, says = OVERRIDES[name]
    refuse("train", "run.toml", "--set", override, says=says, ranks=3)


def spoil(path: Path, array: str, position: Any, value: Any) -> None:
    """Change an array of a file and its checksum, as if the file had been written so."""
    with h5py.File(path, "a", libver=LIBRARY_VERSIONS) as file:
        file[array][position] = value
        file[array].attrs[WORD_SUM] = word_sum(file[array][:])


@pytest.mark.parametrize("ranks", RANKS)
def test_a_damaged_or_foreign_data_set_is_refused(workplace, refuse, ranks):
    path = workplace / "data.h5"
    whole = path.read_bytes()

    spoil(path, "train/labels", 200, 3)
    refuse("train", "run.toml", says=("data.h5: train/labels[200] = 3: must be >= 0 and < 3",), ranks=ranks)
    path.write_bytes(whole)
    spoil(path, "test/labels", 0, -1)
    refuse("train", "run.toml", says=("data.h5: test/labels[0] = -1: must be >= 0",))
    path.write_bytes(whole)
    spoil(path, "train/features", (300, 7), np.nan)
    refuse("train", "run.toml", says=("data.h5: train/features[300, 7] = nan: must be finite",))
    path.write_bytes(whole)
    with h5py.File(path, "a", libver=LIBRARY_VERSIONS) as file:
        file["test/features"][5, 5] += 1
    refuse("train", "run.toml", says=("data.h5: test/features: damaged",), ranks=ranks)
    path.write_bytes(whole[: len(whole) // 2])
    refuse("train", "run.toml", says=("data.h5", "truncated"))
    path.write_text("a,b,c\n1,2,3\n")
    refuse("train", "run.toml", says=("data.h5: is not an HDF5 file",))
    path.unlink()
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(3)
    refuse("train", "run.toml", says=("data.h5: superblock: version 0: expected 3: not a file of hpc_sparse",))


@pytest.mark.parametrize("ranks", RANKS)
def test_an_output_that_cannot_be_written_or_is_in_use_is_refused(workplace, refuse, ranks):
    (workplace / "file").write_text("kept")
    outputs = [
        ("/proc/run", "/proc/run: cannot write the run folder"),
        ("file", "file is not a folder"),
        ("x" * 300, "File name too long"),
        ("file/run", "file is not a folder"),
    ]
    for output, reason in some(outputs, ranks):
        refuse("train", "run.toml", "--output", output, says=(reason,), ranks=ranks)
    for left in some(["config.toml", "metrics.jsonl", "checkpoints", "summary.json"], ranks):
        shutil.rmtree(workplace / "run", ignore_errors=True)
        (workplace / "run").mkdir()
        (workplace / "run" / left).write_text("kept")
        says = ("run: holds a run already; choose another --output, or continue it with --resume auto",)
        refuse("train", "run.toml", "--output", "run", says=says, ranks=ranks)


def test_more_ranks_than_cores_are_refused_unless_allowed(workplace, refuse, run):
    # On one core of a machine that may have a hundred: those that ranks may run on count, as in a container.
    core = min(os.sched_getaffinity(0))
    start = {"ranks": 2, "command": ("taskset", "-c", str(core), HPC_SPARSE)}
    never = ("--set", "runtime.oversubscribe=false")
    says = ("2 ranks on a node with 1 core: expected", "--set runtime.oversubscribe=true")
    refuse("train", "run.toml", *never, says=says, **start)
    run("train", "run.toml", "--set", "training.epochs=1", cwd=workplace, **start)


def test_the_parallel_back_end_without_mpi_is_refused(refuse):
    says = ('HDF5 back end = "mpio": MPI is not started; start with mpirun',)
    refuse("train", "run.toml", "--set", "runtime.hdf5=mpio", says=says)


@pytest.fixture
def other_data(trained: Path, write_small_data: Callable[..., Path]) -> None:
    """Data sets of other features and of other classes beside a run."""
    write_small_data(trained / "classes.h5", n_classes=4)
    with h5py.File(trained / "data.h5", "r") as old, open_new(trained / "narrow.h5") as new:
        copy_with_fewer_features(old, new)


def open_new(path: Path) -> h5py.File:
    """A file in the layout that containers have."""
    return h5py.File(path, "w", libver=LIBRARY_VERSIONS)


def copy_with_fewer_features(old: h5py.File, new: h5py.File) -> None:
    new.attrs.update(old.attrs)
    new.attrs["n_features"] = OTHER_FEATURES
    names: list[str] = []
    old.visit(names.append)
    for name in names:
        if isinstance(old[name], h5py.Dataset):
            is_cut = name.endswith(("features", "mean", "deviation"))
            new[name] = old[name][..., :OTHER_FEATURES] if is_cut else old[name][()]
            new[name].attrs[WORD_SUM] = word_sum(new[name][()])
        else:
            new.require_group(name).attrs.update(old[name].attrs)


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.usefixtures("other_data")
def test_a_data_set_that_does_not_fit_the_network_is_refused(refuse, ranks):
    checkpoint = "run/checkpoints/checkpoint-000002.h5"
    narrow = ("narrow.h5: 12 features, but the network in", "checkpoint-000002.h5 has 30 inputs")
    classes = ("classes.h5: 4 classes, but the network in", "checkpoint-000002.h5 has 3 outputs")
    go_on = ("--output", "run", "--resume", "auto", "--set", "training.epochs=3")
    refuse("evaluate", checkpoint, "narrow.h5", says=narrow, ranks=ranks)
    refuse("evaluate", checkpoint, "classes.h5", says=classes)
    refuse("train", "run.toml", *go_on, "--set", "data.path=narrow.h5", says=narrow)
    refuse("train", "run.toml", *go_on, "--set", "data.path=classes.h5", says=classes, ranks=ranks)


@pytest.mark.parametrize("ranks", RANKS)
def test_a_checkpoint_that_does_not_fit_is_refused(trained, refuse, ranks):
    checkpoint = "run/checkpoints/checkpoint-000002.h5"
    (trained / "cut.h5").write_bytes((trained / checkpoint).read_bytes()[:-100])
    cases = [
        (("--resume", "cut.h5"), ("cut.h5", "truncated")),
        (("--resume", "nowhere.h5"), ("--resume nowhere.h5: no such checkpoint",)),
        (("--resume", "run.toml"), ("run.toml: is not an HDF5 file",)),
        (("--resume", "data.h5"), ('data.h5: format = "hpc_sparse.dataset": expected "hpc_sparse.checkpoint"',)),
        (("--resume", checkpoint, "--set", "network.hidden=[9]"), ("network.hidden = (9,): ", "(24, 17)")),
        (("--resume", checkpoint, "--set", "training.seed=1"), ("training.seed = 1: ",)),
        (("--resume", checkpoint, "--set", "training.epochs=1"), ("training.epochs = 1: ", "2 epochs behind it")),
    ]
    for options, says in some(cases, ranks):
        refuse("train", "run.toml", "--output", "new", *options, says=says, ranks=ranks)
    refuse("evaluate", "data.h5", "data.h5", says=('expected "hpc_sparse.checkpoint"',))
    refuse("evaluate", checkpoint, checkpoint, says=('expected "hpc_sparse.dataset"',), ranks=ranks)
    refuse("info", "run.toml", says=("run.toml: is not an HDF5 file",))
    assert not (trained / "new").exists()


def test_a_history_that_does_not_belong_to_the_checkpoint_is_refused(trained, refuse):
    (trained / "run/metrics.jsonl").write_text('{"epoch": 1}\n')
    go_on = ("train", "run.toml", "--output", "run", "--resume", "auto", "--set", "training.epochs=3")
    refuse(*go_on, says=("metrics.jsonl, line 1: not the metrics of an epoch",))


@pytest.mark.parametrize("topology", ["shared", "independent"])
@pytest.mark.parametrize("ranks", RANKS)
def test_a_diverging_run_ends_with_exit_code_3(workplace, run, ranks, topology):
    result = run(
        *("train", "run.toml", "--output", "run", "--set", "optimizer.learning_rate=1e30"),
        *("--set", f"parallel.replica_topology={topology}", "--set", "parallel.sync_every_steps=2"),
        cwd=workplace,
        ranks=ranks,
        code=3,
    )
    assert "Traceback" not in result.stderr
    assert "training diverged" in result.stderr
    assert "lower optimizer.learning_rate" in result.stderr
    # The run itself, not its preparation.
    assert "small dense: 30 - 24 - 17 - 3" in result.stdout


@pytest.mark.parametrize("ranks", RANKS)
def test_wrong_data_to_import_are_refused(workplace, refuse, ranks):
    np.savez(workplace / "nan.npz", x=np.array([[1.0, np.nan], [1, 2]]), y=np.array([0, 1]))
    (workplace / "text.npz").write_text("text")
    for source, says in (
        ("nan.npz", ("nan.npz: x[0, 1] = nan: must be finite",)),
        ("text.npz", ("text.npz: cannot be read as an .npz archive",)),
        ("nowhere.npz", ("nowhere.npz: cannot be read",)),
    ):
        refuse("data", "import", "npz", source, "new.h5", says=says)
    refuse("data", "import", "idx", ".", "new.h5", says=("train-images",))
    np.savez(workplace / "good.npz", x=np.eye(4, dtype=np.float32), y=np.array([0, 1, 0, 1]))
    says = ("new.h5: time_steps = 5: expected a divisor of the 4 features",)
    refuse("data", "import", "npz", "good.npz", "new.h5", "--time-steps", "5", says=says)
    sequences = [np.zeros((n, 2), np.float32) for n in (3, 5, 5, 2)]
    tokens = np.array([[0, 1, 2], [1, 1, 5]] * 2)
    for name, x, says in (
        ("unequal", np.array(sequences, object), "unequal.npz: x.npy: holds pickled objects"),
        ("tokens", tokens, "tokens.npz: x[1, 2] = 5: must be >= 0 and < 3, one of the vocabulary"),
    ):
        np.savez(workplace / f"{name}.npz", x=x, y=np.array([0, 1, 0, 1]), vocabulary=["a", "b", "c"])
        refuse("data", "import", "npz", f"{name}.npz", "new.h5", says=(says,))
    says = ("data.h5: exists already and is not overwritten without --overwrite",)
    refuse("data", "import", "npz", "good.npz", "data.h5", says=says, ranks=ranks)


def test_a_text_that_begins_with_an_unknown_character_is_refused(workplace, run):
    (workplace / "text.txt").write_text("abcab" * 60)
    run("data", "import", "text", "text.txt", "data.h5", "--time-steps", "5", "--overwrite", cwd=workplace)
    layer = 'network.layers=[{kind="recurrent", n=4, output="all"}]'
    run("train", "run.toml", "--output", "run", "--set", layer, "--set", "training.epochs=1", cwd=workplace)
    generate = ("model", "generate", "run/checkpoints/checkpoint-000001.h5")
    assert len(run(*generate, "abc", "--length", "4", cwd=workplace).stdout.rstrip("\n")) == 7
    for text, said in (("abd", "character 2 of the text to begin with, 'd': not in"), ("", "has no character")):
        result = run(*generate, text, cwd=workplace, code=2)
        assert said in result.stderr
        assert (result.stderr.count("hpc-sparse: "), result.stdout) == (1, "")


def test_wrong_arguments_are_refused_with_the_usage(workplace, run):
    for arguments in ([], ["train"], ["trian", "run.toml"], ["train", "run.toml", "--nonsense"], ["info"]):
        result = run(*arguments, cwd=workplace, code=2)
        assert "Usage: " in result.stdout + result.stderr
        assert "Traceback" not in result.stderr
