"""Detection of planted causes against their size, and false accusations of healthy jobs.

    python benchmarks/detection.py [--seed 1] [--repeats 8] [--nulls 400] [--processes 2]
    python benchmarks/detection.py --sample

Prints the tables of docs/benchmarks.md, section Detection; with ``--misses FILE`` it also writes
one line for every job that was not named rightly. Jobs come from `loadpath.testing`: a seeded
program is executed with and without the cause, recorded, read back, and audited. The verdict is
right if kind and place (ranks, stage, link or hosts) are those of the truth, or the truth stands in
``indistinguishable_from``. An accusation is a verdict other than none, jitter, absorbed or
not_assessable.
"""

import argparse
import json
import math
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from loadpath.audit import run_audit
from loadpath.testing import Cause, SyntheticJob, Truth, make_job, write_kineto, write_op_table

SIZES = (0.02, 0.05, 0.1, 0.3)
TOLERANCE_RATIO, MAX_TRIALS = 0.25, 5
"""How well, and with how many seeds, the size of an effect is met."""
ACQUITTED = ("none", "jitter", "absorbed", "not_assessable")
TABLE, DATA, TENSOR, MIXED = "op table", "Kineto dp", "Kineto tp", "Kineto pp x tp x dp"
FORMATS = (TABLE, DATA, TENSOR, MIXED)

CAUSES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "rank": ({"kind": "rank"}, FORMATS),
    "rank, 30 % of steps": ({"kind": "rank", "steps_ratio": 0.3}, (TABLE, DATA, TENSOR)),
    "two ranks": ({"kind": "rank", "n_ranks": 2}, (TABLE, DATA)),
    "host": ({"kind": "host"}, (TABLE, DATA)),
    "rank, host pauses": (
        {"kind": "host", "place": "rank", "mechanism": "host"},
        (DATA, TENSOR, MIXED),
    ),
    "rank, late input": ({"kind": "host", "place": "rank", "mechanism": "input"}, (DATA, TENSOR)),
    "all hosts": ({"kind": "host", "place": "all"}, (DATA, TENSOR, MIXED)),
    "link": ({"kind": "link"}, (TABLE, MIXED)),
    "group": ({"kind": "link", "place": "group"}, (TABLE, MIXED)),
    "stage": ({"kind": "stage"}, (TABLE, MIXED)),
    "data": ({"kind": "data"}, (TABLE,)),
    "jitter": ({"kind": "jitter"}, (TABLE, DATA)),
    "none": ({}, FORMATS),
}
"""What is planted, and in which formats it can be."""


