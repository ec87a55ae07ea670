"""Which held-out jobs there are: causes, layouts and habits, drawn from a seed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from held_out_jobs.plan import Fault, Plan, group_of, hosts_of, rank_at

__all__ = ["CAUSES", "FORMS", "TABLE", "Case", "cases", "limits", "recorded"]

TABLE, DATA, SHARDED, TENSOR, MIXED = "op table", "dp", "sharded dp", "tp", "pp x tp x dp"
FORMS = (TABLE, DATA, SHARDED, TENSOR, MIXED)
CAUSES: dict[str, tuple[str, ...]] = {
    "rank": FORMS,
    "rank, intermittent": FORMS,
    "two ranks": (TABLE, DATA, SHARDED, MIXED),
    "host": (TABLE, DATA, SHARDED, MIXED),
    "rank, host pauses": (DATA, SHARDED, TENSOR, MIXED),
    "rank, rare host pauses": (DATA, SHARDED, TENSOR, MIXED),
    "rank, late input": (DATA, SHARDED),
    "all hosts": (DATA, SHARDED, TENSOR, MIXED),
    "all hosts, one place": (DATA, SHARDED, TENSOR, MIXED),
    "link": (TABLE, MIXED),
    "group": (TABLE, MIXED),
    "stage": (TABLE, MIXED),
    "data": (TABLE, MIXED),
    "nobody": FORMS,
}
SIZES = {
    "rank": (0.03, 0.4), "rank, intermittent": (0.08, 0.8), "two ranks": (0.03, 0.4),
    "host": (0.03, 0.4), "rank, host pauses": (0.3, 3.0), "rank, rare host pauses": (0.5, 5.0),
    "rank, late input": (0.3, 5.0),
    "all hosts": (0.1, 1.0), "all hosts, one place": (0.5, 10.0), "link": (1.0, 12.0), "group": (0.4, 4.0), "stage": (0.3, 0.8),
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


def cases(rng: np.random.Generator, repeats: int, nulls: int) -> Iterator[Case]:
    """Draw jobs of every cause and form."""
    for name, forms in CAUSES.items():
        for form in forms:
            for _ in range(-(-nulls // len(forms)) if name == "nobody" else repeats):
                plan = draw_plan(rng, name, form)
                yield Case(name, form, replace(plan, fault=draw_fault(rng, name, form, plan)))


def draw_plan(rng: np.random.Generator, name: str, form: str) -> Plan:
    """Draw a layout and habits that such a cause fits into."""
    layouts = [size for size in LAYOUTS[form] if fits(name, form, size)]
    pp, tp, dp = layouts[rng.integers(len(layouts))]
    n_rank = pp * tp * dp
    spread = float(rng.choice([0.0, 0.05, 0.15]))
    ids = ("full", "no_seq", "inputs") if form == MIXED else ("full", "no_seq", "inputs", "names")
    return Plan(
        seed=int(rng.integers(1 << 30)),
        pp=pp,
        tp=tp,
        dp=dp,
        steps=int(rng.choice(steps_of(name, form, n_rank))),
        microbatches=int(rng.choice([4, 8] if form == TABLE else [2, 4])) + pp // 4 * 2,
        layers=int(rng.choice([1, 2, 3] if n_rank <= 8 else [1, 2])),
        noise=float(rng.choice([0.01, 0.02, 0.03, 0.05])),
        overlap=bool(rng.random() < 0.6),
        sharded=form == SHARDED,
        second_thread=bool(rng.random() < 0.5),
        kernel_us=12.0 if name == "all hosts" else float(rng.choice([60.0, 120.0, 250.0])),
        stage_work=tuple(1 + spread * rng.uniform(-1, 1, pp)),
        per_host=4 if tp * dp >= 8 else 2,
        ids="full" if form == TABLE else str(rng.choice(ids if tp * dp in {tp, dp} else ids[:3])),
        sync_events=bool(rng.random() < 0.5),
        shapes=bool(rng.random() < 0.5),
    )


def steps_of(name: str, form: str, n_rank: int) -> list[int]:
    """Numbers of steps; large traces have few, rare pauses need many."""
    if name == "rank, rare host pauses":
        return [12]
    return [4, 8, 12] if n_rank <= 8 or form == TABLE else [3, 5]


def fits(name: str, form: str, size: tuple[int, int, int]) -> bool:
    """Say whether a layout has peers that such a cause stands out from."""
    pp, tp, dp = size
    whole = form != TABLE or tp == 1
    needs = {
        "stage": pp >= 4,
        "link": pp >= 2 and whole,
        "group": pp * tp >= 3 and dp >= 2,
        "two ranks": tp * dp >= 4 and whole,
        "host": tp * dp >= 4 and whole,
    }
    return needs.get(name, True)


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
    stage, replica, peer = (
        upper,
        int(rng.integers(plan.dp)),
        0 if form == TABLE else int(rng.integers(plan.tp)),
    )
    link = (rank_at(plan, stage - 1, replica, peer), rank_at(plan, stage, replica, peer))
    group = group_of(plan, "dp", one)
    return {
        "rank": Fault("rank", (one,), size=size),
        "rank, intermittent": Fault("rank", (one,), size=size, steps=some),
        "two ranks": Fault("rank", pair, size=size),
        "host": Fault("host", on_host, size=size),
        "rank, host pauses": Fault("pauses", (one,), size=size),
        "rank, rare host pauses": Fault("rare pauses", (one,), size=size, steps=some),
        "rank, late input": Fault("input", (one,), size=size),
        "all hosts": Fault("pauses", tuple(range(plan.n_rank)), size=size),
        "all hosts, one place": Fault("stall", tuple(range(plan.n_rank)), size=size),
        "link": Fault("link", link=link, size=size),
        "group": Fault("link", link=group, size=size),
        "stage": Fault("stage", stage=int(rng.integers(plan.pp)), size=size),
        "data": Fault("data", size=size),
    }[name]


def limits(case: Case) -> str:
    """Say why no reader of such a record can tell, or none does yet; empty where one should."""
    plan = case.plan
    if plan.ids == "inputs" and sum(size > 1 for size in (plan.pp, plan.tp, plan.dp)) > 1:
        return "several groups of a rank named by pointers of its process (traces of 2023)"
    return ""


def recorded(plan: Plan, form: str) -> list[int]:
    """Ranks that have a record: an op table has one of each tensor group."""
    return list(range(0, plan.n_rank, plan.tp if form == TABLE else 1))
