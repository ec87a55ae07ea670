"""The decision: which candidate, if any, costs the time, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.candidate import Candidate
from loadpath.diagnose.effects import Effects
from loadpath.diagnose.gains import (
    excess_s,
    mean_step_s,
    removal_gains_s,
    steps_with_s,
    without,
)
from loadpath.diagnose.indistinct import behind_noise, other_names
from loadpath.diagnose.levels import FloatArray
from loadpath.tables.results import CAUSE

__all__ = ["POLICY_RATIO", "Judged", "Judgement", "judge"]

POLICY_RATIO = 0.005
"""Effects under this share of the step are not verdicts; a stated policy."""
NEAR_BEST_RATIO = 0.8
"""Among candidates that return this share of the best, the most specific wins."""
OVER_NOISE_RATIO = 0.2
"""A place is named before noise unless noise costs over five times as much."""
CONTRADICTION_RATIO = 0.02
"""If making slow places normal lengthens the step by this share, waiting was taken for work."""
JOINT_RATIO = 1.05
"""A set is considered only if it returns this many times what its members or subsets return."""
N_RESAMPLE = 1000
"""Bootstrap resamples behind confidence and intervals."""
LEVEL = 0.95
"""Level of all intervals."""


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
        Its 95 % interval over resampled blocks.
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
        Share of resamples in which the same verdict wins.
    step_s, step_without_s, ideal_s : float
        Mean replayed step: as measured, without the cause, and without any effect.
    without_ns : (n_op,) or (n_run, n_op) array of float64
        Work without the cause.
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
    step_s: float
    step_without_s: float
    ideal_s: float
    without_ns: FloatArray
    noise_gain_s: float
    indistinguishable_from: tuple[str, ...]
    contradiction: str = ""

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


class _Scales(NamedTuple):
    """Mean steps that gains are measured against."""

    step_s: float
    ideal_s: float

    @property
    def policy_s(self) -> float:
        return POLICY_RATIO * self.step_s

    @property
    def waste_s(self) -> float:
        waste = self.step_s - self.ideal_s
        return waste if waste > self.policy_s else float("nan")


def judge(
    job: CoupledJob,
    effects: Effects,
    candidates: Sequence[Candidate],
    rng: np.random.Generator,
) -> Judgement:
    """Replay every candidate's removal and decide.

    Candidates beyond noise whose removal returns at least 0.5 % of the step are present. Of those
    that return 80 % of the best, the most specific wins. Where none is present, noise is named if
    removing it returns as much; else a cause that slack absorbs; else nobody.

    Parameters
    ----------
    job : CoupledJob
        Coupled job whose replay error is within the gate.
    effects : Effects
        Nested effects.
    candidates : sequence of Candidate
        What to judge.
    rng : numpy.random.Generator
        Source of the bootstrap.

    Returns
    -------
    Judgement
        Verdict, causes and confidence.
    """
    scales = _Scales(mean_step_s(job, effects.work_ns), mean_step_s(job, effects.ideal_ns))
    everyone, gain, longer_s = _remove_each(job, effects, candidates, scales)
    winner = int(_winners(everyone, gain.sum(axis=1)[None], scales.policy_s)[0])
    low, high, confidence = _resample(everyone, gain, scales.policy_s, winner=winner, rng=rng)
    with_it = steps_with_s(job, effects.ideal_ns, everyone)
    judged = [
        _judged(job, c, figures=figures, scales=scales)
        for c, *figures in zip(everyone, gain.sum(axis=1), low, high, with_it, strict=True)
    ]
    stated = [replace(j, state=_state(j, i == winner, scales)) for i, j in enumerate(judged)]
    judgement = _decide(job, effects, stated, confidence=confidence, scales=scales)
    return replace(judgement, contradiction=_contradiction(longer_s, scales))


def _remove_each(
    job: CoupledJob, effects: Effects, candidates: Sequence[Candidate], scales: _Scales
) -> tuple[list[Candidate], FloatArray, float]:
    """Replay every removal: candidates with noise last, gains by block, and a cross-check.

    Noise is what is left once the places that cost time are ideal; where no place does, it is all
    that ops differ by from their peers. The cross-check is by how many seconds making all
    significant places ideal lengthens the step.
    """  # noqa: DOC201
    blocks = removal_gains_s(job, effects.work_ns, candidates)
    gains = blocks.sum(axis=1)
    kept = _worth_joining(candidates, gains.tolist())
    removed, taken = _without_places(job, effects, candidates)
    longer_s = mean_step_s(job, removed) - scales.step_s
    costs = (g >= scales.policy_s for g in gains)
    if any(c.significant and cost for c, cost in zip(candidates, costs, strict=True)):
        noise = _noise(job, effects.residual_ns, taken)
        quiet = removal_gains_s(job, removed, [noise])
    else:
        noise = _noise(job, effects.work_ns - effects.level_ns, np.zeros(job.n_op, np.bool_))
        quiet = removal_gains_s(job, effects.work_ns, [noise])
    return (
        [*(candidates[i] for i in kept), noise],
        np.vstack([blocks[kept], quiet]),
        longer_s,
    )


def _worth_joining(candidates: Sequence[Candidate], gain: Sequence[float]) -> list[int]:
    """Leave out sets that return no more than one of their members or subsets."""
    kept = []
    for i, c in enumerate(candidates):
        parts = [
            gain[k]
            for k, other in enumerate(candidates)
            if k != i and set(other.members or (other.key,)) < set(c.members)
        ]
        if not c.members or c.place == "host" or gain[i] >= JOINT_RATIO * max(parts, default=0.0):
            kept.append(i)
    return kept


def _without_places(
    job: CoupledJob, effects: Effects, candidates: Sequence[Candidate]
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Make all significant places ideal; say of which ops that takes the residual."""
    taken = np.zeros(job.n_op, np.bool_)
    removed = effects.work_ns.copy()
    for c in sorted(candidates, key=lambda c: c.specificity):
        if c.significant and not taken[c.op].any():
            removed[..., c.op] += c.change_ns
            taken[c.op] = c.kind not in {"stage", "data"}
    return removed, taken


