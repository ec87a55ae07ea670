"""Messages between rank 0 and each other rank, and their answers, timed by the clocks of both.

They go by UDP beside the job's own communication, from threads of their own: what is lost costs a
handshake, never a step. Rank 0 tells its address and a token through the store of the process group.
"""

import os
import secrets
import socket
import struct
import threading
import time
from collections import defaultdict, deque
from pathlib import Path
from typing import Any

__all__ = ["HandshakeServer", "serve_handshakes", "shake_hands"]

KEY = "loadpath_handshake"
QUESTION, ANSWER = struct.Struct("<16siiqqqqq"), struct.Struct("<iqq")
"""Token, rank, number, time sent, and the four times of the exchange before; number and two times."""
N_EXCHANGE, PATIENCE_S, N_LOOKS = 16, 0.2, 50
MOST_ROWS = 256
"""Exchanges of a rank that are kept."""
MOST_FOREIGN = 10_000
"""Datagrams without the token after which the server ends: it must not keep the job busy."""
HEADER = "rank,peer,sent_ns,arrived_ns,returned_ns,received_ns"


class HandshakeServer:
    """The answering side, in a thread of rank 0.

    Parameters
    ----------
    bound : socket.socket
        UDP socket.
    token : bytes
        What a question must begin with.
    """

    def __init__(self, bound: socket.socket, token: bytes) -> None:
        self._socket, self._token = bound, token
        self._rows: dict[int, deque[tuple[int, ...]]] = defaultdict(lambda: deque(maxlen=MOST_ROWS))
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._is_open = True
        self._thread.start()

    def _answer(self) -> None:
        n_foreign = 0
        self._socket.settimeout(PATIENCE_S)
        while self._is_open and n_foreign < MOST_FOREIGN:
            try:
                data, sender = self._socket.recvfrom(QUESTION.size + 1)
                arrived = time.time_ns()
                if len(data) != QUESTION.size or not secrets.compare_digest(data[:16], self._token):
                    n_foreign += 1
                    continue
                _, rank, number, *times = QUESTION.unpack(data)
                # kept first: whoever has the answer may ask for what was kept
                if times[4]:
                    with self._lock:
                        self._rows[rank].append((rank, 0, *times[1:]))
                self._socket.sendto(ANSWER.pack(number, arrived, time.time_ns()), sender)
            except TimeoutError:
                continue
            except OSError:
                break

    def write(self, folder: Path) -> None:
        """Write what is known so far beside a window of traces.

        Parameters
        ----------
        folder : Path
            Gets ``clock_handshake.csv``, where any exchange ended.
        """
        with self._lock:
            held, self._rows = self._rows, defaultdict(lambda: deque(maxlen=MOST_ROWS))
        rows = [row for rank in sorted(held) for row in held[rank]]
        if rows:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            partial = folder / ".clock_handshake.csv.partial"
            lines = [HEADER, *(",".join(map(str, row)) for row in rows)]
            partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
            partial.replace(folder / "clock_handshake.csv")

    def close(self) -> None:
        """End answering."""
        self._is_open = False
        self._thread.join(2 * PATIENCE_S)
        self._socket.close()


def serve_handshakes(store: Any) -> HandshakeServer | None:
    """Begin to answer, and tell the other ranks where.

    Parameters
    ----------
    store : torch.distributed.Store or None
        Store of the process group.

    Returns
    -------
    HandshakeServer or None
        None without other ranks, or where no socket can be had.
    """
    if store is None:
        return None
    host = os.environ.get("MASTER_ADDR", "127.0.0.1")
    is_local = host == "localhost" or host.startswith("127.")
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        bound.bind(("127.0.0.1" if is_local else "", 0))
        token = secrets.token_bytes(16)
        store.set(KEY, f"{host} {bound.getsockname()[1]} {token.hex()}")
    except (OSError, RuntimeError):
        bound.close()
        return None
    return HandshakeServer(bound, token)


def shake_hands(store: Any, rank: int) -> threading.Thread:
    """Exchange a few messages with rank 0, beside the job.

    Parameters
    ----------
    store : torch.distributed.Store or None
        Store of the process group.
    rank : int
        Rank of this process.

    Returns
    -------
    threading.Thread
        It ends by itself, after seconds at most.
    """
    thread = threading.Thread(target=_ask, args=(store, rank), daemon=True)
    thread.start()
    return thread


def _ask(store: Any, rank: int) -> None:
    try:
        told = _address(store) if store is not None else None
        if told is None:
            return
        host, port, token = told
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(PATIENCE_S)
            asking.connect((host, port))
            before = (0, 0, 0, 0)
            for number in range(N_EXCHANGE + 1):
                before = _exchange(asking, (token, rank, number), before)
    except (OSError, RuntimeError):
        return  # clocks are then told apart by communications alone


def _exchange(
    asking: socket.socket, who: tuple[bytes, int, int], before: tuple[int, int, int, int]
) -> tuple[int, int, int, int]:
    """Ask once; what came of the question before goes along with it."""
    sent = time.time_ns()
    asking.send(QUESTION.pack(*who, sent, *before))
    try:
        data = asking.recv(ANSWER.size + 1)
        received = time.time_ns()
    except TimeoutError:
        return (0, 0, 0, 0)
    if len(data) != ANSWER.size:
        return (0, 0, 0, 0)
    number, arrived, returned = ANSWER.unpack(data)
    return (sent, arrived, returned, received) if number == who[2] else (0, 0, 0, 0)


def _address(store: Any) -> tuple[str, int, bytes] | None:
    """Look for the address of rank 0 without waiting in the store, which the job shares."""
    for _ in range(N_LOOKS):
        if store.check([KEY]):
            host, port, token = store.get(KEY).decode().split()
            return host, int(port), bytes.fromhex(token)
        time.sleep(PATIENCE_S)
    return None
