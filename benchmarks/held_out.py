"""Detection on held-out jobs: another generator than the one that the engine was developed on.

    python benchmarks/held_out.py [--seed 1] [--repeats 7] [--nulls 200] [--processes 2] [--keep FILE]
    python benchmarks/held_out.py --sample

Prints the tables of docs/benchmarks.md, section Held-out jobs. Jobs come from the package
`held_out_jobs`, which shares no code with loadpath: a machine of host threads, streams and
communications that meet. The truth is the same job executed without its cause. Causes whose effect
is under 1 % of the makespan are left out of the count. The verdict is right if kind and place are
those of the truth, or the truth stands in ``indistinguishable_from``; of two slow ranks it may name
those whose removal alone, executed, returns 80 % of the whole. An accusation is a verdict other than
none, jitter, absorbed or not_assessable.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from detection import accusations, clopper_pearson
from held_out_jobs import kineto, op_table
from held_out_jobs.cases import CAUSES, FORMS, TABLE, Case, cases, limits, recorded
from held_out_jobs.plan import Plan, hosts_of, without

from loadpath.audit import run_audit

ACQUITTED = ("none", "jitter", "absorbed", "not_assessable")
LEAST_EFFECT = 0.01
ENOUGH_RATIO = 0.8
MAX_TRIALS = 5
MOST_RANKS = 16
"""Jobs of the fixed sample have no more ranks."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an audit said of a case."""

    case: Case
    effect_ratio: float
    right: bool
    accuses: bool
    verdict: str
    error_ratio: float
    gain_error_ratio: float
    seconds: float
    under_skew: str = ""


def examine(case: Case, *, skew: bool = False) -> Outcome:
    """Execute, record and audit one job; a cause too weak to count is made stronger."""
    maker: Any = op_table if case.form == TABLE else kineto
    healthy = maker.execute(without(case.plan))
    for _ in range(MAX_TRIALS):
        job = maker.execute(case.plan)
        effect = 1 - maker.makespan_s(healthy) / maker.makespan_s(job)
        if not case.plan.fault.kind or effect >= LEAST_EFFECT:
            break
        stronger = replace(case.plan.fault, size=2 * case.plan.fault.size)
        case = replace(case, plan=replace(case.plan, fault=stronger))
    audit, seconds = audited(case, job)
    verdict = audit.verdict
    right = is_right(case, verdict, lambda plan: maker.makespan_s(maker.execute(plan)))
    return Outcome(
        case=case,
        effect_ratio=effect,
        right=right,
        accuses=verdict["kind"] not in ACQUITTED,
        verdict=words(verdict),
        error_ratio=audit.document["replay"]["error_ratio_median"],
        gain_error_ratio=gain_error(case, verdict, maker.step_s(job) - maker.step_s(healthy))
        if right
        else float("nan"),
        seconds=seconds,
        under_skew=skewed(case, job, verdict) if skew and maker is kineto else "",
    )


def audited(case: Case, job: Any) -> tuple[Any, float]:
    """Record and audit an executed job; also how many seconds the audit took."""
    maker: Any = op_table if case.form == TABLE else kineto
    with tempfile.TemporaryDirectory() as folder:
        source = maker.write(case.plan, job, Path(folder))
        begin = time.perf_counter()
        audit = run_audit(source, hosts=Path(folder) / "hosts.csv", cache=False, brief=False)
        return audit, time.perf_counter() - begin


SAME = ("kind", "place", "ranks", "hosts", "stage", "link")


def skewed(case: Case, job: Any, verdict: Any) -> str:
    """Record the same execution with clocks up to 5 ms and 50 ppm apart; tell a changed verdict."""
    audit, _ = audited(replace(case, plan=replace(case.plan, skew=True)), job)
    same = all(audit.verdict[name] == verdict[name] for name in SAME)
    return "same" if same else f"changed: {words(audit.verdict)}"


