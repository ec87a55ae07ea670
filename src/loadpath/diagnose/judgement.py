"""What a judgement is: candidates with what their removal returns, and what was decided."""

from dataclasses import dataclass

import polars as pl

from loadpath.diagnose.candidate import Candidate
from loadpath.diagnose.gains import without
from loadpath.diagnose.levels import FloatArray
from loadpath.tables.results import CAUSE

__all__ = ["Judged", "Judgement"]


@dataclass(frozen=True, slots=True)
class Judged:
    """A candidate with what its removal returns.

    Attributes
    ----------
    candidate : Candidate
        Place and mechanism.
    gain_s : float
        Mean seconds a step that its removal returns, by replay.
    low_s, high_s : float
        Its 95 % interval over resampled blocks; NaN under four blocks.
    removal_ratio, addition_ratio : float
        Shares of the waste; NaN where there is no waste to share.
    excess_s : float
        Its own excess work a step on its busiest rank, absorbed or not.
    state : str
        verdict, present, absorbed, within_noise or below_policy.
    """

    candidate: Candidate
    gain_s: float
    low_s: float
    high_s: float
    removal_ratio: float
    addition_ratio: float
    excess_s: float
    state: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict and all that was considered.

    Attributes
    ----------
    kind, place, mechanism : str
        As in docs/verdicts.
    cause : Judged or None
        The winner, or what slack absorbs; None where nobody is named.
    runner_up : Judged or None
        Best other candidate of another place.
    causes : tuple of Judged
        All candidates, the winner first, then by gain.
    confidence : float
        Share of resamples in which the same verdict wins; NaN under four blocks.
    n_drawn : int
        What resamples were drawn from: steps, or communications of a single step.
    step_s, step_without_s, ideal_s : float
        Mean replayed step: as measured, without the cause, and without any effect.
    work_ns : (n_op,) or (n_run, n_op) array of float64
        Work as measured.
    noise_gain_s : float
        What removing all noise would return beyond the places named present.
    indistinguishable_from : tuple of str
        What the record cannot tell from the cause.
    contradiction : str
        Why the judgement cannot stand although the replay fits; empty where it can.
    """

    kind: str
    place: str
    mechanism: str
    cause: Judged | None
    runner_up: Judged | None
    causes: tuple[Judged, ...]
    confidence: float
    n_drawn: int
    step_s: float
    step_without_s: float
    ideal_s: float
    work_ns: FloatArray
    noise_gain_s: float
    indistinguishable_from: tuple[str, ...]
    contradiction: str = ""

    @property
    def removed(self) -> Candidate | None:
        """What the verdict names; None where nobody is named, or slack absorbs the cause."""
        return self.cause.candidate if self.cause and self.cause.state == "verdict" else None

    @property
    def without_ns(self) -> FloatArray:
        """Work without the cause, (n_op,) or (n_run, n_op)."""
        return without(self.work_ns, self.removed) if self.removed else self.work_ns

    def table(self) -> pl.DataFrame:
        """Return the table of causes.

        Returns
        -------
        polars.DataFrame
            Table `CAUSE`.
        """
        rows = [
            {
                "order": order,
                "kind": j.candidate.kind,
                "place": j.candidate.place,
                "key": j.candidate.key,
                "mechanism": j.candidate.mechanism,
                "ranks": list(j.candidate.ranks),
                "gain_s": j.gain_s,
                "gain_low_s": j.low_s,
                "gain_high_s": j.high_s,
                "removal_ratio": j.removal_ratio,
                "addition_ratio": j.addition_ratio,
                "excess_s": j.excess_s,
                "state": j.state,
                "intermittent": j.candidate.intermittent,
            }
            for order, j in enumerate(self.causes)
        ]
        return CAUSE.build(pl.DataFrame(rows, schema=CAUSE.schema))
