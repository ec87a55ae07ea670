"""A candidate cause: a place, a mechanism, and what its ops would need without it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.course import Course
from loadpath.diagnose.levels import FloatArray

__all__ = ["Candidate", "hosts_of", "join"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One candidate cause.

    Attributes
    ----------
    kind, place, mechanism : str
        As in docs/verdicts.
    key : str
        Which one, in words.
    op : (n,) array of int32
        Ops it sits on.
    change_ns : (n,) or (n_run, n) array of float64
        What removing it adds to their work (mostly negative); one row where all runs share it.
    significant : bool
        Beyond the job's own noise.
    specificity : int
        0 for a single rank, link or workload, growing with the place.
    ranks : tuple of int
        Ranks it sits on.
    hosts : tuple of str
        Their hosts, where known.
    stage : int
        Stage, -1 none.
    link : str
        Communicator, empty for none.
    p_value : float
        Of its test; NaN where the test is another.
    intermittent : bool
        Nine tenths of its excess lie in half of the steps.
    members : tuple of str
        Keys of the candidates that it joins.
    course : Course or None
        How its excess lies over the steps; None where it is steady, or follows no course.
    """

    kind: str
    place: str
    mechanism: str
    key: str
    op: NDArray[np.int32]
    change_ns: FloatArray
    significant: bool
    specificity: int
    ranks: tuple[int, ...] = ()
    hosts: tuple[str, ...] = ()
    stage: int = -1
    link: str = ""
    p_value: float = float("nan")
    intermittent: bool = False
    members: tuple[str, ...] = field(default_factory=tuple)
    course: Course | None = None


def hosts_of(job: CoupledJob, ranks: Iterable[int]) -> tuple[str, ...]:
    """Name the hosts of some ranks.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    ranks : iterable of int
        Ranks of it.

    Returns
    -------
    tuple of str
        Each once, in order; those that nobody named are left out.
    """
    hosts = dict(job.rank.select("rank", "host").iter_rows())
    return tuple(sorted({hosts.get(rank, "") for rank in ranks} - {""}))


def join(candidates: Sequence[Candidate], **fields: Any) -> Candidate:
    """Make one candidate of several of one mechanism: all of their effects go together.

    Parameters
    ----------
    candidates : sequence of Candidate
        At least one; their ops do not overlap.
    **fields
        Fields of the joint candidate that differ from what the members give.

    Returns
    -------
    Candidate
        Ops and changes of all; significant if all are.
    """  # numpydoc ignore=PR01,PR02
    op = np.concatenate([c.op for c in candidates])
    order = np.argsort(op, kind="stable")
    base: dict[str, Any] = {
        "mechanism": candidates[0].mechanism,
        "significant": all(c.significant for c in candidates),
        "ranks": tuple(sorted({r for c in candidates for r in c.ranks})),
        "hosts": tuple(sorted({h for c in candidates for h in c.hosts})),
        "members": tuple(c.key for c in candidates),
    }
    change = np.concatenate([c.change_ns for c in candidates], axis=-1)[..., order]
    return Candidate(op=op[order], change_ns=change, **(base | fields))