def is_right(case: Case, verdict: Any, makespan_s: Callable[[Plan], float]) -> bool:
    """Compare kind and place of a verdict with the truth."""
    fault, kind = case.plan.fault, verdict["kind"]
    if case.name == "nobody":
        return kind in ACQUITTED
    if case.name in {"link", "group"}:
        return kind == "link" and set(verdict["link"] or ()) == set(fault.link)
    if case.name == "stage":
        named = kind == "stage" and verdict["stage"] == fault.stage
        return named or f"stage {fault.stage}" in verdict["indistinguishable_from"]
    if case.name in PLACE_OF:
        return (kind, verdict["place"]) == PLACE_OF[case.name]
    mechanisms = MECHANISMS.get(case.name, ("device", "unknown"))
    return verdict["mechanism"] in mechanisms and names_ranks(case, verdict, makespan_s)


PLACE_OF = {"data": ("data", "microbatch"), "all hosts": ("host", "all"),
            "all hosts, one place": ("host", "all")}  # fmt: skip
MECHANISMS = {
    "rank, host pauses": ("host",),
    "rank, rare host pauses": ("host",),
    "rank, late input": ("input",),
}


def names_ranks(case: Case, verdict: Any, makespan_s: Callable[[Plan], float]) -> bool:
    """Say whether a verdict names the ranks at fault, or of two those that cost most of it."""
    plan, fault, ranks = case.plan, case.plan.fault, set(verdict["ranks"])
    if verdict["place"] == "stage":
        names = ", ".join(map(str, fault.ranks))
        return f"rank{'s' * (len(fault.ranks) > 1)} {names}" in verdict["indistinguishable_from"]
    if verdict["place"] == "host":
        ranks = {r for r in recorded(plan, case.form) if hosts_of(plan)[r] in verdict["hosts"]}
    if case.name != "two ranks" or not ranks or not ranks < set(fault.ranks):
        return ranks == set(fault.ranks)
    whole, base = makespan_s(plan), makespan_s(without(plan))
    return whole - makespan_s(without(plan, *ranks)) >= ENOUGH_RATIO * (whole - base)


def gain_error(case: Case, verdict: Any, gain_s: float) -> float:
    """Relative error of the predicted gain a step; unequal data is taken out differently."""
    nothing = gain_s <= 0 or verdict["step_s_without"] is None
    if case.name in {"nobody", "data"} or nothing:
        return float("nan")
    return abs(float(verdict["step_s"] - verdict["step_s_without"]) - gain_s) / gain_s


def words(verdict: Any) -> str:
    """Say a verdict in one line."""
    names = ("ranks", "hosts", "stage", "link", "step_s", "step_s_without", "confidence")
    told = {n: verdict[n] for n in names if verdict.get(n) not in (None, [], (), -1)}
    runner = verdict.get("runner_up")
    more = f", runner-up {runner['key']} {runner['gain_s']:.4g} s" if runner else ""
    more += f" ({verdict['summary']})" if verdict["kind"] == "not_assessable" else ""
    shown = "".join(
        f", {n} {v:.4g}" if isinstance(v, float) else f", {n} {v}" for n, v in told.items()
    )
    return f"{verdict['kind']} {verdict['place']} {verdict['mechanism']}{shown}{more}"


def run(
    drawn: Sequence[Case], processes: int, *, skew: bool = False, kept: Path | None = None
) -> list[Outcome]:
    """Examine all cases, but those whose outcome is kept; in this process alone if `processes` is 1."""
    look = partial(examine, skew=skew)
    done = read_kept(kept, drawn) if kept else {}
    # mixed, so that what a stopped run leaves is a sample of all causes and forms
    mixed = np.random.default_rng(0).permutation(len(drawn)).tolist()
    left = [i for i in mixed if i not in done]
    asked = [drawn[i] for i in left]
    if processes == 1:
        found = zip(left, map(look, asked), strict=True)
        return collected(done | dict(keeping(found, kept)))
    with get_context("spawn").Pool(processes) as pool:
        found = zip(left, pool.imap(look, asked, chunksize=2), strict=True)
        return collected(done | dict(keeping(found, kept)))


