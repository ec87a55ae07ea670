"""Clocks that err, on jobs with planted causes: does the verdict stay, or is it refused?

    python benchmarks/clock_cases.py [--seed 1] [--cases 500]

Prints the table of docs/benchmarks.md, section Clocks. Each job of `loadpath.testing` is recorded
once with steady clocks and audited; then its traces are rewritten as other clocks would have
recorded them, and audited again. A clock that errs by offset and drift must change neither kind
nor place of the verdict, and must be recovered; one that jumps must not change the culprit, or
be refused. No op may have a negative duration. Ends with 1 if any case fails.
"""

import argparse
import copy
import itertools
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from loadpath.audit import Audit, run_audit
from loadpath.testing import Cause, SyntheticJob, kineto_trace, make_job

Trace = dict[str, Any]

DAY_NS, HOUR_NS = 86_400 * 10**9, 3_600 * 10**9
END_OF_32_BITS_NS = 2**31 * 10**9
RECOVERED_NS = 50_000

JOBS: tuple[tuple[dict[str, Any], Cause | None], ...] = (
    ({"pp": 1, "dp": 4}, Cause("rank", 0.1)),
    ({"pp": 1, "dp": 4}, Cause("host", 0.1, place="rank", mechanism="input")),
    ({"pp": 1, "dp": 1, "tp": 4}, Cause("host", 0.1, place="rank", mechanism="host")),
    ({"pp": 2, "tp": 2, "dp": 2}, Cause("rank", 0.1)),
    ({"pp": 2, "tp": 2, "dp": 2, "overlap": True}, Cause("link", 0.1)),
    ({"pp": 4, "dp": 1}, Cause("stage", 0.15)),
    ({"pp": 4, "dp": 2}, Cause("stage", 0.1)),
    ({"pp": 2, "tp": 2, "dp": 2}, None),
    ({"pp": 1, "dp": 8}, None),
)
STEADY = (
    "skew of one rank", "skew of half the ranks", "skew of all ranks", "a day off",
    "daylight saving", "no base time on one rank", "2038", "skew of hosts",
)  # fmt: skip
JUMPS = ("backward step", "backward step of a host", "forward step", "daylight saving midway")
KINDS = (*STEADY, *JUMPS)


@dataclass(frozen=True, slots=True)
class Case:
    """One job recorded by clocks that err.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    job : int
        Index into `JOBS`.
    seed : int
        Of the clocks.
    """

    kind: str
    job: int
    seed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an audit said of a case.

    Attributes
    ----------
    case : Case
        The case.
    is_same, is_refused, is_negative : bool
        Kind and place as with steady clocks (of jumps, which may cost a step: the culprit); no
        conclusion; an op has a negative duration.
    error_ns : int
        What clocks disagree by after they were set, at any time of the recording.
    text : str
        Verdicts with and without the error.
    """

    case: Case
    is_same: bool
    is_refused: bool
    is_negative: bool
    error_ns: int
    text: str

    @property
    def is_right(self) -> bool:
        """Whether the promise was kept."""
        if self.is_negative:
            return False
        if self.case.kind in STEADY:
            return self.is_same and self.error_ns <= RECOVERED_NS
        return self.is_same or self.is_refused


@dataclass(frozen=True, slots=True)
class Clocks:
    """What each rank's clock shows: offset, drift, and a jump at one moment."""

    offset_ns: np.ndarray
    drift: np.ndarray
    jump_ns: np.ndarray
    jump_at_us: float

    def show(self, rank: int, time_us: np.ndarray, begin_us: float) -> np.ndarray:
        """Time stamps of a rank, without its offset, which goes into the base time."""
        jumped = np.where(time_us > self.jump_at_us, self.jump_ns[rank] / 1000, 0.0)
        return time_us + self.drift[rank] * (time_us - begin_us) + jumped


def cases(n: int) -> list[Case]:
    """List the first `n` cases: all kinds on all jobs, then again with other clocks."""
    endless = (
        Case(kind, job, seed)
        for seed in itertools.count()
        for job in range(len(JOBS))
        for kind in KINDS
    )
    return list(itertools.islice(endless, n))


def run(chosen: list[Case], seed: int) -> Iterator[Outcome]:
    """Audit cases, job by job."""
    for number, (shape, cause) in enumerate(JOBS):
        mine = [case for case in chosen if case.job == number]
        if mine:
            job = make_job(seed + number, recorder="kineto", steps=6, microbatches=4, cause=cause,
                           **shape)  # fmt: skip
            traces = [kineto_trace(job, rank) for rank in job.clock["rank"].to_list()]
            steady = _audit(traces)
            for case in mine:
                yield _outcome(case, job, traces, steady)


def _outcome(case: Case, job: SyntheticJob, traces: list[Trace], steady: Audit) -> Outcome:
    clocks = _clocks(case, len(traces), traces)
    other = _audit([_rewritten(trace, rank, clocks, case) for rank, trace in enumerate(traces)])
    before, after = _named(steady), _named(other)
    return Outcome(
        case=case,
        is_same=before == after if case.kind in STEADY else _same_culprit(before, after),
        is_refused=after[0] == "not_assessable",
        is_negative=bool((other.job.op["duration_ns"] < 0).any()),
        error_ns=_error_ns(job, clocks, other) if case.kind in STEADY else 0,
        text=f"{before} -> {after}",
    )


