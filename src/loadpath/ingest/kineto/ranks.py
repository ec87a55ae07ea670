"""Which rank a trace is of: told by the user, by the trace, or by the file's name."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from loadpath.errors import InputError
from loadpath.ingest.kineto.parsed import Parsed
from loadpath.ingest.kineto.rank_ops import RankOps
from loadpath.ingest.kineto.trace import MAX_RANKS

__all__ = ["own_rank", "rank_in_name", "rank_of"]

RANK_IN_NAME = re.compile(r"rank[-_]?(\d+)", re.IGNORECASE)
REMEDY = (
    "Name the file ..._rank_N.json, record with a process group (distributedInfo), "
    "or say --ranks FILE=RANK."
)


def rank_of(parsed: Parsed, ops: RankOps, told: Mapping[str, int]) -> int:
    """Find the rank of a trace.

    Parameters
    ----------
    parsed : Parsed
        File.
    ops : RankOps
        What it holds.
    told : mapping of str to int
        Ranks by name of the file, given by the user: they come first.

    Returns
    -------
    int
        `distributedInfo.rank`; else the rank that all its communications name as their own; else
        the last number after ``rank`` in the file's name.

    Raises
    ------
    InputError
        If there is none, or it is beyond any job's.
    """
    path = parsed.path
    rank = told.get(path.name, ops.rank)
    if rank < 0:
        rank = own_rank(ops)
    if rank < 0:
        rank = rank_in_name(path)
    if rank < 0:
        raise InputError(str(path), "no rank in distributedInfo nor in the name", REMEDY)
    if rank >= MAX_RANKS:
        raise InputError(str(path), f"rank {rank:.10g} is beyond {MAX_RANKS}", REMEDY)
    return rank


def rank_in_name(path: Path) -> int:
    """Read the rank in the name of a file.

    Parameters
    ----------
    path : Path
        File.

    Returns
    -------
    int
        The last number after ``rank``, -1 if there is none.
    """
    named = RANK_IN_NAME.findall(path.name)
    return int(named[-1][:20]) if named else -1


def own_rank(ops: RankOps) -> int:
    """Read the rank that communications name as the one that runs them.

    Parameters
    ----------
    ops : RankOps
        What a trace holds.

    Returns
    -------
    int
        -1 if none names one, or they do not agree.
    """
    named = Counter(fact.own for fact in ops.said.values() if fact.own >= 0)
    return next(iter(named)) if len(named) == 1 else -1