def collected(done: dict[int, Outcome]) -> list[Outcome]:
    """Put outcomes in the order of cases."""
    return [done[i] for i in sorted(done)]


def keeping(
    found: Iterable[tuple[int, Outcome]], kept: Path | None
) -> Iterable[tuple[int, Outcome]]:
    """Write each outcome down as it comes, so that a run that was stopped goes on."""
    for i, outcome in found:
        if kept:
            told = {"number": i} | {k: v for k, v in asdict(outcome).items() if k != "case"}
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(told) + "\n")
        yield i, outcome


def read_kept(kept: Path, drawn: Sequence[Case]) -> dict[int, Outcome]:
    """Outcomes of an earlier run with the same options, by number."""
    outcomes = {}
    for line in kept.read_text(encoding="utf-8").splitlines() if kept.exists() else ():
        told = json.loads(line)
        number = told.pop("number")
        outcomes[number] = Outcome(case=drawn[number], **told)
    return outcomes


def sample() -> list[Case]:
    """Return the fixed sample that the tests audit."""
    drawn = cases(np.random.default_rng(7), repeats=1, nulls=24)
    return [case for case in drawn if case.plan.n_rank <= MOST_RANKS and not limits(case)]


def report(outcomes: Sequence[Outcome]) -> str:
    """Write what was named by cause and form, by habits, the accusations and errors of gains."""
    counted = [o for o in outcomes if o.case.name != "nobody" and o.effect_ratio >= LEAST_EFFECT]
    weak = sum(o.case.name != "nobody" for o in outcomes) - len(counted)
    clear = [o for o in counted if not limits(o.case)]
    nulls = [o for o in outcomes if o.case.name == "nobody"]
    parts = [
        "\n".join(by_cause(clear)),
        f"All: {interval(clear)}. Left out with effects under 1 %: {weak}.",
        "\n".join(apart(counted)),
        "\n".join(by_habit(clear)),
        "\n".join(accusations(nulls, FORMS)),
        "\n".join(gains(clear)),
        *clocks(outcomes),
    ]
    return "\n\n".join(parts)


def apart(outcomes: Sequence[Outcome]) -> Iterable[str]:
    """List what is beyond the record, and the total with it."""
    for reason in sorted({limits(o.case) for o in outcomes} - {""}):
        yield f"- {reason}: {share([o for o in outcomes if limits(o.case) == reason])}"
    yield f"- with these, all: {interval(outcomes)}"


def share(outcomes: Sequence[Outcome]) -> str:
    """Right ones of all."""
    return f"{sum(o.right for o in outcomes)}/{len(outcomes)}" if outcomes else ""


def interval(outcomes: Sequence[Outcome]) -> str:
    """Right ones of all, with the exact 95 % interval."""
    right = sum(o.right for o in outcomes)
    low, high = clopper_pearson(right, len(outcomes))
    return f"{right}/{len(outcomes)} ({100 * low:.1f} to {100 * high:.1f} %)"


def by_cause(outcomes: Sequence[Outcome]) -> Iterable[str]:
    """Table of causes and forms."""
    yield "| cause | " + " | ".join(FORMS) + " | all |"
    yield "|---|" + "---:|" * (len(FORMS) + 1)
    for name in [name for name in CAUSES if name != "nobody"]:
        mine = [o for o in outcomes if o.case.name == name]
        cells = [share([o for o in mine if o.case.form == form]) for form in FORMS]
        yield f"| {name} | " + " | ".join(cells) + f" | {share(mine)} |"
    cells = [share([o for o in outcomes if o.case.form == form]) for form in FORMS]
    yield "| all | " + " | ".join(cells) + f" | {share(outcomes)} |"


HABITS = ("noise", "steps", "overlap", "second_thread", "ids", "sync_events", "shapes")


