"""What is wrong with a synthetic job, and the truth that an audit of it should find."""

from dataclasses import dataclass
from typing import Literal, get_args

from loadpath.errors import UsageError

__all__ = ["Cause", "Kind", "Mechanism", "Place", "Truth"]

Kind = Literal["rank", "host", "link", "stage", "data", "jitter", "none"]
Place = Literal["rank", "host", "stage", "link", "group", "microbatch", "all", "nobody"]
Mechanism = Literal["device", "host", "input", "communication", "workload", "noise", "unknown"]

PLACES: dict[str, tuple[tuple[Place, Mechanism], ...]] = {
    "rank": (("rank", "device"),),
    "host": (("host", "device"), ("rank", "host"), ("rank", "input"), ("all", "host")),
    "link": (("link", "communication"), ("group", "communication")),
    "stage": (("stage", "workload"),),
    "data": (("microbatch", "workload"),),
    "jitter": (("all", "noise"),),
    "none": (("nobody", "unknown"),),
}
"""Places and mechanisms that each kind can have; the first is the default."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A fault to plant.

    Attributes
    ----------
    kind : {"rank", "host", "link", "stage", "data", "jitter", "none"}
        What is at fault.
    size : float
        By how much the mean step grows, as a fraction of the step without the cause.
    place : str, optional
        Place of the fault where `kind` leaves a choice: ``"host"``, ``"rank"`` or ``"all"`` for
        a host, ``"link"`` (one pipeline pair) or ``"group"`` (one data-parallel group) for a link.
    mechanism : str, optional
        ``"device"``, ``"host"`` (pauses of the host thread) or ``"input"`` (late data) of a host.
    ranks : tuple of int
        Culprits of a rank or host cause; drawn if empty.
    n_ranks : int
        How many ranks to draw where `ranks` is empty and the place is a rank.
    stage : int
        Culprit of a stage or group cause; drawn if -1.
    link : tuple of int
        The two ranks of a link cause; drawn if empty.
    steps_ratio : float
        Share of the steps in which the fault is there; below 1 it is intermittent.

    Examples
    --------
    >>> Cause("host", 0.1, place="rank", mechanism="input", ranks=(2,)).mechanism
    'input'
    """

    kind: Kind = "none"
    size: float = 0.0
    place: Place | None = None
    mechanism: Mechanism | None = None
    ranks: tuple[int, ...] = ()
    n_ranks: int = 1
    stage: int = -1
    link: tuple[int, ...] = ()
    steps_ratio: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be planted.

        Raises
        ------
        UsageError
            If a field has no meaning for this kind.
        """
        if self.kind not in get_args(Kind):
            raise UsageError(f"Cause kind {self.kind!r} is unknown. Use one of {get_args(Kind)}.")
        if self.size < 0 or not 0 < self.steps_ratio <= 1 or self.n_ranks < 1:
            raise UsageError(
                "A cause needs size >= 0, 0 < steps_ratio <= 1 and n_ranks >= 1; "
                f"got {self.size}, {self.steps_ratio} and {self.n_ranks}."
            )
        resolve_place(self)


@dataclass(frozen=True, slots=True)
class Truth:
    """What is true of a synthetic job.

    Attributes
    ----------
    kind, place, mechanism : str
        The verdict that an audit should reach.
    ranks : tuple of int
        Recorded ranks at fault, ascending; empty where ranks are not the place.
    hosts : tuple of str
        Hosts at fault.
    stage : int
        Stage at fault (or of the slow group), -1 for none.
    link : tuple of int
        Ranks that share the slow link or group.
    steps : tuple of int
        Step numbers in which the fault is there.
    excess_ratio : float
        Extra work of one culprit a step (mean over steps), as a fraction of the step without the
        cause; for jitter the coefficient of variation of the extra noise.
    step_s : float
        Mean step time, earliest start to latest end.
    step_s_without : float
        The same of the same job, same noise, executed without the cause.
    """

    kind: Kind
    place: Place
    mechanism: Mechanism
    ranks: tuple[int, ...]
    hosts: tuple[str, ...]
    stage: int
    link: tuple[int, ...]
    steps: tuple[int, ...]
    excess_ratio: float
    step_s: float
    step_s_without: float

    @property
    def effect_ratio(self) -> float:
        """Growth of the mean step by the cause, as a fraction of the step without it."""
        return self.step_s / self.step_s_without - 1.0


def resolve_place(cause: Cause) -> tuple[Place, Mechanism]:
    """Fill in the place and mechanism that a cause leaves open.

    Parameters
    ----------
    cause : Cause
        What was asked for.

    Returns
    -------
    tuple of str
        Place and mechanism.

    Raises
    ------
    UsageError
        If the kind has no such place or mechanism.
    """
    for place, mechanism in PLACES[cause.kind]:
        if cause.place in {None, place} and cause.mechanism in {None, mechanism}:
            return place, mechanism
    raise UsageError(
        f"A cause of kind {cause.kind!r} cannot have place {cause.place!r} and mechanism "
        f"{cause.mechanism!r}. Use one of {PLACES[cause.kind]}."
    )
