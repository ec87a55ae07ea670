"""A GOAL file of either form, plain or gzipped."""

from dataclasses import replace
from pathlib import Path

from loadpath.decode import file_digest, read_blocks
from loadpath.ingest.goal.binary import COOKIE, SPENT, read_binary
from loadpath.ingest.goal.text import read_text
from loadpath.tables.schedule import Schedule

__all__ = ["read_goal"]


def read_goal(path: Path) -> Schedule:
    """Read a schedule.

    Parameters
    ----------
    path : Path
        GOAL text or binary, told apart by content; gzipped or not.

    Returns
    -------
    Schedule
        What all ranks are to do.

    Raises
    ------
    InputError
        If it cannot be read, naming the line or the rank.
    """
    content = b"".join(read_blocks(path))
    is_binary = content[: len(COOKIE)] in {COOKIE, SPENT}
    schedule = (read_binary if is_binary else read_text)(path.name, content)
    return replace(schedule, inputs=(file_digest(path),))