def by_habit(outcomes: Sequence[Outcome]) -> Iterable[str]:
    """Table of what differs between jobs beside layout and cause; op tables have less of it."""
    yield "| habit | named rightly |"
    yield "|---|---|"
    for habit in HABITS:
        mine = [o for o in outcomes if o.case.form != TABLE or habit in {"noise", "steps"}]
        values = sorted({getattr(o.case.plan, habit) for o in mine})
        cells = [
            f"{v}: {share([o for o in mine if getattr(o.case.plan, habit) == v])}" for v in values
        ]
        yield f"| {habit} | {', '.join(cells)} |"
    edges = (LEAST_EFFECT, 0.02, 0.05, 0.1, 0.3, np.inf)
    bands = [
        f"{100 * a:.0f} % and more: {share([o for o in outcomes if a <= o.effect_ratio < b])}"
        for a, b in pairwise(edges)
    ]
    yield f"| effect | {', '.join(bands)} |"


def gains(outcomes: Sequence[Outcome]) -> Iterable[str]:
    """Table of errors of the predicted gain."""
    yield "| error of the predicted gain | jobs | median | 90th percentile |"
    yield "|---|---:|---:|---:|"
    for name in (*CAUSES, "all"):
        errors = [o.gain_error_ratio for o in outcomes if name in {o.case.name, "all"}]
        errors = [error for error in errors if np.isfinite(error)]
        if errors:
            middle, high = np.quantile(errors, [0.5, 0.9])
            yield f"| {name} | {len(errors)} | {100 * middle:.1f} % | {100 * high:.1f} % |"


def clocks(outcomes: Sequence[Outcome]) -> Iterable[str]:
    """Say how many verdicts stayed the same when clocks were skewed."""
    twice = [o for o in outcomes if o.under_skew]
    if twice:
        same = sum(o.under_skew == "same" for o in twice)
        yield f"Clocks up to 5 ms and 50 ppm apart: {same} of {len(twice)} verdicts are the same."


def miss(outcome: Outcome) -> str:
    """Tell one miss."""
    told = {"cause": outcome.case.name, "form": outcome.case.form, "effect": round(outcome.effect_ratio, 4),
            "verdict": outcome.verdict, "error": round(outcome.error_ratio, 5), "under_skew": outcome.under_skew, "plan": asdict(outcome.case.plan)}  # fmt: skip
    return json.dumps(told, sort_keys=False)


def main() -> None:
    """Run the suite and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--nulls", type=int, default=200)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--causes", nargs="*", choices=sorted(CAUSES))
    parser.add_argument("--forms", nargs="*", choices=FORMS)
    parser.add_argument("--misses", type=Path)
    parser.add_argument("--keep", type=Path, help="file of outcomes; those in it are not run again")
    parser.add_argument(
        "--skew", action="store_true", help="audit each trace with skewed clocks too"
    )
    parser.add_argument("--sample", action="store_true", help="the fixed sample of the tests")
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    drawn = sample() if asked.sample else list(cases(rng, asked.repeats, asked.nulls))
    drawn = [c for c in drawn if c.name in (asked.causes or CAUSES)]
    drawn = [c for c in drawn if c.form in (asked.forms or FORMS)]
    begin = time.perf_counter()
    outcomes = run(drawn, asked.processes, skew=asked.skew, kept=asked.keep)
    seconds = time.perf_counter() - begin
    print(report(outcomes))
    audits = sum(o.seconds for o in outcomes)
    print(f"\n{len(outcomes)} jobs in {seconds:.0f} s, {audits:.0f} s of them audits.")
    wrong = [
        o
        for o in outcomes
        if (not o.right and (o.effect_ratio >= LEAST_EFFECT or o.accuses))
        or o.under_skew.startswith("changed")
    ]
    if asked.misses:
        asked.misses.write_text("".join(miss(o) + "\n" for o in wrong), encoding="utf-8")


if __name__ == "__main__":
    main()