@dataclass(frozen=True, slots=True)
class Case:
    """One job to audit.

    Attributes
    ----------
    name, form : str
        Keys of `CAUSES` and `FORMATS`.
    seed : int
        Of the job.
    size : float
        Effect as a fraction of the step, 0 for none.
    shape : dict
        Fields of `loadpath.testing.Shape`.
    """

    name: str
    form: str
    seed: int
    size: float
    shape: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an audit said of a case.

    Attributes
    ----------
    case : Case
        The job.
    right, accuses : bool
        Kind and place are those of the truth; somebody is blamed.
    truth, verdict : str
        In words.
    error_ratio : float
        Replay error.
    gain_error_ratio : float
        Of the predicted gain against that of the job executed without its cause; NaN where the
        verdict is wrong or names no cause that can be taken out alike.
    seconds : float
        Time of the audit.
    """

    case: Case
    right: bool
    accuses: bool
    truth: str
    verdict: str
    error_ratio: float
    gain_error_ratio: float
    seconds: float


def cases(rng: np.random.Generator, repeats: int, nulls: int) -> Iterator[Case]:
    """Draw `repeats` jobs of every cause, format and size, and `nulls` jobs without a cause."""
    for name, (_, forms) in CAUSES.items():
        for form in forms:
            sizes = (0.0,) if name == "none" else SIZES
            number = -(-nulls // len(forms)) if name == "none" else repeats
            for size in sizes:
                for _ in range(number):
                    seed = int(rng.integers(1 << 31))
                    yield Case(name, form, seed, size, draw_shape(rng, name, form))


def draw_shape(rng: np.random.Generator, name: str, form: str) -> dict[str, Any]:
    """Draw the size of a job that such a cause fits into."""
    recorder = "op_table" if form == TABLE else "kineto"
    shape: dict[str, Any] = {"recorder": recorder} | _degrees(rng, name, form)
    shape["steps"] = int(rng.choice([3, 8, 16] if form == TABLE else [3, 6, 12]))
    shape["microbatches"] = int(rng.choice([4, 8, 12] if form == TABLE else [2, 4]))
    shape["noise"] = float(rng.choice([0.01, 0.02, 0.03, 0.05]))
    shape["overlap"] = bool(rng.random() < 0.5)
    if name == "rank, 30 % of steps":
        shape["steps"] = 16
    if name == "all hosts":
        shape["launch_bound"] = True
    return shape


def _degrees(rng: np.random.Generator, name: str, form: str) -> dict[str, int]:
    """Pipeline, tensor and data parallel degree; enough peers for the cause to stand out from."""
    if form == TABLE:
        needs_pp = 3 if name == "stage" else 2 if name in {"link", "group"} else 1
        needs_dp = 4 if name in {"two ranks", "host"} else 2
        pp = [p for p in (1, 2, 3, 4) if p >= needs_pp]
        dp = [d for d in (2, 3, 4, 8) if d >= needs_dp]
        return {"pp": int(rng.choice(pp)), "tp": 1, "dp": int(rng.choice(dp))}
    if form == DATA:
        return {"pp": 1, "tp": 1, "dp": int(rng.choice([4, 6, 8]))}
    if form == TENSOR:
        return {"pp": 1, "tp": int(rng.choice([2, 4, 8])), "dp": 1}
    if name == "stage":
        return {"pp": 4, "tp": int(rng.choice([1, 2])), "dp": 2}
    return {"pp": int(rng.choice([2, 4])), "tp": 2, "dp": 2}


def examine(case: Case) -> Outcome:
    """Make, record and audit one job."""
    job = make(case)
    with tempfile.TemporaryDirectory() as folder:
        hosts = Path(folder) / "hosts.csv"
        if case.form == TABLE:
            source = write_op_table(job, folder)
            next(Path(folder).glob("hosts-*.csv")).rename(hosts)
        else:
            source = write_kineto(job, folder)
        begin = time.perf_counter()
        audit = run_audit(source, hosts=hosts)
        seconds = time.perf_counter() - begin
    verdict = audit.verdict
    right = is_right(job.truth, verdict)
    return Outcome(
        case=case,
        right=right,
        accuses=verdict["kind"] not in ACQUITTED,
        truth=_words(asdict(job.truth)),
        verdict=_words(verdict),
        error_ratio=audit.document["replay"]["error_ratio_median"],
        gain_error_ratio=_gain_error(job, verdict) if right else float("nan"),
        seconds=seconds,
    )


def make(case: Case) -> SyntheticJob:
    """Make the job of a case, with further seeds where an effect of its size cannot be had."""
    job = make_job(case.seed, cause=planted(case), **case.shape)
    for further in range(1, MAX_TRIALS):
        if abs(job.truth.effect_ratio - case.size) <= TOLERANCE_RATIO * case.size:
            break
        job = make_job(case.seed + further, cause=planted(case), **case.shape)
    return job


def planted(case: Case) -> Cause | None:
    """Return the cause of a case."""
    fields, _ = CAUSES[case.name]
    return Cause(size=case.size, **fields) if fields else None


def is_right(truth: Truth, verdict: Any) -> bool:
    """Compare kind and place of a verdict with the truth."""
    if truth.kind == "none":
        return verdict["kind"] in ACQUITTED
    if truth.place == "rank" and verdict["place"] == "host":
        # ranks that happen to be a whole host are that host
        return set(verdict["ranks"]) == set(truth.ranks)
    if truth.kind != verdict["kind"]:
        return _label(truth) in verdict["indistinguishable_from"]
    named = {
        "stage": verdict["stage"] == truth.stage,
        "link": set(verdict["link"] or ()) == set(truth.link),
        "group": set(verdict["link"] or ()) == set(truth.link),
        "rank": set(verdict["ranks"]) == set(truth.ranks),
        "host": set(verdict["hosts"]) == set(truth.hosts),
    }
    return bool(named.get(truth.place, verdict["place"] == truth.place))


def _label(truth: Truth) -> str:
    if truth.kind == "stage":
        return f"stage {truth.stage}"
    return f"rank {truth.ranks[0]}" if truth.kind == "rank" and len(truth.ranks) == 1 else "-"


def _gain_error(job: SyntheticJob, verdict: Any) -> float:
    """Relative error of the predicted gain; noise and unequal data are taken out differently."""
    gain = job.truth.step_s - job.truth.step_s_without
    if job.truth.kind in {"none", "jitter", "data"} or verdict["step_s_without"] is None:
        return float("nan")
    return abs(float(verdict["step_s"] - verdict["step_s_without"]) - gain) / gain


def _words(finding: Any) -> str:
    parts = (finding["kind"], finding["place"], finding["mechanism"])
    names = ("ranks", "hosts", "stage", "link", "step_s", "step_s_without", "confidence")
    places = {name: finding[name] for name in names if finding.get(name) not in (None, [], (), -1)}
    runner = finding.get("runner_up")
    more = f", runner-up {runner['key']} {runner['gain_s']:.4g} s" if runner else ""
    return " ".join(parts) + "".join(f", {n} {_short(v)}" for n, v in places.items()) + more


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def clopper_pearson(n_hit: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Exact two-sided interval of a share.

    References
    ----------
    .. [1] C. J. Clopper, E. S. Pearson, Biometrika 26(4), 1934.
    """
    tail = (1 - level) / 2
    low = 1.0 - _limit(n - n_hit, n, tail)
    return low, _limit(n_hit, n, tail)