def _named(audit: Audit) -> tuple[Any, ...]:
    verdict = audit.verdict
    return (verdict["kind"], verdict["place"], verdict["ranks"], verdict["stage"], verdict["link"])


def _same_culprit(before: tuple[Any, ...], after: tuple[Any, ...]) -> bool:
    return after[0] != "not_assessable" and before[2:] == after[2:]


def _clocks(case: Case, n: int, traces: list[Trace]) -> Clocks:
    """Draw the errors of a case."""
    rng = np.random.default_rng([case.seed, case.job, KINDS.index(case.kind)])
    times = [e["ts"] for e in traces[0]["traceEvents"] if e["ph"] == "X"]
    still = Clocks(np.zeros(n, np.int64), np.zeros(n), np.zeros(n), _between(rng, times))
    one = rng.permutation(n) == 0
    if case.kind.startswith("skew") or case.kind == "2038":
        share = 1 / n if "one" in case.kind else 0.5 if "half" in case.kind else 1.0
        off = rng.permutation(n) < max(1, round(share * n))
        offset = np.where(off, rng.integers(-5_000_000, 5_000_000, n), 0)
        drift = np.where(off, rng.uniform(-5e-5, 5e-5, n), 0)
        # all ranks of a host read its one clock; elsewhere a host name does not tell the truth
        names = [trace["host_name"] for trace in traces]
        reads = np.array(
            [names.index(x) if "hosts" in case.kind else i for i, x in enumerate(names)]
        )
        return replace(still, offset_ns=offset[reads], drift=drift[reads])
    size = {
        "a day off": int(rng.choice([-1, 1])) * DAY_NS,
        "daylight saving": int(rng.choice([-1, 1])) * HOUR_NS,
        "no base time on one rank": -traces[0]["baseTimeNanoseconds"],
        "backward step": -int(rng.integers(1_000_000, 50_000_000)),
        "backward step of a host": -int(rng.integers(1_000_000, 50_000_000)),
        "forward step": int(rng.integers(1_000_000, 50_000_000)),
        "daylight saving midway": int(rng.choice([-1, 1])) * HOUR_NS,
    }[case.kind]
    if case.kind in JUMPS:
        chosen = np.arange(n) < n // 2 if "host" in case.kind else one
        return replace(still, jump_ns=np.where(chosen, size, 0))
    return replace(still, offset_ns=np.where(one, size, 0))


def _between(rng: np.random.Generator, times: list[float]) -> float:
    return float(rng.uniform(min(times), max(times)))


def _rewritten(trace: Trace, rank: int, clocks: Clocks, case: Case) -> Trace:
    """Write a trace as a rank's clock would have recorded it."""
    trace = copy.deepcopy(trace)
    events = [event for event in trace["traceEvents"] if "ts" in event]
    start = np.array([event["ts"] for event in events])
    end = start + np.array([event.get("dur", 0.0) for event in events])
    shown = [clocks.show(rank, time, start.min()) for time in (start, end)]
    for event, begin, finish in zip(events, *shown, strict=True):
        event["ts"] = round(float(begin), 3)
        if "dur" in event:
            event["dur"] = round(float(finish - begin), 3)
    base = trace["baseTimeNanoseconds"]
    if case.kind == "2038":
        base = END_OF_32_BITS_NS - int(clocks.jump_at_us * 1000)
    trace["baseTimeNanoseconds"] = base + int(clocks.offset_ns[rank])
    return trace


def _audit(traces: list[Trace]) -> Audit:
    with tempfile.TemporaryDirectory() as folder:
        for rank, trace in enumerate(traces):
            (Path(folder) / f"rank{rank}.json").write_text(json.dumps(trace))
        return run_audit(folder, brief=False)


def _error_ns(job: SyntheticJob, clocks: Clocks, audit: Audit) -> int:
    """Largest disagreement of clocks that is left, at the begin or the end of the recording."""
    rank = audit.table("rank")
    span = int(job.op["end_ns"].max())  # type: ignore[arg-type]
    growth = clocks.drift - rank["clock_drift_ppb"].to_numpy() * 1e-9
    middle = clocks.offset_ns - rank["clock_offset_ns"].to_numpy() + clocks.drift * span / 2
    return max(int(np.ptp(middle + sign * growth * span / 2)) for sign in (-1, 1))


def main() -> int:
    """Run the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=500)
    given = parser.parse_args()
    outcomes = list(run(cases(given.cases), given.seed))
    print("| clocks | cases | same verdict | refused | worst error left |")
    print("|---|---|---|---|---|")
    for kind in KINDS:
        mine = [o for o in outcomes if o.case.kind == kind]
        count = Counter("same" if o.is_same else "refused" if o.is_refused else "" for o in mine)
        worst = max((o.error_ns for o in mine), default=0)
        left = f"{worst / 1000:.1f} us" if kind in STEADY else ""
        print(f"| {kind} | {len(mine)} | {count['same']} | {count['refused']} | {left} |")
    wrong = [o for o in outcomes if not o.is_right]
    for outcome in wrong:
        print(f"{outcome.case}: {outcome.text}, {outcome.error_ns} ns left", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
