"""A job across a network: two network namespaces as two hosts, joined by a cable of their own, the second by ssh."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest
from mpirun import on_ranks

from hpc_sparse.monitor.metrics import CLOCK_FIELDS

ROOT = Path(__file__).resolve().parents[2]
TOOLS = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
NEEDED = ("ip", "unshare", "sshd", "ssh", "ssh-keygen")
SUBNET = "10.219.77.0/24"
ADDRESSES = ("10.219.77.1", "10.219.77.2")
PORT = 2222
PATIENCE_SECONDS = 30
PRIVILEGE_FOLDER = Path("/run/sshd")
"""Without it, sshd does not start."""

SSHD_CONFIG = """
ListenAddress {address}
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
UsePAM no
PasswordAuthentication no
StrictModes no
PermitRootLogin prohibit-password
"""

ON_BOTH = ("--host", ",".join(f"{address}:1" for address in ADDRESSES))
NAMED = 'hostname "$0" && exec "$@"'
"""With its arguments: the name of the host, then the command."""


class TwoHosts:
    """Two namespaces of network and host name, which go with all their processes; everything else they share.

    Parameters
    ----------
    folder : Path
        For keys and settings.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.names = tuple(f"hs-{os.getpid()}-{letter}" for letter in "ab")
        self._cables = tuple(f"hs{os.getpid()}{letter}" for letter in "ab")
        self._sshd: subprocess.Popen[bytes] | None = None
        self._made_privilege_folder = False

    def start(self) -> None:
        """Lay the cable and start the ssh server of the second host."""
        for name in self.names:
            tool("ip", "netns", "add", name)
        ends = [["name", cable, "netns", name] for cable, name in zip(self._cables, self.names, strict=True)]
        tool("ip", "link", "add", *ends[0], "type", "veth", "peer", *ends[1])
        for name, cable, address in zip(self.names, self._cables, ADDRESSES, strict=True):
            tool("ip", "-n", name, "address", "add", f"{address}/24", "dev", cable)
            for device in (cable, "lo"):
                tool("ip", "-n", name, "link", "set", device, "up")
        self._start_sshd()

    def stop(self) -> None:
        """End every process on either host, then remove both."""
        if self._sshd is not None:
            self._sshd.terminate()
            self._sshd.wait(PATIENCE_SECONDS)
        existing = tool("ip", "netns", "list").split()
        for name in self.names:
            if name in existing:
                for process in tool("ip", "netns", "pids", name).split():
                    os.kill(int(process), signal.SIGKILL)
                tool("ip", "netns", "delete", name)
        if self._made_privilege_folder:
            PRIVILEGE_FOLDER.rmdir()

    def on_both(self, command: str) -> list[str]:
        """What a command line begins with that is to run with a rank on each host."""
        return [*self._on(0), "bash", "-c", NAMED, self.names[0], *on_ranks(2, [command], *ON_BOTH)]

    @property
    def settings(self) -> dict[str, str]:
        """Open MPI's, versions 4 and 5: everything through the cable, nothing through shared memory."""
        options = {
            "IdentityFile": self._folder / "user_key",
            "UserKnownHostsFile": self._folder / "known_hosts",
            "StrictHostKeyChecking": "no",
            "LogLevel": "ERROR",
        }
        agent = " ".join(["ssh", "-p", str(PORT), *(f"-o {name}={value}" for name, value in options.items())])
        return {
            "OMPI_MCA_plm_rsh_agent": agent,
            "PRTE_MCA_plm_ssh_agent": agent,
            "OMPI_MCA_btl": "tcp,self",
            "OMPI_MCA_btl_tcp_if_include": SUBNET,
            "OMPI_MCA_oob_tcp_if_include": SUBNET,
            "PRTE_MCA_prte_if_include": SUBNET,
        }

    def received_bytes(self) -> int:
        """What has come to the first host through the cable."""
        shown = tool("ip", "-n", self.names[0], "-s", "-j", "link", "show", "dev", self._cables[0])
        return int(json.loads(shown)[0]["stats64"]["rx"]["bytes"])

    def _on(self, host: int) -> list[str]:
        return ["ip", "netns", "exec", self.names[host], "unshare", "--uts"]

    def _start_sshd(self) -> None:
        for name in ("host_key", "user_key"):
            tool("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self._folder / name)
        config = self._folder / "sshd_config"
        config.write_text(SSHD_CONFIG.format(folder=self._folder, address=ADDRESSES[1], port=PORT))
        if not PRIVILEGE_FOLDER.exists():
            PRIVILEGE_FOLDER.mkdir()
            self._made_privilege_folder = True
        sshd = shutil.which("sshd", path=TOOLS)
        log = self._folder / "sshd.log"
        line = [*self._on(1), "bash", "-c", f'hostname "$0" && exec {sshd} -D -e -f {config} 2>{log}', self.names[1]]
        self._sshd = subprocess.Popen(line, env={**os.environ, "PATH": TOOLS}, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (log.exists() and "listening" in log.read_text()):
            assert self._sshd.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "sshd does not listen"
            time.sleep(0.02)


def tool(*arguments: object) -> str:
    """What a command prints, which must succeed."""
    line = [str(argument) for argument in arguments]
    environment = {**os.environ, "PATH": TOOLS}
    process = subprocess.run(
        line, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert process.returncode == 0, f"{line}: exit code {process.returncode}\n{process.stderr}"
    return process.stdout


def refuse_or_skip(reason: str) -> None:
    """Where namespaces are not allowed the test cannot be; where all tests have to run, that is a failure."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def two_hosts() -> Iterator[TwoHosts]:
    """The hosts, for one test."""
    missing = [name for name in NEEDED if shutil.which(name, path=TOOLS) is None]
    if missing:
        pytest.fail(f"{', '.join(missing)}: not found; tools/setup --dev installs openssh-server and iproute2")
    probe = f"hs-{os.getpid()}-probe"
    try:
        tool("ip", "netns", "add", probe)
    except AssertionError as error:
        refuse_or_skip(f"network namespaces are not allowed: {error}")
    tool("ip", "netns", "delete", probe)
    # Short, and beside pytest's folders: the ssh server reads keys as whoever logs in.
    folder = Path(tempfile.mkdtemp(prefix="two-hosts-"))
    hosts = TwoHosts(folder)
    try:
        hosts.start()
        yield hosts
    finally:
        hosts.stop()
        shutil.rmtree(folder, ignore_errors=True)


def state(folder: Path) -> tuple[dict[str, bytes], list[str]]:
    """Every array of the last checkpoint, and the epochs without their times."""
    found = {}
    with h5py.File(folder / "checkpoints/checkpoint-000002.h5", "r") as file:
        file["layers"].visititems(
            lambda name, item: found.update({name: item[:].tobytes()}) if isinstance(item, h5py.Dataset) else None
        )
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return found, [str({name: value for name, value in line.items() if name not in CLOCK_FIELDS}) for line in lines]


@pytest.mark.slow
def test_a_run_on_two_hosts_is_bit_by_bit_that_on_one(workplace: Path, run, two_hosts: TwoHosts) -> None:
    # Threads are given: a host for itself has more cores for a rank than half of one.
    arguments = ("--set", "parallel.sync_every_steps=2", "--set", "runtime.threads=1")
    run("train", "run.toml", *arguments, "--output", "one", cwd=workplace, ranks=2)
    hpc_sparse = shutil.which("hpc-sparse", path=str(Path(sys.executable).parent))
    before = two_hosts.received_bytes()
    result = run(
        *("train", "run.toml", *arguments, "--output", "two"),
        command=two_hosts.on_both(hpc_sparse),
        cwd=workplace,
        **two_hosts.settings,
    )
    assert "2 ranks x 1 thread" in result.stdout
    one, two = state(workplace / "one"), state(workplace / "two")
    assert one == two
    assert len(one[0]) == 3 * 6
    lines = (workplace / "two/metrics.jsonl").read_text().splitlines()
    n_sync_bytes = sum(json.loads(line)["sync_bytes"] for line in lines)
    assert two_hosts.received_bytes() - before > n_sync_bytes > 0
