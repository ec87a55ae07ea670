"""Messages of the dynolog protocol: what a process with Kineto asks its host's agent, and the answers.

A datagram is a head (size of the body, kind) and a body, in the byte order of the host. A process says
once that it is there (``ctxt``), and asks now and then whether it is to record (``req``); the answer is a
configuration of Kineto, empty for no.
"""

import struct
from dataclasses import dataclass

__all__ = ["ADDRESS", "LONGEST", "Question", "answer", "read_question", "window_config"]

ADDRESS = "\0dynolog\0"
"""Abstract name of the agent's socket; its last byte belongs to it."""
HEAD = struct.Struct("=Q32s")
CONTEXT = struct.Struct("=iiq")
REQUEST = struct.Struct("=iiq")
MOST_PIDS = 256
WARM_UP_S = 1
"""Kineto refuses a window that it hears of later than this before it begins (5 s if nothing is said)."""
ROUND = 500
"""Ranks hear of a window seconds apart: where they count steps alike, they begin at one such number."""
LONGEST = HEAD.size + REQUEST.size + 4 * MOST_PIDS
"""Bytes of the longest question that is read."""
KINDS = {b"ctxt": "context", b"req": "request"}


@dataclass(frozen=True, slots=True)
class Question:
    """What a process asks.

    Attributes
    ----------
    kind : {"context", "request"}
        Whether it introduces itself, or asks for a configuration.
    job : int
        Slurm's number of the job, 0 without.
    pids : tuple of int
        The process itself, then its ancestors as far as it says.
    """

    kind: str
    job: int
    pids: tuple[int, ...]


def read_question(datagram: bytes) -> Question | None:
    """Read a datagram.

    Parameters
    ----------
    datagram : bytes
        As received.

    Returns
    -------
    Question or None
        None where it is not of the protocol.

    Examples
    --------
    >>> body = struct.pack("=iiqi", 2, 1, 77, 4242)
    >>> read_question(struct.pack("=Q32s", len(body), b"req") + body)
    Question(kind='request', job=77, pids=(4242,))
    >>> read_question(b"noise") is None
    True
    """
    if not HEAD.size <= len(datagram) <= LONGEST:
        return None
    size, name = HEAD.unpack_from(datagram)
    kind, body = KINDS.get(name.split(b"\0", 1)[0]), datagram[HEAD.size :]
    if kind is None or size != len(body):
        return None
    return _context(body) if kind == "context" else _request(body)


def _context(body: bytes) -> Question | None:
    if len(body) != CONTEXT.size:
        return None
    _, pid, job = CONTEXT.unpack(body)
    return Question("context", job, (pid,))


def _request(body: bytes) -> Question | None:
    if len(body) < REQUEST.size:
        return None
    _, n, job = REQUEST.unpack_from(body)
    if not 1 <= n <= MOST_PIDS or len(body) != REQUEST.size + 4 * n:
        return None
    return Question("request", job, struct.unpack_from(f"={n}i", body, REQUEST.size))


def answer(question: Question, config: str = "") -> bytes:
    """Write the answer to a question.

    Parameters
    ----------
    question : Question
        What was asked.
    config : str
        Configuration, empty for none; a process that introduces itself is told that it is known.

    Returns
    -------
    bytes
        Datagram.
    """
    if question.kind == "context":
        body, name = struct.pack("=i", 1), b"ctxt"
    else:
        body, name = config.encode(), b"req"
    return HEAD.pack(len(body), name) + body


def window_config(path: str, start_ms: int, duration_ms: int, *, steps: int = 0) -> str:
    """Write the configuration of one window of recording.

    Parameters
    ----------
    path : str
        File; Kineto adds the process id before its suffix.
    start_ms : int
        When to begin, in ms of the epoch: the same for all ranks.
    duration_ms : int
        How long to record.
    steps : int
        Steps to record instead, from the next multiple of `ROUND` on, as the job's optimizers count them;
        0 to record for a time.

    Returns
    -------
    str
        Configuration of Kineto.

    References
    ----------
    .. [1] PyTorch Kineto, libkineto/src/ActivityProfilerController and Config.
    """
    span = (
        f"PROFILE_START_ITERATION=0\nPROFILE_START_ITERATION_ROUNDUP={ROUND}\n"
        f"ACTIVITIES_ITERATIONS={steps}"
        if steps
        else f"PROFILE_START_TIME={start_ms}\nACTIVITIES_DURATION_MSECS={duration_ms}\n"
        f"ACTIVITIES_WARMUP_PERIOD_SECS={WARM_UP_S}"
    )
    return f"{span}\nACTIVITIES_LOG_FILE={path}\nPROFILE_REPORT_INPUT_SHAPES=true\n"
