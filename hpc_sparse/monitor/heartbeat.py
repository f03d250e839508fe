"""Heartbeats between the ranks over UDP, which does not depend on MPI.

Every rank sends its position to root, and root answers. Anybody may send to an open port: a datagram counts only with
the right length, the run's secret token and an existing rank.
"""

from __future__ import annotations

import fcntl
import hmac
import secrets
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass

from hpc_sparse.monitor.position import Phase, Position

LOOPBACK = "127.0.0.1"
TOKEN_BYTES = 16
N_FAREWELLS = 3
"""A rank that leaves says so several times, as a datagram may be lost."""

_DATAGRAM = struct.Struct(f"!{TOKEN_BYTES}s?iqBqq")
_INTERFACE_REQUEST = struct.Struct("256s")
_SIOCGIFADDR = 0x8915
_ADDRESS_IN_ANSWER = slice(20, 24)


@dataclass(frozen=True)
class Heartbeat:
    """Heartbeat of a rank: its position; the last one says that it has left."""

    rank: int
    position: Position
    has_left: bool = False


@dataclass(frozen=True)
class Meeting:
    """Address at which root listens, and the secret token of every datagram."""

    token: bytes
    port: int
    addresses: tuple[str, ...]


class RootEnd:
    """Root's socket: hears every rank and answers.

    Parameters
    ----------
    is_one_node : bool
        All ranks are on this machine: nobody else can reach the port.
    """

    def __init__(self, n_ranks: int, *, is_one_node: bool) -> None:
        self._n_ranks = n_ranks
        self._socket = _open_socket(LOOPBACK if is_one_node else "")
        addresses = (LOOPBACK,) if is_one_node else _own_addresses(self._socket)
        self.meeting = Meeting(secrets.token_bytes(TOKEN_BYTES), self._socket.getsockname()[1], addresses)
        self._known: dict[int, tuple[str, int]] = {}

    def exchange(self, own: Heartbeat) -> list[Heartbeat]:
        """Answer the ranks heard so far; returns the heartbeats that have come since the last time."""
        found = []
        while (datagram := _receive(self._socket)) is not None:
            heartbeat = _unpack(datagram[0], self.meeting.token, self._n_ranks)
            if heartbeat is not None and heartbeat.rank:
                self._known[heartbeat.rank] = datagram[1]
                found.append(heartbeat)
        for address in self._known.values():
            _send(self._socket, _pack(own, self.meeting.token), address)
        return found

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class RankEnd:
    """The socket of another rank: tells root, hears root."""

    def __init__(self, meeting: Meeting) -> None:
        self._meeting = meeting
        self._socket = _open_socket(LOOPBACK if meeting.addresses == (LOOPBACK,) else "")

    def exchange(self, own: Heartbeat) -> list[Heartbeat]:
        """Tell root; returns root's heartbeats that have come since the last time."""
        for address in self._meeting.addresses:
            _send(self._socket, _pack(own, self._meeting.token), (address, self._meeting.port))
        found = []
        while (datagram := _receive(self._socket)) is not None:
            heartbeat = _unpack(datagram[0], self._meeting.token, 1)
            if heartbeat is not None:
                found.append(heartbeat)
        return found

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _open_socket(address: str) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind((address, 0))
    opened.setblocking(False)
    return opened


def _own_addresses(opened: socket.socket) -> tuple[str, ...]:
    """The IPv4 addresses of this machine that others may reach."""
    found = []
    for _, name in socket.if_nameindex():
        with suppress(OSError):
            answer = fcntl.ioctl(opened.fileno(), _SIOCGIFADDR, _INTERFACE_REQUEST.pack(name.encode()))
            found.append(socket.inet_ntoa(answer[_ADDRESS_IN_ANSWER]))
    return tuple(address for address in found if not address.startswith("127."))


def _receive(opened: socket.socket) -> tuple[bytes, tuple[str, int]] | None:
    # A network that fails for a while is not told from a rank that does: both are silence.
    with suppress(OSError):
        return opened.recvfrom(_DATAGRAM.size + 1)
    return None


def _send(opened: socket.socket, data: bytes, address: tuple[str, int]) -> None:
    with suppress(OSError):
        opened.sendto(data, address)


def _pack(heartbeat: Heartbeat, token: bytes) -> bytes:
    position = heartbeat.position
    return _DATAGRAM.pack(
        token, heartbeat.has_left, heartbeat.rank, position.number, position.phase, position.epoch, position.step
    )


def _unpack(data: bytes, token: bytes, n_ranks: int) -> Heartbeat | None:
    """The heartbeat in a datagram, or None if it is not one of this run's."""
    if len(data) != _DATAGRAM.size:
        return None
    found, has_left, rank, number, phase, epoch, step = _DATAGRAM.unpack(data)
    if not hmac.compare_digest(found, token) or not 0 <= rank < n_ranks or phase not in set(Phase):
        return None
    return Heartbeat(rank, Position(number, Phase(phase), epoch, step), has_left)
