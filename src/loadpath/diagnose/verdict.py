"""The decision: which candidate, if any, costs the time, and how sure that is."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.behind_noise import behind_noise
from loadpath.diagnose.candidate import Candidate
from loadpath.diagnose.effects import Effects
from loadpath.diagnose.gains import (
    excess_s,
    mean_step_s,
    remove_each,
    steps_with_s,
    steps_without_s,
    take_out,
)
from loadpath.diagnose.indistinguishable import indistinguishable
from loadpath.diagnose.judgement import Judged, Judgement
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.noise_candidate import noise_candidate
from loadpath.diagnose.resampling import FEWEST_DRAWN, resample
from loadpath.diagnose.sway import mean_work_s, sway

__all__ = ["POLICY_RATIO", "Judged", "Judgement", "judge"]

POLICY_RATIO = 0.005
"""Effects under this share of the step are not verdicts; a stated policy."""
NEAR_BEST_RATIO = 0.8
"""Among candidates that return this share of the best, the most specific wins."""
OVER_NOISE_RATIO = 0.2
"""A place is named unless all other variation costs over five times as much."""
CONTRADICTION_RATIO = 0.02
"""If making slow places normal lengthens the step by this share, waiting was taken for work."""
JOINT_RATIO = 1.05
"""A set is considered only if it returns this many times what its members or subsets return."""
N_RESAMPLE = 1000
"""Bootstrap resamples behind confidence and intervals."""
LEVEL = 0.95
"""Level of all intervals."""


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
    removals = remove_each(job, effects.work_ns, candidates)
    scales = _Scales(float(removals.step_s.mean()), mean_step_s(job, effects.ideal_ns))
    everyone, gain, longer_s = _with_noise(job, effects, candidates, (removals.gain_s, scales))
    winner = int(_winners(everyone, gain.sum(axis=1)[None], scales.policy_s)[0])
    if _n_drawn(job, gain) >= FEWEST_DRAWN:
        low, high, confidence = _resample(everyone, gain, scales.policy_s, winner=winner, rng=rng)
    else:
        confidence = float("nan")
        low = high = [confidence] * len(everyone)
    with_it = steps_with_s(job, effects.ideal_ns, everyone)
    judged = [
        _judged(job, c, figures=figures, scales=scales)
        for c, *figures in zip(everyone, gain.sum(axis=1)[:-1], low, high, with_it, strict=True)
    ]
    stated = [replace(j, state=_state(j, i == winner, scales)) for i, j in enumerate(judged)]
    drawn = (confidence, _n_drawn(job, gain))
    judgement = _decide(job, effects, stated, drawn=drawn, scales=scales)
    return replace(judgement, contradiction=_contradiction(longer_s, scales))


def _with_noise(
    job: CoupledJob,
    effects: Effects,
    candidates: Sequence[Candidate],
    known: tuple[FloatArray, _Scales],
) -> tuple[list[Candidate], FloatArray, float]:
    """Remove noise too: candidates with noise last, gains by block, and a cross-check.

    The last row of gains is that of all variation, beyond which no candidate stands out.

    Noise is what ops still differ by from their peers once the places that cost time are ideal. The
    cross-check is by how many seconds making all significant places ideal lengthens the step.
    """  # noqa: DOC201
    blocks, scales = known
    gains = blocks.sum(axis=1)
    kept = _worth_joining(candidates, gains.tolist())
    removed, taken = _without_places(job, effects, candidates)
    costs = (g >= scales.policy_s for g in gains)
    mean_s = None
    if not any(c.significant and cost for c, cost in zip(candidates, costs, strict=True)):
        mean_s = mean_step_s(job, removed)
        removed, taken = effects.work_ns, np.zeros(job.n_op, np.bool_)
    noise = noise_candidate(job, removed, taken)
    op = np.flatnonzero(~taken).astype(np.int32)
    variation = replace(noise, op=op, change_ns=-effects.residual_ns[..., op])
    step_s, quiet = remove_each(job, removed, [noise, variation])
    longer_s = (float(step_s.mean()) if mean_s is None else mean_s) - scales.step_s
    if quiet.shape[1] == job.step_number.size:
        quiet[0] -= sway(quiet[0], mean_work_s(job, removed))
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
        apart = c.kind in {"stage", "data", "threads", "jitter"} and c.mechanism != "host"
        if c.significant and (c.kind == "jitter" or not taken[c.op].any()):
            take_out(removed, c)
            taken[c.op] |= not apart
    return removed, taken


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
    """Choose the winner in each row of gains, -1 for none; the last candidate is noise.

    A place is weighed against all variation, of which waiting for whoever is slow is a part.
    """  # noqa: DOC201
    noise = len(candidates) - 1
    specificity = np.array([c.specificity for c in candidates])
    is_place = np.array([c.significant for c in candidates]) & (np.arange(noise + 1) < noise)
    gain, variation = gain[:, :-1], gain[:, -1]
    present = is_place & (gain >= policy_s)
    best = np.where(present, gain, 0.0).max(axis=1)
    near = present & (gain >= NEAR_BEST_RATIO * best[:, None])
    most = np.where(near, specificity, specificity.max() + 1).min(axis=1)
    first = np.where(near & (specificity == most[:, None]), gain, -np.inf).argmax(axis=1)
    named = present.any(axis=1) & (best >= OVER_NOISE_RATIO * variation)
    return np.where(named, first, np.where(gain[:, noise] >= policy_s, noise, -1))


def _n_drawn(job: CoupledJob, blocks: FloatArray) -> int:
    """Count steps, or the communications that cut a single step into blocks."""
    return int(blocks.shape[1]) - (job.step_number.size == 1)


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
    drawn = resample(weight.astype(np.float64), blocks.T)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn[:, :-1], [tail, 1 - tail], axis=0)
    same = _winners(candidates, drawn, policy_s) == winner
    return low.tolist(), high.tolist(), float(same.mean())


def _judged(
    job: CoupledJob, candidate: Candidate, *, figures: Sequence[float], scales: _Scales
) -> Judged:
    """Give a candidate its gain, interval, and shares of the waste by removal and addition."""
    gain_s, low_s, high_s, with_it = map(float, figures)
    # steady work is not the ideal that waste is counted from; of all there is, all can be noise
    waste_s = scales.waste_s if candidate.mechanism != "noise" else max(scales.waste_s, gain_s)
    return Judged(
        candidate=candidate,
        gain_s=gain_s,
        low_s=low_s,
        high_s=high_s,
        removal_ratio=gain_s / waste_s,
        addition_ratio=(with_it - scales.ideal_s) / waste_s,
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
    drawn: tuple[float, int],
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
    without_s = steps_without_s(job, effects.work_ns, cause.candidate).mean() if cause else None
    return Judgement(
        kind=cause.candidate.kind if cause else "absorbed" if absorbed else "none",
        place=named.candidate.place if named else "nobody",
        mechanism=named.candidate.mechanism if named else "unknown",
        cause=named,
        runner_up=_runner_up(cause, rest, scales),
        causes=tuple([cause, *rest] if cause else rest),
        confidence=drawn[0],
        n_drawn=drawn[1],
        step_s=scales.step_s,
        step_without_s=scales.step_s if without_s is None else float(without_s),
        ideal_s=scales.ideal_s,
        work_ns=effects.work_ns,
        noise_gain_s=judged[-1].gain_s,
        indistinguishable_from=_alike(job, effects, named, judged) if named else (),
    )


def _alike(
    job: CoupledJob, effects: Effects, named: Judged, judged: Sequence[Judged]
) -> tuple[str, ...]:
    """List what the record cannot tell from the cause."""
    if named.candidate.mechanism != "noise":
        return indistinguishable(job, named.candidate)
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
