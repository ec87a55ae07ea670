"""GOAL schedules as text."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadpath.errors import InputError
from loadpath.ingest.goal import kernels
from loadpath.tables.schedule import Schedule

__all__ = ["read_text"]

MESSAGES = {
    kernels.STATEMENT: "{found} is no statement",
    kernels.NUMBER: "a whole number is wanted, not {found}",
    kernels.TOO_LARGE: "the number {found} is too large",
    kernels.BYTES: "'b' (bytes) is wanted after the size, not {found}",
    kernels.TO: "'to' is wanted, not {found}",
    kernels.FROM: "'from' is wanted, not {found}",
    kernels.END_OF_LINE: "the end of the line is wanted, not {found}",
    kernels.COLON_OR_REQUIRES: "':', 'requires' or 'irequires' is wanted, not {found}",
    kernels.OPERATION: "'calc', 'send' or 'recv' is wanted, not {found}",
    kernels.LABEL: "a label is wanted, not {found}",
    kernels.UNKNOWN_LABEL: "the label {found} is not defined above in its rank",
    kernels.SAME_LABEL: "the label {found} is defined already in line {detail}",
    kernels.BRACE: "'{{' is wanted, not {found}",
    kernels.NO_RANKS: "the file does not begin with 'num_ranks' and a number of at least 1",
    kernels.RANK_ORDER: "rank {detail} is next, not {found}",
    kernels.OUTSIDE: "{found} stands outside all ranks",
    kernels.CUT: "the file ends within or after rank {last} of {n_rank} ranks",
    kernels.PEER: "rank {found} is not among the {n_rank} ranks",
    kernels.ANY_SENDER: "a send needs a tag of its own, not {found}",
    kernels.BEYOND: "{found} follows the last of {n_rank} ranks",
    kernels.NESTED: "rank {detail} is not closed with '}}'",
    kernels.TWICE: "'num_ranks' stands twice",
    kernels.OPEN_COMMENT: "a comment has no end",
}
REMEDY = "Correct the file, or write it again; docs/formats/goal.md has the grammar."
LONGEST_FOUND = 40
MOST_OPS = (1 << 31) - 1
FEWEST_BYTES = 6
"""Of a line with an op, its end counted."""
BYTES_OF_SLOT = 64
"""Of text for each slot of the first table of labels, which is enlarged where that is not enough."""
OP_TYPES = (np.uint8, np.int64, np.int32, np.int64, np.uint8, np.uint8, np.int32)
EDGE_TYPES = (np.int32, np.int32, np.bool_)


def read_text(name: str, content: bytes) -> Schedule:
    r"""Read a schedule from GOAL text.

    Parameters
    ----------
    name : str
        Name of the file, for messages.
    content : bytes
        All of it.

    Returns
    -------
    Schedule
        Ops of all ranks, in the order of the file.

    Raises
    ------
    InputError
        If it is not GOAL, naming the line.

    Examples
    --------
    >>> schedule = read_text("a.goal", b"num_ranks 1\nrank 0 {\nl1: calc 70\n}\n")
    >>> schedule.n_rank, schedule.size
    (1, array([70]))
    """
    text = np.frombuffer(content + b"\n" * kernels.PADDING, np.uint8)
    n_line, n_open, n_label = kernels.count_text(text)
    n_line = min(n_line, len(content) // FEWEST_BYTES + 1)
    if n_line > MOST_OPS:
        raise InputError(name, f"{n_line} lines are more than 2^31", "Split the job.")
    ops, edges = ([np.empty(n_line, kind) for kind in kinds] for kinds in (OP_TYPES, EDGE_TYPES))
    rank_start = np.zeros(n_open + 2, np.int64)
    n_slot = 1 << max(3, min(2 * n_label, len(content) // BYTES_OF_SLOT).bit_length())
    into = (tuple(ops), tuple(edges), rank_start)
    ended = kernels.scan_text(text, _slots(n_slot), *into)
    while ended[0] == kernels.NO_ROOM:
        n_slot *= 4
        ended = kernels.scan_text(text, _slots(n_slot), *into)
    if ended[0] != kernels.SOUND:
        raise InputError(f"{name}, line {ended[2]}", _problem(text, ended), REMEDY)
    *op, line = (column[: ended[5]].copy() for column in ops)
    columns: Any = (*op, *(column[: ended[6]].copy() for column in edges), line)
    return Schedule(name, rank_start[: ended[4] + 1].copy(), *columns)


def _slots(n: int) -> NDArray[np.int64]:
    return np.full((n, 4), -1, np.int64)


def _problem(text: NDArray[np.uint8], ended: tuple[int, ...]) -> str:
    answer, place, _, detail, n_rank, _, _ = ended
    words = {"detail": detail, "n_rank": n_rank, "last": max(0, detail - 1)}
    return MESSAGES[answer].format(found=_found(text, place), **words)


def _found(text: NDArray[Any], place: int) -> str:
    """Quote what stands at a place: up to the next blank, or the end of the line or file."""
    rest = text[place : place + LONGEST_FOUND].tobytes().decode(errors="backslashreplace")
    if place >= text.size - kernels.PADDING:
        return "the end of the file"
    if rest[0] in "\r\n":
        return "the end of the line"
    return repr(rest.split()[0].rstrip(":{") or rest[0])
