"""The benchmark of other programs: what they are given to train, and whose word is taken for the time."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

TOOLS = Path(__file__).parents[3] / "tools"
WIDTHS = [7, 13, 9, 3]
N_STEPS = 3
REPORTED = 0.125
# Writes down what it was given and prints what the real program prints for the options used.
PROGRAM = f"""#!{sys.executable}
import json, os, shutil, sys
import numpy as np
options = dict(word[2:].split("=", 1) for word in sys.argv[1:] if "=" in word)
flags = [word for word in sys.argv[1:] if "=" not in word]
folder = os.path.dirname(__file__)
for kind in ("dataset", "weights"):
    shutil.copy(options["load-" + kind], os.path.join(folder, kind + ".npz"))
threads = {{key: os.environ[key] for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}}
json.dump({{"options": options, "flags": flags, "threads": threads}}, open(os.path.join(folder, "given.json"), "w"))
sizes = [int(size) for size in options["layer-sizes"].split(";")]
layers = []
for before, after, density in zip(sizes, sizes[1:], options["densities"].split(";")):
    n, most = round(float(density) * before * after), before * after
    layers.append(f"{{n}}/{{most}} ({{100 * n / most:.3f}}%)" if n < most else f"{{most}}/{{most}} (100%)")
print("Loading dataset from file", options["load-dataset"])
print("=== Nerva c++ model ===")
print("Sparse(input_size=7, output_size=13, density=0.5, optimizer=Momentum(0.90000), activation=AllReLU(-0.6))")
print("loss = SoftmaxCrossEntropyLoss()")
print("layer densities:", ", ".join(layers), end="\\n\\n")
print("epoch   0 time: 0.00000000s")
print("epoch   1 time: 7.50000000s")
print("epoch   2 time: {REPORTED:.8f}s")
print("Total training time for the 2 epochs: 7.62500000s")
"""


@pytest.fixture
def bench(monkeypatch) -> SimpleNamespace:
    """The modules of tools/bench."""
    monkeypatch.syspath_prepend(str(TOOLS))
    from benchmarks import commands, comparison, workload
    from benchmarks.peers import nerva

    return SimpleNamespace(commands=commands, comparison=comparison, workload=workload, nerva=nerva)


@pytest.fixture
def task(bench) -> Any:
    """A small network whose last layer is full and one of whose weights is 0."""
    task = bench.workload.make_workload("small", WIDTHS, 5 * bench.workload.BATCH, epsilon=2.5)
    task.network.layers[0].weight[2] = 0
    assert [layer.topology.density == 1 for layer in task.network.layers] == [False, False, True]
    return task


@pytest.fixture
def install(tmp_path, monkeypatch) -> Callable[[str], Path]:
    """Write a program and point at it."""

    def install(source: str) -> Path:
        program = tmp_path / "mlp"
        program.write_text(source)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("NERVA", str(program))
        return program

    return install


def given_to(program: Path) -> dict[str, Any]:
    given = json.loads((program.parent / "given.json").read_text())
    for kind in ("dataset", "weights"):
        with np.load(program.parent / f"{kind}.npz") as file:
            given[kind] = dict(file)
    return given


def test_nerva_is_given_the_same_network(bench, task, install):
    program = install(PROGRAM)
    bench.nerva.Trainer(task, 2).train(N_STEPS)
    given = given_to(program)
    assert given["options"]["layer-sizes"] == "7;13;9;3"
    slopes = [float(word[len("AllReLU(") : -1]) for word in given["options"]["layers"].split(";")[:-1]]
    assert slopes == pytest.approx([layer.slope for layer in task.network.layers[:-1]])
    assert given["options"]["layers"].endswith(";Linear")
    for number, layer in enumerate(task.network.layers, start=1):
        matrix, connected = given["weights"][f"W{number}"], np.zeros(layer.topology.shape, bool)
        rows = np.repeat(np.arange(connected.shape[0]), np.diff(layer.topology.indptr))
        connected[rows, layer.topology.indices] = True
        np.testing.assert_array_equal(matrix != 0, connected)
        np.testing.assert_allclose(matrix[connected], layer.weight, atol=1e-30)
        np.testing.assert_array_equal(given["weights"][f"b{number}"], layer.bias)


def test_nerva_is_given_the_same_batches_and_hyper_parameters(bench, task, install):
    program = install(PROGRAM)
    bench.nerva.Trainer(task, 2).train(N_STEPS)
    given = given_to(program)
    for step in range(N_STEPS):
        part, chosen = slice(step * 128, (step + 1) * 128), task.batch(step)
        np.testing.assert_array_equal(given["dataset"]["Xtrain"][part], task.features[chosen])
        np.testing.assert_array_equal(given["dataset"]["Ttrain"][part], task.labels[chosen])
    assert len(given["dataset"]["Ttrain"]) == N_STEPS * 128
    assert given["dataset"]["Xtrain"].dtype == np.float32
    options = {key: given["options"][key] for key in ("optimizers", "learning-rate", "batch-size", "threads", "loss")}
    assert list(options.values()) == ["Momentum(0.9)", "0.01", "128", "2", "SoftmaxCrossEntropy"]
    assert set(given["flags"]) == {"--no-shuffle", "--no-statistics"}
    assert set(given["threads"].values()) == {"2"}


def test_another_number_of_steps_is_another_epoch(bench, task, install):
    program = install(PROGRAM)
    trainer = bench.nerva.Trainer(task, 1)
    for n_steps in (2, 1, 2):
        trainer.train(n_steps)
        assert len(given_to(program)["dataset"]["Ttrain"]) == n_steps * 128


def test_the_time_is_the_last_epochs_by_the_programs_own_clock(bench, task, install, monkeypatch, capsys):
    install(PROGRAM)
    monkeypatch.setitem(bench.comparison.WORKLOADS, "small", lambda: task)
    monkeypatch.setattr(bench.comparison, "LEAST_SECONDS", 0.0)  # the program takes the same time for any work
    bench.comparison.compare_peers("small", 1, 2, N_STEPS, ("nerva", "scipy_csr"), as_json=True)
    shown = json.loads(capsys.readouterr().out)
    nerva, scipy_csr = shown["rows"]
    assert [nerva["peer"], scipy_csr["peer"]] == ["nerva", "scipy_csr"]
    assert [nerva[key] for key in ("s per epoch", "least", "most")] == pytest.approx([REPORTED * 5 / N_STEPS] * 3)
    assert 0 < scipy_csr["least"] != nerva["least"]
    assert any(note.startswith("nerva: without dropout") for note in shown["notes"])


@pytest.mark.parametrize(
    ("named", "said"),
    [("", "NERVA is not set to the program mlp"), ("no/such", "NERVA = no/such: not a program")],
)
def test_nerva_is_left_out_by_name_where_there_is_none(bench, task, monkeypatch, capsys, named, said):
    monkeypatch.setenv("NERVA", named)
    monkeypatch.setitem(bench.comparison.WORKLOADS, "small", lambda: task)
    bench.comparison.compare_peers("small", 1, 1, 1, ("nerva", "scipy_csr"), as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert [row["peer"] for row in shown["rows"]] == ["scipy_csr"]
    assert any(note.startswith(f"left out: nerva ({said}") for note in shown["notes"])


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (PROGRAM + "print('Error: NaN', file=sys.stderr)\nsys.exit(3)\n", "exit code 3 and 2 epochs.*Error: NaN"),
        (PROGRAM.replace("epoch   2", "turn    2"), "exit code 0 and 1 epochs, expected 0 and 2"),
        (PROGRAM.replace("n, most = round", "n, most = 1 + round"), r"it trained \[\d+, \d+, 27\] connections"),
    ],
)
def test_a_program_that_does_something_else_is_an_error(bench, task, install, source, said):
    from hpc_sparse.errors import MachineError

    install(source)
    with pytest.raises(MachineError, match=said):
        bench.nerva.Trainer(task, 1).train(N_STEPS)


def test_the_option_and_the_variable_name_the_program(bench, monkeypatch):
    monkeypatch.setenv("NERVA", "/opt/nerva/mlp")
    named = []
    monkeypatch.setattr(bench.comparison, "compare_peers", lambda *_, **__: named.append(os.environ["NERVA"]))
    for arguments in ([], ["--nerva", "elsewhere/mlp"]):
        result = CliRunner().invoke(bench.commands.app, ["peers", *arguments], catch_exceptions=False)
        assert result.exit_code == 0
    assert named == ["/opt/nerva/mlp", "elsewhere/mlp"]


def test_ours_starts_last_and_is_shown_first(bench, task, monkeypatch, capsys):
    started = []

    class Idle:
        def __init__(self, name: str) -> None:
            started.append(name)

        def train(self, n_steps: int) -> None:
            pass

    monkeypatch.setattr(bench.comparison.peers, "load", lambda name: lambda task, n_threads: Idle(name))
    monkeypatch.setitem(bench.comparison.WORKLOADS, "small", lambda: task)
    bench.comparison.compare_peers("small", 1, 1, 1, ("ours", "nerva", "scipy_csr"), as_json=True)
    assert started == ["nerva", "scipy_csr", "ours"]
    assert [row["peer"] for row in json.loads(capsys.readouterr().out)["rows"]] == ["ours", "nerva", "scipy_csr"]


def test_every_peer_has_its_file(bench):
    files = {path.stem for path in (TOOLS / "benchmarks" / "peers").glob("*.py")} - {"__init__", "torch_steps"}
    assert files == set(bench.comparison.peers.NAMES)


def test_predictions_are_compared_before_they_are_timed(bench, task, monkeypatch):
    from benchmarks import inference_speed, predictors

    monkeypatch.setitem(bench.comparison.WORKLOADS, "fashion-mnist", lambda: task)
    monkeypatch.setattr(inference_speed, "N_SINGLE", 2)
    arguments = ["inference", "--rounds", "1", "--threads", "1", "--json"]
    result = CliRunner().invoke(bench.commands.app, arguments)
    assert result.exit_code == 0, result.output
    rows = {row["library"]: row for row in json.loads(result.output)["rows"]}
    assert {"ours", "scipy_csr"} <= set(rows)
    assert all(row["samples per ms"] > 0 for row in rows.values())
    wrong = lambda network, n_threads: lambda X: np.ones((len(X), 3), np.float32)  # noqa: E731
    monkeypatch.setitem(predictors.PREDICTORS, "scipy_csr", wrong)
    failed = CliRunner().invoke(bench.commands.app, arguments)
    assert isinstance(failed.exception, AssertionError)
