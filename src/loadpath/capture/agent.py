"""An agent that lets all ranks of an unmodified job on this host record one window together.

It answers on the socket that Kineto asks when ``KINETO_USE_DAEMON=1`` is set. It only answers: a job whose
agent is killed, stopped or flooded asks in vain, in a thread of its own, and goes on.
"""

import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loadpath.capture.dynolog import ADDRESS, LONGEST, Question, answer, read_question, window_config
from loadpath.capture.files import make_folder, publish
from loadpath.errors import UsageError

__all__ = ["Capture", "Heard", "capture_window", "ranks_of"]

RANK_NAMES = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
CREDENTIALS = struct.Struct("=iII")
PATIENCE_S = 0.2
HELP = "Start the job with KINETO_USE_DAEMON=1, and give the processes that train."


@dataclass(frozen=True, slots=True)
class Capture:
    """What is wanted.

    Attributes
    ----------
    out : Path
        Gets the folder of the window.
    pids : tuple of int
        Processes, in the order of their ranks where nothing else tells; empty for those of `job`.
    job : int
        Slurm's number of the job, where no processes are given.
    n_process : int
        Processes of the job on this host; with `pids` their number.
    duration_s, delay_s, patience_s : float
        Length of the window, time from the last process's question to its begin, and how long to
        wait for questions and for traces.
    start_ms : int
        Begin in ms of the epoch, where several hosts are to begin together; 0 to choose it.
    """

    out: Path
    pids: tuple[int, ...] = ()
    job: int = 0
    n_process: int = 0
    duration_s: float = 2.0
    delay_s: float = 3.0
    patience_s: float = 60.0
    start_ms: int = 0


@dataclass(slots=True)
class Heard:
    """What came over the socket.

    Attributes
    ----------
    asked : dict of int to int
        When each wanted process asked last, in ns.
    told : set of int
        Processes that were told to record.
    n_foreign, n_malformed : int
        Datagrams of other users, and those that are not of the protocol.
    """

    asked: dict[int, int] = field(default_factory=dict)
    told: set[int] = field(default_factory=set)
    n_foreign: int = 0
    n_malformed: int = 0


def capture_window(
    wanted: Capture, progress: Callable[[str], None] = lambda _: None
) -> tuple[Path, Heard]:
    """Open one window on all processes, and collect what they wrote.

    Parameters
    ----------
    wanted : Capture
        Which processes, when, for how long.
    progress : callable of str
        Told what is being done.

    Returns
    -------
    folder : Path
        The window: one ``rankN.json.gz`` for each process.
    heard : Heard
        What came over the socket.

    Raises
    ------
    UsageError
        If the socket is taken, processes do not ask, or write nothing.
    """
    expected = len(wanted.pids) or wanted.n_process
    heard = Heard()
    with _socket() as agent:
        progress(f"waiting for {expected} processes to ask")
        _listen(agent, wanted, heard, lambda: len(heard.asked) >= expected)
        missing = sorted(set(wanted.pids) - set(heard.asked))
        if len(heard.asked) < expected:
            who = f"processes {', '.join(map(str, missing))}" if missing else "some processes"
            raise UsageError(
                f"{len(heard.asked)} of {expected} processes asked within "
                f"{wanted.patience_s:g} s; {who} did not. {HELP}"
            )
        start_ms = wanted.start_ms or round((time.time() + wanted.delay_s) * 1e3)
        folder = make_folder(make_folder(wanted.out) / f"window-{start_ms}")
        config = window_config(
            str(folder.resolve() / ".trace.json"), start_ms, round(wanted.duration_s * 1e3)
        )
        progress("telling them when to begin")
        _listen(agent, wanted, heard, lambda: time.time() * 1e3 > start_ms, config=config)
        ranks = ranks_of(wanted.pids or sorted(heard.asked))
    progress("waiting for their traces")
    _collect(folder, ranks, start_ms / 1e3 + wanted.duration_s + wanted.patience_s)
    return folder, heard