def _limit(n_hit: int, n: int, tail: float) -> float:
    """Share with which `n_hit` or fewer of `n` have probability `tail`, by bisection."""
    ways = [math.comb(n, k) for k in range(n_hit + 1)]
    low, high = 0.0, 1.0
    while n_hit < n and high - low > 1e-9:
        share = (low + high) / 2
        below = sum(w * share**k * (1 - share) ** (n - k) for k, w in enumerate(ways))
        low, high = (share, high) if below > tail else (low, share)
    return high


def run(drawn: Sequence[Case], processes: int) -> list[Outcome]:
    """Examine all cases; in this process alone if `processes` is 1."""
    if processes == 1:
        return [examine(case) for case in drawn]
    with get_context("spawn").Pool(processes) as pool:
        return list(pool.imap(examine, drawn, chunksize=4))


def sample() -> list[Case]:
    """Return the fixed sample that the tests audit: effects of 10 and 30 %, and null jobs."""
    rng = np.random.default_rng(20)
    drawn = cases(rng, repeats=1, nulls=40)
    return [case for case in drawn if case.size in {0.0, 0.1, 0.3}]


def report(outcomes: Sequence[Outcome]) -> str:
    """Write detection against size, false accusations, and the error of gains as Markdown."""
    planted_ones = [o for o in outcomes if o.case.name != "none"]
    nulls = [o for o in outcomes if o.case.name == "none"]
    large = [o for o in planted_ones if o.case.size >= 0.1]
    parts = [
        "\n".join(_curve(planted_ones)),
        f"At 10 % and more: {_share(large)} named rightly.",
        "\n".join(accusations(nulls, FORMATS)),
        "\n".join(_gains(planted_ones)),
    ]
    return "\n\n".join(parts)


