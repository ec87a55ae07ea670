"""The decision: which candidate, if any, costs the time, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from loadpath.couple import CoupledJob
from loadpath.diagnose.candidates import Candidate, Effects
from loadpath.diagnose.levels import FloatArray
from loadpath.replay import Timeline, replay, step_bounds_ns, step_time_ns
from loadpath.tables.results import CAUSE

__all__ = ["Judged", "Judgement", "judge"]

POLICY_RATIO = 0.005
"""Effects under this share of the step are not verdicts; a stated policy."""
NEAR_BEST_RATIO = 0.8
"""Among candidates that return this share of the best, the most specific wins."""
OVER_NOISE_RATIO = 0.2
"""A place is named before noise unless noise costs over five times as much."""
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
        The winner; None where nobody is named.
    runner_up : Judged or None
        Best other candidate of another place.
    causes : tuple of Judged
        All candidates, the winner first, then by gain.
    confidence : float
        Share of resamples in which the same verdict wins.
    step_s, step_without_s, ideal_s : float
        Mean replayed step: as measured, without the cause, and without any effect.
    without_ns : (n_op,) array of float64
        Work without the cause.
    noise_gain_s : float
        What removing all noise would return beyond the places named present.
    indistinguishable_from : tuple of str
        What the record cannot tell from the cause.
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
    base = replay(job.graph, effects.work_ns)
    step_s = _mean_step_s(job, base)
    gains = [_block_gains(job, effects, base, c) for c in candidates]
    noise, noise_gains = _noise(job, effects, candidates, gains)
    everything = [*candidates, noise]
    blocks = np.vstack([*gains, noise_gains])
    mean = blocks.sum(axis=1)
    policy = POLICY_RATIO * step_s
    excess = [_excess_s(job, c) for c in everything]
    present = np.array(
        [c.significant and g >= policy for c, g in zip(everything, mean, strict=True)]
    )
    winner = _winner(everything, mean, present, policy)
    low, high, confidence = _resample(everything, blocks, policy, winner, rng)
    ideal_s = _mean_step_s(job, replay(job.graph, effects.ideal_ns))
    judged = []
    for i, candidate in enumerate(everything):
        removal, addition = _shares(job, effects, candidate, (float(mean[i]), step_s, ideal_s))
        state = _state(candidate, i == winner, bool(present[i]), excess[i] >= policy)
        judged.append(
            Judged(
                candidate, float(mean[i]), low[i], high[i], removal, addition, excess[i], state
            )
        )
    return _decide(job, effects, judged, winner, (confidence, step_s, ideal_s, policy))


def _decide(
    job: CoupledJob,
    effects: Effects,
    judged: Sequence[Judged],
    winner: int | None,
    figures: tuple[float, float, float, float],
) -> Judgement:
    confidence, step_s, ideal_s, policy = figures
    cause = None if winner is None else judged[winner]
    rest = sorted(
        (j for j in judged if j is not cause),
        key=lambda j: (j.state not in {"present", "absorbed"}, -j.gain_s, j.candidate.key),
    )
    absorbed = [j for j in rest if j.state == "absorbed"]
    named = cause.candidate if cause else absorbed[0].candidate if absorbed else None
    kind = cause.candidate.kind if cause else "absorbed" if absorbed else "none"
    without = effects.work_ns.copy()
    if cause:
        without[cause.candidate.op] += cause.candidate.change_ns
    taken = set(cause.candidate.ranks) if cause and cause.candidate.place == "rank" else set()
    others = [
        j
        for j in rest
        if j.gain_s >= policy
        and not (taken & set(j.candidate.ranks) and j.candidate.kind in {"rank", "host"})
    ]
    return Judgement(
        kind=kind,
        place=named.place if named else "nobody",
        mechanism=named.mechanism if named else "unknown",
        cause=cause or (absorbed[0] if absorbed else None),
        runner_up=others[0] if others else None,
        causes=tuple([cause, *rest] if cause else rest),
        confidence=confidence,
        step_s=step_s,
        step_without_s=_mean_step_s(job, replay(job.graph, without)),
        ideal_s=ideal_s,
        without_ns=without,
        noise_gain_s=judged[-1].gain_s,
        indistinguishable_from=_indistinguishable(job, named),
    )


def _mean_step_s(job: CoupledJob, timeline: Timeline) -> float:
    return float(step_time_ns(job.graph, timeline).mean()) / 1e9


def _block_gains(
    job: CoupledJob, effects: Effects, base: Timeline, candidate: Candidate
) -> FloatArray:
    """Seconds a step that removal returns, by block; the blocks sum to the mean gain.

    Blocks are steps; a job of one step is cut at its communications, in the order in which they
    became ready.
    """
    changed = effects.work_ns.copy()
    changed[candidate.op] += candidate.change_ns
    return _gain_blocks(job, base, replay(job.graph, changed))


def _gain_blocks(job: CoupledJob, base: Timeline, other: Timeline) -> FloatArray:
    graph = job.graph
    n_step = graph.step.size
    if n_step > 1:
        saved = step_time_ns(graph, base) - step_time_ns(graph, other)
        return np.asarray(saved / (1e9 * n_step), np.float64)
    sync = np.flatnonzero(graph.role == 3)
    order = sync[np.argsort(base.time_ns[1:][sync], kind="stable")]
    begin, end = (np.concatenate(b) for b in zip(*(step_bounds_ns(graph, t) for t in (base, other)), strict=True))
    marks = [
        np.concatenate([[begin[k]], np.maximum.accumulate(t.time_ns[1:][order]), [end[k]]])
        for k, t in enumerate((base, other))
    ]
    return np.asarray((np.diff(marks[0]) - np.diff(marks[1])) / 1e9, np.float64)


def _noise(
    job: CoupledJob,
    effects: Effects,
    candidates: Sequence[Candidate],
    gains: Sequence[FloatArray],
) -> tuple[Candidate, FloatArray]:
    """What remains to be gained from noise once significant places are ideal."""
    present = np.zeros(job.n_op, np.bool_)
    removed = effects.work_ns.copy()
    for c in sorted(candidates, key=lambda c: c.specificity):
        if c.significant and c.place != "all" and not present[c.op].any():
            removed[c.op] += c.change_ns
            present[c.op] = True
    quiet = np.where(present, removed, removed - effects.residual_ns)
    op = np.flatnonzero(~present & (effects.residual_ns != 0)).astype(np.int32)
    noise = Candidate(
        kind="jitter",
        place="all",
        mechanism="noise",
        key="noise of all ranks",
        op=op,
        change_ns=-effects.residual_ns[op],
        significant=True,
        specificity=4,
        ranks=tuple(job.rank["rank"].to_list()),
    )
    return noise, _gain_blocks(job, replay(job.graph, removed), replay(job.graph, quiet))


def _winner(
    candidates: Sequence[Candidate],
    gain: FloatArray,
    present: np.ndarray[tuple[int], np.dtype[np.bool_]],
    policy: float,
) -> int | None:
    """Index of the winner, or None."""
    noise = len(candidates) - 1
    places = [i for i in np.flatnonzero(present) if i != noise]
    noise_gain = float(gain[noise])
    if places:
        best = max(float(gain[i]) for i in places)
        if best >= OVER_NOISE_RATIO * noise_gain:
            near = [i for i in places if gain[i] >= NEAR_BEST_RATIO * best]
            return int(min(near, key=lambda i: (candidates[i].specificity, -gain[i], i)))
    return noise if noise_gain >= policy else None


def _resample(
    candidates: Sequence[Candidate],
    blocks: FloatArray,
    policy: float,
    winner: int | None,
    rng: np.random.Generator,
) -> tuple[list[float], list[float], float]:
    """Intervals of the gains, and how often the same candidate wins, over resampled blocks."""
    n_block = blocks.shape[1]
    weight = rng.multinomial(n_block, np.full(n_block, 1 / n_block), N_RESAMPLE)
    drawn = weight @ blocks.T
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    significant = np.array([c.significant for c in candidates])
    same = sum(
        _winner(candidates, row, significant & (row >= policy), policy) == winner for row in drawn
    )
    return low.tolist(), high.tolist(), same / N_RESAMPLE


def _excess_s(job: CoupledJob, candidate: Candidate) -> float:
    """Excess work a step on the rank that has most of it."""
    if not candidate.op.size:
        return 0.0
    per_rank = (
        pl.DataFrame({"rank": job.op["rank"].gather(candidate.op), "x": -candidate.change_ns})
        .group_by("rank")
        .agg(pl.col("x").sum())
    )
    return float(per_rank["x"].max()) / (1e9 * max(1, job.graph.step.size))  # type: ignore[arg-type]


def _shares(
    job: CoupledJob,
    effects: Effects,
    candidate: Candidate,
    figures: tuple[float, float, float],
) -> tuple[float, float]:
    """Removal and addition as shares of the waste."""
    gain, step_s, ideal_s = figures
    waste = step_s - ideal_s
    if waste <= POLICY_RATIO * step_s:
        return float("nan"), float("nan")
    added = effects.ideal_ns.copy()
    added[candidate.op] -= candidate.change_ns
    added = np.maximum(added, 0.0)
    with_it = _mean_step_s(job, replay(job.graph, added))
    return gain / waste, (with_it - ideal_s) / waste


def _state(candidate: Candidate, is_winner: bool, present: bool, exceeds: bool) -> str:  # noqa: FBT001
    if is_winner:
        return "verdict"
    if present:
        return "present"
    if not candidate.significant:
        return "within_noise"
    return "absorbed" if exceeds and candidate.kind != "jitter" else "below_policy"


def _indistinguishable(job: CoupledJob, cause: Candidate | None) -> tuple[str, ...]:
    """What the record cannot tell from the cause."""
    if cause is None:
        return ()
    alike = []
    per_stage = job.op.group_by("stage").agg(pl.col("rank").unique().sort())
    alone = {row[0]: row[1][0] for row in per_stage.iter_rows() if len(row[1]) == 1}
    if cause.kind == "stage" and cause.stage in alone and len(alone) > 1:
        alike.append(f"rank {alone[cause.stage]}")
    if cause.place == "rank" and len(cause.ranks) == 1 and cause.ranks[0] in alone.values() and len(alone) > 1:
        alike += [f"stage {s}" for s, r in alone.items() if r == cause.ranks[0]]
    if cause.place == "rank" and cause.mechanism == "unknown":
        alike += [f"host of {cause.key}"]
    return tuple(alike)
