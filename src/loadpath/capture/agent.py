"""An agent that lets all ranks of an unmodified job on this host record one window together.

It answers on the socket that Kineto asks when ``KINETO_USE_DAEMON=1`` is set. It only answers: a job whose
agent is killed, stopped or flooded asks in vain, in a thread of its own, and goes on.
"""

import contextlib
import os
import socket
import struct
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from loadpath.capture.dynolog import (
    ADDRESS,
    LONGEST,
    Question,
    answer,
    read_question,
    window_config,
)
from loadpath.capture.files import make_folder
from loadpath.capture.traces import collect_traces
from loadpath.errors import UsageError

__all__ = ["Capture", "Heard", "capture_window", "ranks_of"]

RANK_NAMES = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
CREDENTIALS = struct.Struct("=iII")
PATIENCE_S = 0.2
SETTLED_S = 12.0
"""Two of Kineto's periods of asking, and some time for a busy host."""
TRACE_FOLDER = "/tmp"  # noqa: S108 - the only folder in which newer Kineto writes what an agent asks for
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
        Processes of the job on this host; 0 to take those that ask until no other comes for a while.
    duration_s, delay_s, patience_s : float
        Length of the window, time until it begins once all have asked (Kineto asks every 5 s, reads an
        answer that came late when it asks again, and refuses what begins in less than a second), and how
        long to wait for questions and for traces.
    start_ms : int
        Begin in ms of the epoch, where several hosts are to begin together; 0 to choose it.
    steps : int
        Steps to record instead of a time, as PyTorch counts them at its optimizers; 0 for a time.
    """

    out: Path
    pids: tuple[int, ...] = ()
    job: int = 0
    n_process: int = 0
    duration_s: float = 2.0
    delay_s: float = 14.0
    patience_s: float = 60.0
    start_ms: int = 0
    steps: int = 0


@dataclass(slots=True)
class Heard:
    """What came over the socket.

    Attributes
    ----------
    asked : dict of int to tuple of int
        Ancestors of each wanted process that asked.
    last_s : float
        When a new one asked last, by a clock that only runs forward.
    told : set of int
        Processes that were told to record.
    n_foreign, n_malformed : int
        Datagrams of other users, and those that are not of the protocol.
    """

    asked: dict[int, tuple[int, ...]] = field(default_factory=dict)
    last_s: float = 0.0
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
        If the socket is taken, processes do not ask, or write nothing or an empty trace.
    """
    heard = Heard()
    out = make_folder(wanted.out)
    with _socket() as agent, tempfile.TemporaryDirectory(dir=TRACE_FOLDER) as raw:
        progress("waiting for the processes to ask")
        _listen(agent, wanted, heard, lambda: _all_asked(wanted, heard))
        pids = _training(wanted, heard)
        start_ms = wanted.start_ms or round((time.time() + wanted.delay_s) * 1e3)
        config = window_config(
            f"{raw}/trace.json", start_ms, round(wanted.duration_s * 1e3), steps=wanted.steps
        )
        progress(f"telling {len(pids)} processes when to begin")
        told = replace(wanted, pids=pids)
        _listen(agent, told, heard, lambda: time.time() * 1e3 > start_ms, config=config)
        progress("waiting for their traces")
        folder = make_folder(out / f"window-{start_ms}")
        until_s = start_ms / 1e3 + wanted.duration_s + wanted.patience_s
        collect_traces(Path(raw), folder, ranks_of(pids), until_s)
    return folder, heard


def _all_asked(wanted: Capture, heard: Heard) -> bool:
    """Whether all have asked; where their number is not known, none came for some time."""
    expected = len(wanted.pids) or wanted.n_process
    if expected:
        return len(_leaves(heard)) >= expected
    return bool(heard.asked) and time.monotonic() - heard.last_s > SETTLED_S


def _leaves(heard: Heard) -> list[int]:
    """Leave out those that started others: a launcher trains nothing."""
    above = {pid for ancestors in heard.asked.values() for pid in ancestors}
    return sorted(set(heard.asked) - above)


def _training(wanted: Capture, heard: Heard) -> tuple[int, ...]:
    """Choose the processes to record; an error where some of them did not ask."""
    asked = _leaves(heard)
    expected = len(wanted.pids) or wanted.n_process
    if len(asked) < expected or not asked:
        missing = ", ".join(str(pid) for pid in wanted.pids if pid not in heard.asked)
        raise UsageError(
            f"{len(asked)} of {expected or 'any'} processes asked within {wanted.patience_s:g} s"
            f"{f'; {missing} did not' if missing else ''}. {HELP}"
        )
    return wanted.pids or tuple(asked)


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
    """Answer questions until it is done or patience ends; with a configuration, give it once to each.

    Who asks is answered to the end: what came too late to be read waits in the asker's socket for its
    next question, and without an answer to that it would not look.
    """
    until = time.monotonic() + max(wanted.patience_s, wanted.delay_s)
    while not is_done() and time.monotonic() < until:
        received = _receive(agent, heard)
        if received is None:
            continue
        question, sender = received
        pid = _wanted_pid(question, wanted)
        text = ""
        if pid is not None and question.kind == "request":
            if pid not in heard.asked:
                heard.last_s = time.monotonic()
            heard.asked[pid] = question.pids[1:]
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
