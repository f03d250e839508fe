"""A SLURM cluster of one node with two CPUs, for the time of the tests, beside whatever this machine runs."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
N_CPUS = 2
# Kernels may have to be compiled first, on a machine that has other work.
PATIENCE_SECONDS = 240
DAEMON_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
NEEDED = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel")
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}

# cred_expire: a job that was put back into the queue waits for so long. FirstJobId: folders of MPI in the system's
# temporary folder are named by it. TaskPlugin: binds without control groups, which containers have not.
SLURM_CONF = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
TmpFS={folder}/tmp
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
FirstJobId={first_job}
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
ReturnToService=2
KillWait=20
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs={n_cpus} Sockets=1 CoresPerSocket={n_cpus} State=UNKNOWN
PartitionName=tests Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class Job:
    """How a job stands.

    Attributes
    ----------
    state : str
        SLURM's word for it, such as RUNNING.
    exit_code : int
        Of the script, once that has ended.
    n_restarts : int
        How often it was put back into the queue and started again.
    """

    state: str
    exit_code: int
    n_restarts: int


class SlurmCluster:
    """The running cluster; every command is told of it by ``SLURM_CONF`` alone.

    Parameters
    ----------
    folder : Path
        Holds everything that the daemons write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Jobs get the environment of who submits them.
        bin_folder = Path(sys.executable).parent
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SLURM_")},
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{bin_folder}{os.pathsep}{DAEMON_PATH}",
            "HPC_SPARSE_JOBS": str(ROOT / "jobs"),
        }

    def run(self, *arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command of SLURM, errors among its output."""
        return subprocess.run(
            [str(argument) for argument in arguments],
            cwd=cwd,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def command(self, *arguments: object, cwd: Path | None = None, **environment: str) -> str:
        """What a command of SLURM prints, which must succeed."""
        process = self.run(*arguments, cwd=cwd, **environment)
        assert process.returncode == 0, f"{arguments}: exit code {process.returncode}\n{process.stdout}"
        return process.stdout.strip()

    def submit(
        self, script: str, *arguments: object, cwd: Path, options: Sequence[str] = (), **environment: str
    ) -> str:
        """Submit ``jobs/<script>``; gives the job's number back."""
        line = ["sbatch", "--parsable", *options, ROOT / "jobs" / script, *arguments]
        return self.command(*line, cwd=cwd, **environment).partition(";")[0]

    def job(self, number: str) -> Job:
        """How a job stands."""
        shown = self.command("scontrol", "show", "job", "-o", number)
        fields = dict(word.split("=", 1) for word in shown.splitlines()[0].split() if "=" in word)
        return Job(fields["JobState"], int(fields["ExitCode"].split(":")[0]), int(fields["Restarts"]))

    def wait(self, number: str, until: Callable[[Job], bool] = lambda job: job.state in ENDED) -> Job:
        """Wait for a job's end or what else is asked for."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not until(job := self.job(number)):
            assert time.monotonic() < deadline, f"job {number}: {job} after {PATIENCE_SECONDS} s\n{self.logs()}"
            time.sleep(0.1)
        return job

    def wait_until_idle(self) -> None:
        """Wait until no job is left, not even one that is about to end."""
        self.run("scancel", "--user", pwd.getpwuid(os.getuid()).pw_name)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.run("squeue", "--noheader").stdout:
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)

    def logs(self) -> str:
        """The ends of what the daemons have said."""
        return "\n".join(
            f"---- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-15:])
            for path in sorted(self.folder.glob("*.log"))
        )


class Daemons:
    """The processes of the cluster, which end with the tests, however those end.

    Parameters
    ----------
    cluster : SlurmCluster
    """

    def __init__(self, cluster: SlurmCluster) -> None:
        self._cluster = cluster
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *arguments: object) -> None:
        """Start one in the foreground of a session of its own; it is told to end should this process be killed."""
        with (self._cluster.folder / f"{name}.log").open("wb") as log:
            line = ["setpriv", "--pdeathsig", "TERM", name, *(str(argument) for argument in arguments)]
            self._running.append(
                subprocess.Popen(
                    line,
                    cwd=self._cluster.folder,
                    env=self._cluster.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def stop(self) -> None:
        """End those that were started, the last one first."""
        for process in reversed(self._running):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def wait_for(self, is_there: Callable[[], bool], what: str) -> None:
        """Wait until the cluster is as wanted, or fail with what the daemons said."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_there():
            dead = [str(process.args) for process in self._running if process.poll() is not None]
            if dead or time.monotonic() > deadline:
                pytest.fail(f"SLURM: {what}: not reached; ended: {dead}\n{self._cluster.logs()}")
            time.sleep(0.05)


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmCluster]:
    """The cluster; without SLURM on this machine the test fails."""
    missing = [name for name in NEEDED if shutil.which(name, path=DAEMON_PATH) is None]
    if missing:
        pytest.fail(f"{', '.join(missing)}: not found; tools/setup --dev installs the packages slurm-wlm and munge")
    # Short, because a socket's path is, and beside pytest's folders, whose parents nobody else may enter: munge minds.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    cluster = SlurmCluster(folder)
    daemons = Daemons(cluster)
    try:
        _configure(folder)
        _start(cluster, daemons)
        yield cluster
        cluster.wait_until_idle()
    finally:
        daemons.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def _leave_nothing_in_the_queue(slurm: SlurmCluster) -> Iterator[None]:
    yield
    slurm.wait_until_idle()


def _configure(folder: Path) -> None:
    for name in ("state", "spool", "tmp"):
        (folder / name).mkdir()
    controller_port, node_port = _free_ports()
    text = SLURM_CONF.format(
        folder=folder,
        host=socket.gethostname().partition(".")[0],
        user=pwd.getpwuid(os.getuid()).pw_name,
        controller_port=controller_port,
        node_port=node_port,
        first_job=1000 * controller_port,
        n_cpus=N_CPUS,
    )
    (folder / "slurm.conf").write_text(text)


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


def _start(cluster: SlurmCluster, daemons: Daemons) -> None:
    folder = cluster.folder
    cluster.command("mungekey", "--create", "--keyfile", folder / "munge.key")
    own_files = [f"--{name}-file={folder}/munged.{name}" for name in ("pid", "seed")]
    munge_socket = folder / "munge.socket"
    daemons.start("munged", "--foreground", f"--key-file={folder}/munge.key", f"--socket={munge_socket}", *own_files)
    daemons.wait_for(munge_socket.exists, "munged listens")
    daemons.start("slurmctld", "-D")
    daemons.start("slurmd", "-D")
    daemons.wait_for(
        lambda: cluster.run("sinfo", "--noheader", "--format=%T").stdout.strip() == "idle", "the node is idle"
    )