def _noise(job: CoupledJob, residual: FloatArray, taken: NDArray[np.bool_]) -> Candidate:
    """Take the residual of everything that no significant place has taken as a candidate."""
    op = np.flatnonzero(~taken).astype(np.int32)
    return Candidate(
        kind="jitter",
        place="all",
        mechanism="noise",
        key="noise of all ranks",
        op=op,
        change_ns=-residual[..., op],
        significant=True,
        specificity=4,
        ranks=tuple(job.rank["rank"].to_list()),
    )


def _contradiction(longer_s: float, scales: _Scales) -> str:
    """Say why a judgement cannot stand if making slow places normal lengthens the step."""
    if longer_s <= CONTRADICTION_RATIO * scales.step_s:
        return ""
    return (
        f"making every slow place like its peers would lengthen the step by "
        f"{100 * longer_s / scales.step_s:.0f} %: waiting was recorded as work, so the coupled "
        "graph lacks waits of this job."
    )


def _winners(
    candidates: Sequence[Candidate], gain: FloatArray, policy_s: float
) -> NDArray[np.intp]:
    """Choose the winner in each row of gains, -1 for none; the last candidate is noise."""
    noise = len(candidates) - 1
    specificity = np.array([c.specificity for c in candidates])
    is_place = np.array([c.significant for c in candidates]) & (np.arange(noise + 1) < noise)
    present = is_place & (gain >= policy_s)
    best = np.where(present, gain, 0.0).max(axis=1)
    near = present & (gain >= NEAR_BEST_RATIO * best[:, None])
    most = np.where(near, specificity, specificity.max() + 1).min(axis=1)
    first = np.where(near & (specificity == most[:, None]), gain, -np.inf).argmax(axis=1)
    named = present.any(axis=1) & (best >= OVER_NOISE_RATIO * gain[:, noise])
    return np.where(named, first, np.where(gain[:, noise] >= policy_s, noise, -1))


