"""Make one link of a job slow: pace the TCP connections between two of its processes, in the kernel."""

import os
import socket
from collections.abc import Iterable
from pathlib import Path

__all__ = ["SO_MAX_PACING_RATE", "connections", "pace"]

SO_MAX_PACING_RATE = 47
"""Linux: most bytes per second that a socket sends; needs no rights."""
OPEN_FILES = Path("/proc/self/fd")
Connection = tuple[str, str]
"""This end and the other, as ``host:port``."""


def connections() -> list[Connection]:
    """List the TCP connections of this process.

    Returns
    -------
    list of (str, str)
        This end and the other of each.
    """
    found = []
    for number in _sockets():
        with socket.socket(fileno=os.dup(number)) as held:
            ends = _ends(held)
            if ends is not None:
                found.append(ends)
    return found


def pace(peer_ends: Iterable[str], bytes_per_s: int) -> int:
    """Limit what this process sends over the connections to another one.

    Parameters
    ----------
    peer_ends : iterable of str
        Ends of connections on the other side.
    bytes_per_s : int
        Most bytes per second over each; 0 for no limit.

    Returns
    -------
    int
        Connections that were limited.
    """
    theirs, n = set(peer_ends), 0
    rate = bytes_per_s.to_bytes(8, "little") if bytes_per_s else b"\xff" * 8
    for number in _sockets():
        with socket.socket(fileno=os.dup(number)) as held:
            ends = _ends(held)
            if ends is not None and ends[1] in theirs:
                held.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, rate)
                n += 1
    return n


def _sockets() -> list[int]:
    """Open files of this process that are sockets."""
    found = []
    for entry in sorted(OPEN_FILES.iterdir()):
        try:
            if entry.readlink().name.startswith("socket:"):
                found.append(int(entry.name))
        except OSError:
            continue  # closed meanwhile, such as the one that lists the folder
    return found


def _ends(held: socket.socket) -> Connection | None:
    """Both ends of a connected TCP socket; None for others."""
    if held.family not in {socket.AF_INET, socket.AF_INET6} or held.type != socket.SOCK_STREAM:
        return None
    try:
        own, other = held.getsockname(), held.getpeername()
    except OSError:
        return None
    return f"{own[0]}:{own[1]}", f"{other[0]}:{other[1]}"
