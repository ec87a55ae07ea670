"""Detection on held-out jobs: another generator than the one that the engine was developed on.

    python benchmarks/held_out.py [--seed 1] [--repeats 7] [--nulls 200] [--processes 2]
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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from detection import clopper_pearson
from held_out_jobs import kineto, op_table
from held_out_jobs.plan import Fault, Plan, group_of, hosts_of, rank_at, without

from loadpath.audit import run_audit

ACQUITTED = ("none", "jitter", "absorbed", "not_assessable")
LEAST_EFFECT = 0.01
ENOUGH_RATIO = 0.8
MAX_TRIALS = 5
TABLE, DATA, SHARDED, TENSOR, MIXED = "op table", "dp", "sharded dp", "tp", "pp x tp x dp"
FORMS = (TABLE, DATA, SHARDED, TENSOR, MIXED)
CAUSES: dict[str, tuple[str, ...]] = {
    "rank": FORMS,
    "rank, intermittent": FORMS,
    "two ranks": (TABLE, DATA, SHARDED, MIXED),
    "host": (TABLE, DATA, SHARDED, MIXED),
    "rank, host pauses": (DATA, SHARDED, TENSOR, MIXED),
    "rank, late input": (DATA, SHARDED),
    "all hosts": (DATA, SHARDED, TENSOR, MIXED),
    "link": (TABLE, MIXED),
    "group": (TABLE, MIXED),
    "stage": (TABLE, MIXED),
    "data": (TABLE, MIXED),
    "nobody": FORMS,
}
SIZES = {
    "rank": (0.03, 0.4), "rank, intermittent": (0.08, 0.8), "two ranks": (0.03, 0.4),
    "host": (0.03, 0.4), "rank, host pauses": (0.3, 3.0), "rank, late input": (0.3, 5.0),
    "all hosts": (0.1, 1.0), "link": (1.0, 12.0), "group": (0.4, 4.0), "stage": (0.3, 0.8),
    "data": (0.05, 0.4),
}  # fmt: skip
LAYOUTS = {
    TABLE: [(1, 1, 4), (1, 1, 8), (2, 1, 4), (2, 4, 2), (4, 1, 4), (4, 2, 4), (8, 1, 2), (4, 1, 8)],
    DATA: [(1, 1, 4), (1, 1, 8), (1, 1, 16)],
    SHARDED: [(1, 1, 4), (1, 1, 8)],
    TENSOR: [(1, 4, 1), (1, 8, 1), (1, 4, 2), (1, 2, 4)],
    MIXED: [(2, 2, 2), (4, 2, 2), (4, 1, 2), (2, 2, 4), (4, 2, 4), (8, 2, 2), (8, 1, 2), (2, 4, 4)],
}
"""Stages, tensor peers and replicas."""


@dataclass(frozen=True, slots=True)
class Case:
    """One job to audit."""

    name: str
    form: str
    plan: Plan


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


def cases(rng: np.random.Generator, repeats: int, nulls: int) -> Iterator[Case]:
    """Draw jobs of every cause and form."""
    for name, forms in CAUSES.items():
        for form in forms:
            for _ in range(-(-nulls // len(forms)) if name == "nobody" else repeats):
                plan = draw_plan(rng, name, form)
                yield Case(name, form, replace(plan, fault=draw_fault(rng, name, form, plan)))


def draw_plan(rng: np.random.Generator, name: str, form: str) -> Plan:
    """Draw a layout and habits that such a cause fits into."""
    layouts = [size for size in LAYOUTS[form] if fits(name, form, *size)]
    pp, tp, dp = layouts[rng.integers(len(layouts))]
    n_rank = pp * tp * dp
    spread = float(rng.choice([0.0, 0.05, 0.15]))
    ids = ("full", "no_seq", "inputs") if form == MIXED else ("full", "no_seq", "inputs", "names")
    return Plan(
        seed=int(rng.integers(1 << 30)),
        pp=pp,
        tp=tp,
        dp=dp,
        steps=int(rng.choice([4, 8, 12] if n_rank <= 8 or form == TABLE else [3, 5])),
        microbatches=int(rng.choice([4, 8] if form == TABLE else [2, 4])) + pp // 4 * 2,
        layers=int(rng.choice([1, 2, 3] if n_rank <= 8 else [1, 2])),
        noise=float(rng.choice([0.01, 0.02, 0.03, 0.05])),
        overlap=bool(rng.random() < 0.6),
        sharded=form == SHARDED,
        second_thread=bool(rng.random() < 0.5),
        kernel_us=12.0 if name == "all hosts" else float(rng.choice([60.0, 120.0, 250.0])),
        stage_work=tuple(1 + spread * rng.uniform(-1, 1, pp)),
        per_host=2 if n_rank <= 8 else 4,
        ids="full" if form == TABLE else str(rng.choice(ids if tp * dp in {tp, dp} else ids[:3])),
        sync_events=bool(rng.random() < 0.5),
        shapes=bool(rng.random() < 0.5),
    )


def fits(name: str, form: str, pp: int, tp: int, dp: int) -> bool:
    """Say whether a layout has peers that such a cause stands out from."""
    if name in {"stage"}:
        return pp >= 4
    if name == "link":
        return pp >= 2 and (form != TABLE or tp == 1)
    if name == "group":
        return pp * tp >= 3 and dp >= 2
    if name in {"two ranks", "host"}:
        return tp * dp >= 4 and (form != TABLE or tp == 1)
    return True


def draw_fault(rng: np.random.Generator, name: str, form: str, plan: Plan) -> Fault:
    """Draw where the cause sits and how large it is."""
    if name == "nobody":
        return Fault()
    low, high = SIZES[name]
    size = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    ranks = recorded(plan, form)
    one = int(rng.choice(ranks))
    some = tuple(sorted(map(int, rng.choice(plan.steps, max(1, plan.steps // 3), replace=False))))
    pair = tuple(sorted(map(int, rng.choice(ranks, 2, replace=False))))
    host = hosts_of(plan)[one]
    on_host = tuple(r for r in ranks if hosts_of(plan)[r] == host)
    upper = int(rng.integers(1, plan.pp)) if plan.pp > 1 else 0
    stage, replica, peer = upper, int(rng.integers(plan.dp)), 0 if form == TABLE else int(rng.integers(plan.tp))
    link = (rank_at(plan, stage - 1, replica, peer), rank_at(plan, stage, replica, peer))
    group = group_of(plan, "dp", one)
    return {
        "rank": Fault("rank", (one,), size=size),
        "rank, intermittent": Fault("rank", (one,), size=size, steps=some),
        "two ranks": Fault("rank", pair, size=size),
        "host": Fault("host", on_host, size=size),
        "rank, host pauses": Fault("pauses", (one,), size=size),
        "rank, late input": Fault("input", (one,), size=size),
        "all hosts": Fault("pauses", tuple(range(plan.n_rank)), size=size),
        "link": Fault("link", link=link, size=size),
        "group": Fault("link", link=group, size=size),
        "stage": Fault("stage", stage=int(rng.integers(plan.pp)), size=size),
        "data": Fault("data", size=size),
    }[name]


def recorded(plan: Plan, form: str) -> list[int]:
    """Ranks that have a record: an op table has one of each tensor group."""
    return list(range(0, plan.n_rank, plan.tp if form == TABLE else 1))


def examine(case: Case, *, skew: bool = False) -> Outcome:
    """Execute, record and audit one job; a cause too weak to count is made stronger."""
    maker: Any = op_table if case.form == TABLE else kineto
    base = maker.makespan_s(maker.execute(without(case.plan)))
    for _ in range(MAX_TRIALS):
        job = maker.execute(case.plan)
        gain_s = maker.makespan_s(job) - base
        if not case.plan.fault.kind or gain_s >= LEAST_EFFECT * maker.makespan_s(job):
            break
        stronger = replace(case.plan.fault, size=2 * case.plan.fault.size)
        case = replace(case, plan=replace(case.plan, fault=stronger))
    audit, seconds = audited(case, job)
    verdict = audit.verdict
    right = is_right(case, verdict, lambda plan: maker.makespan_s(maker.execute(plan)))
    return Outcome(
        case=case,
        effect_ratio=gain_s / maker.makespan_s(job),
        right=right,
        accuses=verdict["kind"] not in ACQUITTED,
        verdict=words(verdict),
        error_ratio=audit.document["replay"]["error_ratio_median"],
        gain_error_ratio=gain_error(case, verdict, gain_s) if right else float("nan"),
        seconds=seconds,
        under_skew=skewed(case, job, verdict) if skew and maker is kineto else "",
    )


def audited(case: Case, job: Any) -> tuple[Any, float]:
    """Record and audit an executed job; also how many seconds the audit took."""
    maker: Any = op_table if case.form == TABLE else kineto
    with tempfile.TemporaryDirectory() as folder:
        source = maker.write(case.plan, job, Path(folder))
        begin = time.perf_counter()
        audit = run_audit(source, hosts=Path(folder) / "hosts.csv")
        return audit, time.perf_counter() - begin


SAME = ("kind", "place", "ranks", "hosts", "stage", "link")


def skewed(case: Case, job: Any, verdict: Any) -> str:
    """Record the same execution with clocks up to 5 ms and 50 ppm apart; tell a changed verdict."""
    audit, _ = audited(replace(case, plan=replace(case.plan, skew=True)), job)
    same = all(audit.verdict[name] == verdict[name] for name in SAME)
    return "same" if same else f"changed: {words(audit.verdict)}"


def is_right(case: Case, verdict: Any, makespan_s: Callable[[Plan], float]) -> bool:
    """Compare kind and place of a verdict with the truth."""
    plan, fault = case.plan, case.plan.fault
    kind, place, ranks = verdict["kind"], verdict["place"], set(verdict["ranks"])
    if case.name == "nobody":
        return kind in ACQUITTED
    if case.name in {"link", "group"}:
        return kind == "link" and set(verdict["link"] or ()) == set(fault.link)
    if case.name == "stage":
        alike = f"stage {fault.stage}" in verdict["indistinguishable_from"]
        return (kind == "stage" and verdict["stage"] == fault.stage) or alike
    if case.name == "data":
        return bool(kind == "data")
    if case.name == "all hosts":
        return bool(kind == "host" and place == "all")
    if place == "host" and case.name in {"rank", "two ranks", "host"}:
        ranks = {r for r in recorded(plan, case.form) if hosts_of(plan)[r] in verdict["hosts"]}
    mechanisms = {"rank, host pauses": ("host",), "rank, late input": ("input",)}
    if verdict["mechanism"] not in mechanisms.get(case.name, ("device", "unknown")):
        return False
    if place == "stage":
        names = ", ".join(map(str, fault.ranks))
        alike = {f"rank{'s' * (len(fault.ranks) > 1)} {names}"}
        alike |= {f"host {hosts_of(plan)[fault.ranks[0]]}"} if case.name == "host" else set()
        return bool(alike & set(verdict["indistinguishable_from"]))
    if ranks == set(fault.ranks):
        return True
    if case.name != "two ranks" or not ranks or not ranks < set(fault.ranks):
        return False
    whole, base = makespan_s(plan), makespan_s(without(plan))
    return whole - makespan_s(without(plan, *ranks)) >= ENOUGH_RATIO * (whole - base)


def gain_error(case: Case, verdict: Any, gain_s: float) -> float:
    """Relative error of the predicted gain a step; unequal data is taken out differently."""
    if case.name in {"nobody", "data"} or verdict["step_s_without"] is None:
        return float("nan")
    gain = gain_s / case.plan.steps
    return abs(float(verdict["step_s"] - verdict["step_s_without"]) - gain) / gain


def words(verdict: Any) -> str:
    """Say a verdict in one line."""
    names = ("ranks", "hosts", "stage", "link", "step_s", "step_s_without", "confidence")
    told = {n: verdict[n] for n in names if verdict.get(n) not in (None, [], (), -1)}
    runner = verdict.get("runner_up")
    more = f", runner-up {runner['key']} {runner['gain_s']:.4g} s" if runner else ""
    more += f" ({verdict['summary']})" if verdict["kind"] == "not_assessable" else ""
    shown = "".join(f", {n} {v:.4g}" if isinstance(v, float) else f", {n} {v}" for n, v in told.items())
    return f"{verdict['kind']} {verdict['place']} {verdict['mechanism']}{shown}{more}"


def run(drawn: Sequence[Case], processes: int, *, skew: bool = False) -> list[Outcome]:
    """Examine all cases; in this process alone if `processes` is 1."""
    look = partial(examine, skew=skew)
    if processes == 1:
        return [look(case) for case in drawn]
    with get_context("spawn").Pool(processes) as pool:
        return list(pool.imap(look, drawn, chunksize=2))


def sample() -> list[Case]:
    """Return the fixed sample that the tests audit."""
    return list(cases(np.random.default_rng(7), repeats=1, nulls=20))


def report(outcomes: Sequence[Outcome]) -> str:
    """Write what was named by cause and form, by habits, the accusations and errors of gains."""
    counted = [o for o in outcomes if o.case.name != "nobody" and o.effect_ratio >= LEAST_EFFECT]
    weak = sum(o.case.name != "nobody" for o in outcomes) - len(counted)
    nulls = [o for o in outcomes if o.case.name == "nobody"]
    parts = [
        "\n".join(by_cause(counted)),
        f"All: {interval(counted)}. Left out with effects under 1 %: {weak}.",
        "\n".join(by_habit(counted)),
        "\n".join(accusations(nulls)),
        "\n".join(gains(counted)),
        *clocks(outcomes),
    ]
    return "\n\n".join(parts)


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
        cells = [f"{v}: {share([o for o in mine if getattr(o.case.plan, habit) == v])}" for v in values]
        yield f"| {habit} | {', '.join(cells)} |"
    edges = (LEAST_EFFECT, 0.02, 0.05, 0.1, 0.3, np.inf)
    bands = [
        f"{100 * a:.0f} % and more: {share([o for o in outcomes if a <= o.effect_ratio < b])}"
        for a, b in zip(edges, edges[1:], strict=False)
    ]
    yield f"| effect | {', '.join(bands)} |"


def accusations(nulls: Sequence[Outcome]) -> Iterable[str]:
    """Table of healthy jobs."""
    yield "| healthy jobs | accused | not assessable | 95 % interval of the share accused |"
    yield "|---|---:|---:|---:|"
    for form in (*FORMS, "all"):
        mine = [o for o in nulls if form in {o.case.form, "all"}]
        if not mine:
            continue
        accused = sum(o.accuses for o in mine)
        refused = sum(o.verdict.startswith("not_assessable") for o in mine)
        low, high = (f"{100 * edge:.1f} %" for edge in clopper_pearson(accused, len(mine)))
        yield f"| {form}, {len(mine)} | {accused} | {refused} | {low} to {high} |"


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
    parser.add_argument("--skew", action="store_true", help="audit each trace with skewed clocks too")
    parser.add_argument("--sample", action="store_true", help="the fixed sample of the tests")
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    drawn = sample() if asked.sample else list(cases(rng, asked.repeats, asked.nulls))
    drawn = [c for c in drawn if c.name in (asked.causes or CAUSES)]
    drawn = [c for c in drawn if c.form in (asked.forms or FORMS)]
    begin = time.perf_counter()
    outcomes = run(drawn, asked.processes, skew=asked.skew)
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