def _resample(
    candidates: Sequence[Candidate],
    blocks: FloatArray,
    policy_s: float,
    *,
    winner: int,
    rng: np.random.Generator,
) -> tuple[list[float], list[float], float]:
    """Draw blocks again and again: intervals of the gains, and how often the same one wins."""
    n_block = blocks.shape[1]
    weight = rng.multinomial(n_block, np.full(n_block, 1 / n_block), N_RESAMPLE)
    drawn: NDArray[np.float64] = weight @ blocks.T
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    same = _winners(candidates, drawn, policy_s) == winner
    return low.tolist(), high.tolist(), float(same.mean())


def _judged(
    job: CoupledJob, candidate: Candidate, *, figures: Sequence[float], scales: _Scales
) -> Judged:
    """Give a candidate its gain, interval, and shares of the waste by removal and addition."""
    gain_s, low_s, high_s, with_it = map(float, figures)
    return Judged(
        candidate=candidate,
        gain_s=gain_s,
        low_s=low_s,
        high_s=high_s,
        removal_ratio=gain_s / scales.waste_s,
        addition_ratio=(with_it - scales.ideal_s) / scales.waste_s,
        excess_s=excess_s(job, candidate),
        state="",
    )


def _state(judged: Judged, is_winner: bool, scales: _Scales) -> str:  # noqa: FBT001
    if is_winner:
        return "verdict"
    if not judged.candidate.significant:
        return "within_noise"
    if judged.gain_s >= scales.policy_s:
        return "present"
    absorbs = judged.excess_s >= scales.policy_s and judged.candidate.kind != "jitter"
    return "absorbed" if absorbs else "below_policy"


def _decide(
    job: CoupledJob,
    effects: Effects,
    judged: Sequence[Judged],
    *,
    confidence: float,
    scales: _Scales,
) -> Judgement:
    """Put the verdict together."""
    cause = next((j for j in judged if j.state == "verdict"), None)
    rest = sorted(
        (j for j in judged if j is not cause),
        key=lambda j: (j.state not in {"present", "absorbed"}, -j.gain_s, j.candidate.key),
    )
    absorbed = next((j for j in rest if j.state == "absorbed"), None)
    named = cause or absorbed
    work = without(effects.work_ns, cause.candidate) if cause else effects.work_ns
    return Judgement(
        kind=cause.candidate.kind if cause else "absorbed" if absorbed else "none",
        place=named.candidate.place if named else "nobody",
        mechanism=named.candidate.mechanism if named else "unknown",
        cause=named,
        runner_up=_runner_up(cause, rest, scales),
        causes=tuple([cause, *rest] if cause else rest),
        confidence=confidence,
        step_s=scales.step_s,
        step_without_s=mean_step_s(job, work) if cause else scales.step_s,
        ideal_s=scales.ideal_s,
        without_ns=work,
        noise_gain_s=judged[-1].gain_s,
        indistinguishable_from=_alike(job, effects, named, judged) if named else (),
    )


def _alike(
    job: CoupledJob, effects: Effects, named: Judged, judged: Sequence[Judged]
) -> tuple[str, ...]:
    """List what the record cannot tell from the cause."""
    if named.candidate.kind != "jitter":
        return other_names(job, named.candidate)
    near = [j.candidate for j in judged if j.gain_s >= NEAR_BEST_RATIO * named.gain_s]
    return behind_noise(job, effects, near)


def _runner_up(cause: Judged | None, rest: Sequence[Judged], scales: _Scales) -> Judged | None:
    """Find the best other cause that does not hold the winner's ranks in another set."""
    taken = set(cause.candidate.ranks) if cause and cause.candidate.place == "rank" else set()
    for other in rest:
        same = other.candidate.kind in {"rank", "host"} and taken & set(other.candidate.ranks)
        if other.gain_s >= scales.policy_s and not same:
            return other
    return None
