"""Spoilt files of every kind, right checksums included, are accepted or refused: nothing else happens."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpc_sparse.errors import DataError

TOOLS = Path(__file__).parents[3] / "tools"
N_TRIALS = 250
SUBJECTS = (
    *("data set", "checkpoint", "imported HDF5", "npz archive", "idx file", "gzipped idx file", "configuration"),
    *("exported model", "dense weights", "safetensors file"),
    *("estimators", "models", "foreign weights", "analyses"),
)


@pytest.fixture(scope="module")
def trials() -> Any:
    """The module of tools/fuzz that makes trials."""
    sys.path.insert(0, str(TOOLS))
    try:
        from fuzzing import trials
    finally:
        sys.path.remove(str(TOOLS))
    return trials


def test_no_reader_dies_hangs_or_takes_memory(trials: Any) -> None:
    results = trials.run_trials(0, stop=N_TRIALS)
    assert results.failures == []
    assert sum(results.counts.values()) == N_TRIALS
    for subject in SUBJECTS:
        assert results.counts[subject, trials.REFUSED], subject
    assert sum(n for (_, outcome), n in results.counts.items() if outcome == trials.ACCEPTED) > N_TRIALS // 20


def fail_with(error: Exception) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        raise error

    return read


@pytest.mark.parametrize(
    ("read", "outcome"),
    [
        (lambda path: None, "accepted"),
        (fail_with(DataError("x.h5: wrong\nx.h5: wrong")), "refused"),
        (fail_with(DataError("x" * 3000)), "long message: "),
        (fail_with(DataError("\x1b[2J")), "message steers a terminal: "),
        (fail_with(ValueError("oops")), "raised ValueError: 'oops' at "),
        (fail_with(MemoryError()), "raised MemoryError: "),
    ],
)
def test_every_other_outcome_is_told(trials: Any, tmp_path: Path, read: Any, outcome: str) -> None:
    subject = trials.Subject("file", (b"",), (), read, "file")
    assert trials.outcome_of(subject, b"", tmp_path).startswith(outcome)


def test_a_child_that_dies_is_told_and_the_trials_go_on(
    trials: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "dying"
    program.write_text(
        "import os, sys\n"
        "first, log = int(sys.argv[2]), open(sys.argv[4], 'a')\n"
        "log.write(f'{first}\\tfile\\taccepted\\n{first + 1}\\tfile')\n"
        "log.flush()\n"
        "os.abort()\n"
    )
    monkeypatch.setattr(trials, "PROGRAM", program)
    results = trials.run_trials(0, stop=4)
    assert results.failures == ["trial 1: file: died of SIGABRT", "trial 3: file: died of SIGABRT"]
    assert results.counts["file", "accepted"] == 2


def test_checksums_are_those_of_the_format(trials: Any, golden: dict[str, Any]) -> None:
    from fuzzing.checksums import checked_blocks, lookup3

    assert lookup3(b"Four score and seven years ago") == 0x17770551
    content = golden["REDUCED"].read_bytes()
    starts = {content[start : start + 4] for start, _ in checked_blocks(content)}
    assert starts == {b"\x89HDF", b"OHDR", b"OCHK", b"FRHP", b"BTHD", b"BTLF"}
