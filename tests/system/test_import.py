"""Data of other formats become data sets that train, alone and on two ranks; bad input ends with one message."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HPC_SPARSE = str(Path(sys.executable).with_name("hpc-sparse"))
ROWS = "".join(f"{n / 10},{['red', 'blue', 'green'][n % 3]},{n % 2}\n" for n in range(60))

MEASURE = """
import json, resource, subprocess, sys
shown = subprocess.run(sys.argv[1:], capture_output=True, text=True, check=True).stdout
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([shown, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024]))
"""

CONFIG = """
[data]
path = "table.h5"
[network]
hidden = [12]
epsilon = 4
[training]
epochs = 1
batch_size = 8
[runtime]
oversubscribe = true
"""


@pytest.mark.parametrize("ranks", [None, 2])
def test_a_table_is_imported_described_and_trained_on(run, tmp_path, ranks):
    (tmp_path / "table.csv").write_text("size,colour,kind\n" + ROWS)
    (tmp_path / "run.toml").write_text(CONFIG)
    shown = run(
        *(
            "data",
            "import",
            "csv",
            "table.csv",
            "table.h5",
            "--label",
            "-1",
            "--test-fraction",
            "0.25",
            "--no-stratify",
        ),
        cwd=tmp_path,
        ranks=ranks,
    )
    assert shown.stderr == ""
    assert "one-hot: colour (3)" in shown.stdout
    told = json.loads(run("info", "table.h5", "--json", cwd=tmp_path).stdout)
    assert (told["n_train"], told["n_test"], told["n_features"], told["class_names"]) == (45, 15, 4, ["0", "1"])
    assert told["statistics"]["has_feature_names"] is True
    assert told["statistics"]["share_of_zeros"] == pytest.approx(0.5, abs=0.02)
    assert "test accuracy" in run("train", "run.toml", cwd=tmp_path, ranks=ranks).stdout


@pytest.mark.parametrize("ranks", [None, 2])
def test_bad_input_ends_with_one_message_and_nothing_written(run, tmp_path, ranks):
    (tmp_path / "ragged.csv").write_text("a,b,y\n1,2,x\n3,y\n")
    result = run("data", "import", "csv", "ragged.csv", "new.h5", cwd=tmp_path, ranks=ranks, code=2)
    assert "hpc-sparse: ragged.csv: line 3: 2 cells: expected 3, as in the first line\n" in result.stderr
    assert "Traceback" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["ragged.csv"]


@pytest.mark.parametrize("ranks", [None, 2])
def test_a_wrong_graph_ends_with_one_message_and_nothing_written(run, tmp_path, ranks):
    edges, features = np.array([[0, 1], [1, 7]]), np.ones((4, 2), np.float32)
    np.savez(tmp_path / "graph.npz", edges=edges, x=features, y=np.array([0, 1, 0, 1]))
    command = ("data", "import", "graph", "graph.npz", "new.h5")
    for options, message in (
        ((), "hpc-sparse: graph.npz: edge 1: (1, 7): there is no node 7: must be >= 0 and < 4, the number of nodes\n"),
        (("--hops", "0"), "hpc-sparse: hops = 0: must be at least 1 and at most 1000\n"),
    ):
        result = run(*command, *options, cwd=tmp_path, ranks=ranks, code=2)
        assert message in result.stderr
        assert "Traceback" not in result.stderr
    told = json.loads(run(*command, "--plan", "--json", cwd=tmp_path).stdout)
    assert told["nodes"] == 4
    assert [path.name for path in tmp_path.iterdir()] == ["graph.npz"]


def measured_import(table: Path, text: bytes) -> tuple[str, float, int]:
    """Import a table: what is shown, seconds of the processor, and the most memory."""
    table.write_bytes(text)
    # A process of its own in between: memory is counted from the fork on, and this process may be large.
    measured = subprocess.run(
        [sys.executable, "-c", MEASURE, HPC_SPARSE, "data", "import", "csv", table, table.with_suffix(".h5")],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    shown, cpu_seconds, peak_bytes = json.loads(measured.stdout)
    return shown, cpu_seconds, peak_bytes


@pytest.mark.slow
def test_a_large_table_is_imported_in_little_time_and_memory(real_data, tmp_path):
    with gzip.open(real_data / "kddcup.data_10_percent.gz") as file:
        text = file.read()
    shown, cpu_seconds, peak_bytes = measured_import(tmp_path / "kdd.csv", text)
    # The program itself takes several times what the table does: a small one tells how much.
    few_rows = text[: text.index(b"\n", len(text) // 100) + 1]
    _, _, peak_of_few = measured_import(tmp_path / "few.csv", few_rows)
    for line in (
        "n train             395217",
        "n test              98804",
        "n features          118",
        "n classes           23",
    ):
        assert line in shown
    assert cpu_seconds < 20
    assert peak_bytes < 4 * len(text)
    assert peak_bytes - peak_of_few < len(text)
