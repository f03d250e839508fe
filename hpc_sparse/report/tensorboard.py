"""The metrics of runs as event files, which TensorBoard shows; also of runs that are under way."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from textwrap import indent

from tensorboardX import RecordWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.summary import text

from hpc_sparse.errors import OutputError
from hpc_sparse.monitor.metrics import EpochMetrics
from hpc_sparse.report.stored_run import StoredRun, read_runs

FILE_VERSION = "brain.Event:2"
"""The first event of a file says this."""

NAME = "events.out.tfevents.{seconds}.hpc_sparse"
"""TensorBoard asks for the middle part, and reads the files of a folder in the order of their names."""

SECONDS_BETWEEN_LOOKS = 5.0
"""At runs that are under way."""

TAGS = {
    "train_loss": "loss/train",
    "test_loss": "loss/test",
    "train_accuracy": "accuracy/train",
    "test_accuracy": "accuracy/test",
    "validation_loss": "loss/validation",
    "validation_accuracy": "accuracy/validation",
    "n_connections": "topology/connections",
    "n_neurons": "topology/neurons",
    "connections_changed": "topology/connections changed",
    "train_seconds": "seconds/train",
    "evolve_seconds": "seconds/evolve",
    "sync_seconds": "seconds/sync",
    "evaluate_seconds": "seconds/evaluate",
    "learning_rate": "training/learning rate",
    "phase": "training/phase",
    "sync_bytes": "parallel/bytes sent",
    "n_discarded": "parallel/gradients discarded",
    "wait_share": "parallel/share of time that workers wait",
}
"""Names of the metrics; TensorBoard shows those with the same first part together."""


@dataclass(frozen=True)
class EventsRequest:
    """Request for event files.

    Attributes
    ----------
    runs : tuple of Path
        Folders of runs.
    output : Path or None
        Gets a folder for each run; None to put each file into the folder of its run.
    overwrites : bool
        Whether event files of an earlier time are replaced.
    """

    runs: tuple[Path, ...]
    output: Path | None = None
    overwrites: bool = False


class EventFiles:
    """The event files of some runs, which grow with them; to be had from :func:`event_files`.

    Attributes
    ----------
    paths : list of Path
        One per run.
    """

    def __init__(self, request: EventsRequest, paths: list[Path], writers: Sequence[RecordWriter]) -> None:
        self.paths = paths
        self._request, self._writers, self._n_epochs = request, writers, [0] * len(paths)

    def update(self) -> bool:
        """Add the epochs that have become complete; returns whether all runs are over.

        Raises
        ------
        InputError
            A run is no longer what it should be, or a file cannot be written.
        """
        runs = read_runs(self._request.runs)
        for number, (run, writer) in enumerate(zip(runs, self._writers, strict=True)):
            with _output_errors(self.paths[number]):
                self._n_epochs[number] = _add_epochs(writer, run, self._n_epochs[number])
        return all(run.summary for run in runs)


@contextmanager
def event_files(request: EventsRequest) -> Iterator[EventFiles]:
    """Begin the event files; without epochs as yet, see :meth:`EventFiles.update`.

    Raises
    ------
    InputError
        A folder is not that of a run, has event files of ours already, or cannot be written.
    """
    runs = read_runs(request.runs)
    folders = [run.folder.path if request.output is None else request.output / run.name for run in runs]
    before = [path for folder in folders for path in sorted(folder.glob(NAME.format(seconds="*")))]
    if before and not request.overwrites:
        raise OutputError(f"{before[0]}: exists already; choose another --output, or --overwrite")
    paths = [folder / NAME.format(seconds=int(time.time())) for folder in folders]
    with ExitStack() as stack:
        writers = []
        for run, path in zip(runs, paths, strict=True):
            with _output_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                writers.append(RecordWriter(str(path.absolute())))
                stack.callback(writers[-1].close)
                _begin(writers[-1], run)
        for path in set(before) - set(paths):
            with _output_errors(path):
                path.unlink()
        yield EventFiles(request, paths, writers)


def _begin(writer: RecordWriter, run: StoredRun) -> None:
    started = run.folder.config.stat().st_mtime
    configuration = text("configuration", indent(run.config.to_toml(), "    "))  # indented: as it stands
    for event in (
        Event(wall_time=started, file_version=FILE_VERSION),
        Event(wall_time=started, step=0, summary=configuration),
    ):
        writer.write(event.SerializeToString())


def _add_epochs(writer: RecordWriter, run: StoredRun, n_before: int) -> int:
    """Write the epochs after the first ``n_before``; returns how many there are now."""
    for metrics, seconds in zip(run.history[n_before:], _end_times(run)[n_before:], strict=True):
        event = Event(wall_time=seconds, step=metrics.epoch, summary=_summary(metrics))
        writer.write(event.SerializeToString())
    writer.flush()
    return max(n_before, len(run.history))


def _summary(metrics: EpochMetrics) -> Summary:
    """The numbers of an epoch; what is none, such as the accuracy of no samples, is left out."""
    values = {TAGS[name]: value for name, value in metrics.numbers().items() if name in TAGS and math.isfinite(value)}
    return Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])


def _end_times(run: StoredRun) -> list[float]:
    """End of each epoch in seconds since 1970, counted back from the last change of the metrics."""
    if not run.history:
        return []
    last = run.folder.metrics.stat().st_mtime
    durations = [
        metrics.train_seconds + metrics.evolve_seconds + metrics.sync_seconds + metrics.evaluate_seconds
        for metrics in run.history[:0:-1]
    ]
    return list(accumulate(durations, lambda end, duration: end - duration, initial=last))[::-1]


@contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from None