def _curve(outcomes: Sequence[Outcome]) -> Iterable[str]:
    yield "| cause | format | " + " | ".join(f"{100 * s:.0f} %" for s in SIZES) + " |"
    yield "|---|---|" + "---:|" * len(SIZES)
    for name, (_, forms) in CAUSES.items():
        for form in forms if name != "none" else ():
            mine = [o for o in outcomes if (o.case.name, o.case.form) == (name, form)]
            cells = [_share([o for o in mine if o.case.size == size]) for size in SIZES]
            yield f"| {name} | {form} | " + " | ".join(cells) + " |"
    cells = [_share([o for o in outcomes if o.case.size == size]) for size in SIZES]
    yield "| all | all | " + " | ".join(cells) + " |"


def _share(outcomes: Sequence[Outcome]) -> str:
    right = sum(o.right for o in outcomes)
    share = f" ({100 * right / len(outcomes):.0f} %)" if len(outcomes) > 40 else ""
    return f"{right}/{len(outcomes)}{share}"


def accusations(nulls, forms):
    """Table of healthy jobs, by form of record; also for other suites of the same outcomes."""
    yield "| healthy jobs | accused | not assessable | 95 % interval of the share accused |"
    yield "|---|---:|---:|---:|"
    for form in (*forms, "all"):
        mine = [o for o in nulls if form in {o.case.form, "all"}]
        if not mine:
            continue
        accused = sum(o.accuses for o in mine)
        refused = sum(o.verdict.startswith("not_assessable") for o in mine)
        low, high = (f"{100 * edge:.1f} %" for edge in clopper_pearson(accused, len(mine)))
        yield f"| {form}, {len(mine)} | {accused} | {refused} | {low} to {high} |"


def _gains(outcomes: Sequence[Outcome]) -> Iterable[str]:
    yield "| error of the predicted gain | jobs | median | 90th percentile |"
    yield "|---|---:|---:|---:|"
    for name in (*CAUSES, "all"):
        for size in SIZES if name == "all" else (0.0,):
            errors = [
                o.gain_error_ratio
                for o in outcomes
                if name in {o.case.name, "all"}
                and (o.case.size == size if name == "all" else o.case.size >= 0.1)
                and np.isfinite(o.gain_error_ratio)
            ]
            if errors:
                label = f"all, {100 * size:.0f} %" if name == "all" else f"{name}, 10 and 30 %"
                middle, high = np.quantile(errors, [0.5, 0.9])
                yield (f"| {label} | {len(errors)} | {100 * middle:.1f} % | {100 * high:.1f} % |")


def main() -> None:
    """Run the sweep and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--nulls", type=int, default=400)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--causes", nargs="*", choices=sorted(CAUSES))
    parser.add_argument("--formats", nargs="*", choices=FORMATS)
    parser.add_argument("--misses", type=Path)
    parser.add_argument("--sample", action="store_true", help="the fixed sample of the tests")
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    drawn = sample() if asked.sample else list(cases(rng, asked.repeats, asked.nulls))
    drawn = [c for c in drawn if c.name in (asked.causes or CAUSES)]
    drawn = [c for c in drawn if c.form in (asked.formats or FORMATS)]
    begin = time.perf_counter()
    outcomes = run(drawn, asked.processes)
    seconds = time.perf_counter() - begin
    print(report(outcomes))
    audits = sum(o.seconds for o in outcomes)
    print(f"\n{len(outcomes)} jobs in {seconds:.0f} s, {audits:.0f} s of them audits.")
    if asked.misses:
        as_json = partial(json.dumps, sort_keys=True)
        wrong = [asdict(o) for o in outcomes if not o.right]
        asked.misses.write_text("".join(as_json(o) + "\n" for o in wrong), encoding="utf-8")


if __name__ == "__main__":
    main()