def ranks_of(
    pids: Sequence[int], environ: Callable[[int], Mapping[str, str]] | None = None
) -> dict[int, int]:
    """Find the rank of each process.

    Parameters
    ----------
    pids : sequence of int
        Processes of one job.
    environ : callable of int, optional
        Environment of a process; read from ``/proc`` if left out.

    Returns
    -------
    dict of int to int
        Rank of each: what its environment says, if all differ; else its place in the sequence.

    Examples
    --------
    >>> ranks_of([70, 71], lambda pid: {"RANK": str(71 - pid)})
    {70: 1, 71: 0}
    >>> ranks_of([70, 71], lambda pid: {})
    {70: 0, 71: 1}
    """
    told = environ or _environ
    for name in RANK_NAMES:
        found = {pid: told(pid).get(name, "") for pid in pids}
        if len(set(found.values())) == len(found) and all(v.isdecimal() for v in found.values()):
            return {pid: int(value) for pid, value in found.items()}
    return {pid: place for place, pid in enumerate(pids)}


def _environ(pid: int) -> dict[str, str]:
    try:
        text = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(entry.partition("=")[::2] for entry in text.split("\0") if "=" in entry)


def _socket() -> socket.socket:
    """Bind the agent's socket; the kernel is to say who sends."""
    agent = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        agent.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        agent.bind(ADDRESS)
    except OSError as error:
        agent.close()
        raise UsageError(
            f"the socket of the agent cannot be had ({error.strerror}). Another agent (dynolog) runs "
            "on this host: end it, or use it."
        ) from error
    agent.settimeout(PATIENCE_S)
    return agent


def _listen(
    agent: socket.socket,
    wanted: Capture,
    heard: Heard,
    is_done: Callable[[], bool],
    *,
    config: str = "",
) -> None:
    """Answer questions until it is done or patience ends; with a configuration, give it once to each."""
    until = time.monotonic() + wanted.patience_s
    while not is_done() and time.monotonic() < until:
        received = _receive(agent, heard)
        if received is None:
            continue
        question, sender = received
        pid = _wanted_pid(question, wanted)
        text = ""
        if pid is not None and question.kind == "request":
            heard.asked[pid] = time.time_ns()
            text = config if pid not in heard.told else ""
        # who asks and does not listen must not hold the others up
        with contextlib.suppress(OSError):
            agent.sendto(answer(question, text), socket.MSG_DONTWAIT, sender)
            if text and pid is not None:
                heard.told.add(pid)


def _receive(agent: socket.socket, heard: Heard) -> tuple[Question, str] | None:
    """Take one datagram; None where none came, or it is another user's or malformed."""
    try:
        data, notes, flags, sender = agent.recvmsg(LONGEST, socket.CMSG_SPACE(CREDENTIALS.size))
    except TimeoutError:
        return None
    if _user(notes) not in {os.getuid(), 0}:
        heard.n_foreign += 1
        return None
    question = None if flags & socket.MSG_TRUNC else read_question(data)
    if question is None or not sender:
        heard.n_malformed += 1
        return None
    return question, sender


def _user(notes: Sequence[tuple[int, int, bytes]]) -> int:
    """User that sent a datagram, as the kernel says; -1 if it does not."""
    for level, kind, data in notes:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            return int(CREDENTIALS.unpack_from(data)[1])
    return -1


def _wanted_pid(question: Question, wanted: Capture) -> int | None:
    """Process that asks, if it is to record: one of those named, or any of the job."""
    if wanted.pids:
        return question.pids[0] if question.pids[0] in wanted.pids else None
    return question.pids[0] if question.job == wanted.job else None


def _collect(folder: Path, ranks: Mapping[int, int], until_s: float) -> None:
    """Wait for each trace to be complete, and give it the name of its rank."""
    missing = dict(ranks)
    sizes: dict[int, int] = {}
    while missing and time.time() < until_s:
        for pid, rank in list(missing.items()):
            raw = folder / f".trace_{pid}.json"
            size = raw.stat().st_size if raw.is_file() else 0
            if size and size == sizes.get(pid) and _is_whole(raw):
                publish(raw, folder / f"rank{rank}.json.gz")
                del missing[pid]
            sizes[pid] = size
        time.sleep(PATIENCE_S)
    if missing:
        who = ", ".join(f"{pid} (rank {rank})" for pid, rank in missing.items())
        raise UsageError(
            f"{folder}: no whole trace of processes {who}. See what their stderr says of Kineto; the other "
            "ranks' traces are there."
        )


def _is_whole(raw: Path) -> bool:
    """Whether a trace ends as JSON ends; a file under way may pause."""
    with raw.open("rb") as stream:
        stream.seek(max(0, raw.stat().st_size - 16))
        return stream.read().rstrip().endswith(b"}")
