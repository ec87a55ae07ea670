"""A plausible audit of a pipeline job, as a document and its tables, with a chosen verdict."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.brief.limits import limits

from loadpath.audit.limits_document import limits_document
from loadpath.audit.settings import Settings
from loadpath.audit.stability import stability_section
from loadpath.tables import RANK, caveat_table
from loadpath.tables.results import (
    ATTRIBUTION,
    BLINDNESS,
    CAUSE,
    COUPLING,
    INTERACTION,
    LOAD_CURVE,
    PATH,
    POLICY,
    RANK_STEP,
    RANK_TIME,
    SINK,
    STABILITY,
    STEP_TIME,
    TIMELINE,
    VARIANCE,
)

PARTS = ("compute", "host", "transfer", "wait", "bubble", "launch_delay", "idle")
SUMMARIES = {
    "rank": "Rank 0 works 1.13 s longer a step than its peers of stage 0; 15 ranks wait for it.",
    "host": "Host pauses common to all ranks delay every collective; no device is slow.",
    "none": "No candidate returns more than 0.5 % of the step.",
    "not_assessable": "The replay misses the measured steps by more than the gate; "
    "couplings are missing, so no cause is named.",
}


def cause_rows(kind, ranks, step_s):
    first = {
        "rank": ("rank", "rank", "rank 0", "unknown", [0], 0.493),
        "host": ("host", "all", "all ranks", "host", list(range(ranks)), 0.6),
    }.get(kind)
    rows = [first] if first else []
    rows += [
        ("stage", "stage", "stage 3", "workload", [3], 0.012),
        ("link", "link", "link 0-1", "communication", [0, 1], 0.004),
    ]
    return [
        {
            "order": order,
            "kind": found,
            "place": place,
            "key": key,
            "mechanism": mechanism,
            "ranks": on,
            "gain_s": gain * step_s,
            "gain_low_s": 0.96 * gain * step_s,
            "gain_high_s": 1.05 * gain * step_s,
            "removal_ratio": min(1.0, 2 * gain),
            "addition_ratio": min(1.0, 1.9 * gain),
            "excess_s": 1.1 * gain * step_s,
            "state": "verdict" if first and order == 0 else "below_policy",
            "intermittent": False,
        }
        for order, (found, place, key, mechanism, on, gain) in enumerate(rows)
    ]


def path_rows(ranks, step_s, *, without):
    shown = min(ranks, 6)
    n_op = 24
    rows = []
    for scenario, scale in [("actual", 1.0), *([("without_cause", 0.51)] if without else [])]:
        edges = np.linspace(0, step_s * scale, n_op + 1)
        for k in range(n_op):
            rank = 0 if k < 14 else min(k - 13, 2 * shown - (k - 12)) % shown
            late = 0.45 * (edges[1] - edges[0]) if rank == 0 and scenario == "actual" else 0.0
            name = ("forward-compute", "backward-compute", "p2p-send")[k % 3]
            kind = "communicate" if k % 3 == 2 else "compute"
            rows.append((scenario, k, rank, "compute", kind, name, edges[k], edges[k + 1], late))
    return rows


def timeline_rows(ranks, step_s, *, without, n_bar=18):
    rows = []
    for scenario, scale in [("actual", 1.0), *([("without_cause", 0.51)] if without else [])]:
        for rank in range(min(ranks, 8)):
            edges = np.linspace(0, step_s * scale, n_bar + 1)
            busy = 0.92 if rank == 0 else 0.45 if scenario == "actual" else 0.85
            for k in range(n_bar):
                cut = edges[k] + busy * (edges[k + 1] - edges[k])
                rows.append((scenario, rank, "compute", edges[k], cut))
                other = "transfer" if k % 5 == 4 else "wait"
                rows.append((scenario, rank, other, cut, edges[k + 1]))
    return rows


def rank_times(ranks, step_s, kind):
    split = np.array([0.42, 0.03, 0.05, 0.38, 0.09, 0.02, 0.01])
    if kind == "host":
        split = np.array([0.21, 0.44, 0.08, 0.22, 0.0, 0.04, 0.01])
    wobble = 1 + 0.1 * np.sin(np.arange(ranks))[:, None] * np.array(
        [1, 0, 0, -0.42 / 0.38, 0, 0, 0]
    )
    return step_s * split * (wobble if kind != "host" else 1)


def stability_rows(step_s, emergent):
    def entry(quantity, value, by="job", key="", load="recorded", factor=1.0, unit="ratio"):
        span = (None, None) if value is None else (0.9 * value, 1.1 * value)
        return (load, factor, quantity, by, key, value, *span, unit, "replayed")

    vector = {
        "one_off_gain": 0.141,
        "waiting_gain": 2.138,
        "absorption_ratio": 0.857,
        "noise_gain": 1.894,
        "noise_gain_independent": 3.558,
        "noise_model_error_ratio": 0.006,
        "emergent_share_ratio": emergent,
        "jensen_gap_ratio": 0.012,
        "step_cv_ratio": 0.0045,
        "step_p99_over_p50_ratio": 1.0074,
    }
    rows = [entry(name, value) for name, value in vector.items()]
    rows += [entry("step", step_s, unit="s"), entry("n_steps", 44.0, unit="count")]
    for part, share in (("component", 0.4), ("workload", -0.01), ("stages", 0.02)):
        rows.append(entry("loss", share * step_s, "part", part, unit="s"))
    rows.append(entry("loss", emergent * step_s, "part", "emergent", unit="s"))
    rows += [
        entry("slack", s * step_s, "quantile", q, unit="s") for q, s in (("p10", 0), ("p50", 0.5))
    ]
    rows += [
        entry("reserve", 0.051, "work", "own work"),
        entry("reserve", 2.885, "work", "transfers"),
    ]
    rows += [entry("reserve", 0.08, "op_class", "backward-compute")]
    for load, knee in (("transfers", 15.3), ("launches", None)):
        rows.append(entry("knee", knee, load=load))
        rows.append(entry("step", 1.1 * step_s, load=load, factor=2.0, unit="s"))
        rows.append(entry("one_off_gain", 0.2, load=load, factor=2.0))
    return pl.DataFrame(rows, schema=STABILITY.schema, orient="row")


def stability_tables(step_s, kind):
    emergent = 0.8 if kind == "none" else 0.004
    factors = [1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0]
    n = len(factors)
    gains = {
        "replace": 0.5,
        "exclude": 0.3,
        "remap": -0.01,
        "bucket": None,
        "overlap": 0.02,
        "checkpoint": None,
    }
    parts = {
        "persistent": 0.9,
        "periodic": 0.0,
        "rare": 0.02,
        "trend": 0.0,
        "noise": 0.08,
        "total": 1.0,
    }
    return {
        "stability": stability_rows(step_s, emergent),
        "load_curve": LOAD_CURVE.build(
            {
                "load": ["transfers"] * n + ["launches"] * n,
                "factor": factors * 2,
                "step_s": [step_s * (1 + 0.02 * f) for f in factors]
                + [step_s * max(1.0, f / 2) for f in factors],
                "gain_ratio": [1.317] * n + [0.3] * n,
            }
        ),
        "variance": pl.DataFrame(
            [
                ("step", place, part, 0.04 * share, share, None, None, "the rest")
                for place in ("job", "all ranks", "rank 0", "rank 1")
                for part, share in parts.items()
            ],
            schema=VARIANCE.schema,
            orient="row",
        ),
        "policy": pl.DataFrame(
            [
                (
                    policy,
                    "rank 0, by a spare like the peers",
                    *(None if g is None else f * step_s for f in (1 - (g or 0), g or 0)),
                    *(None if g is None else f * g * step_s for f in (0.9, 1.1)),
                    g,
                    *((None,) * 3 if g is None else (1.0, 1.0, g)),
                    "" if g is None else "1 spare; what it replaces goes free",
                    "not assessed: needs bytes of the reductions" if g is None else "replayed",
                    "bytes of the reductions" if g is None else "",
                )
                for policy, g in gains.items()
            ],
            schema=POLICY.schema,
            orient="row",
        ),
        "interaction": INTERACTION.build(
            {
                "key": ["rank 0", "link 0-1"],
                "removal_s": [0.4 * step_s, 0.0],
                "addition_s": [0.5 * step_s, 0.1 * step_s],
                "shapley_s": [0.45 * step_s, 0.05 * step_s],
                "error_s": [0.0, 0.0],
                "method": ["exact", "exact"],
            }
        ),
    }


def make_tables(kind, ranks, steps, step_s, names):
    random = np.random.default_rng(7)
    times = rank_times(ranks, step_s, kind)
    rank, step = np.repeat(np.arange(ranks), steps), np.tile(np.arange(steps) * 25, ranks)
    excess = np.abs(random.normal(0, 0.01 * step_s, ranks * steps))
    if kind == "rank":
        excess = np.where(rank == 0, 0.25 * step_s + excess, excess)
    measured = step_s * (1 + 0.004 * random.normal(size=steps))
    share = {"rank": 0.507, "host": 0.4}.get(kind, 1.0)
    cause, waiter = np.divmod(np.arange(ranks * ranks), ranks)
    other = cause != waiter
    strong = np.where(cause == 0, 6.0, 0.3) * random.uniform(0.5, 1, ranks * ranks)
    assessed = kind != "not_assessable"
    classes = ["backward-compute", "forward-compute", "grads-reduce-scatter", names["op"]]
    keys = [("op_class", name) for name in classes] + [("stage", str(i)) for i in range(4)]
    keys += [("rank", str(i)) for i in range(min(ranks, 16))]
    gains = step_s * np.geomspace(0.49, 0.0002, len(keys))
    without = kind in {"rank", "host"}
    tables = {
        "step_time": STEP_TIME.build(
            {
                "step": np.arange(steps) * 25,
                "measured_s": measured,
                "replayed_s": measured * 0.997,
                "ideal_s": measured * 0.5,
                "without_cause_s": measured * share,
            }
        ),
        "rank_time": RANK_TIME.build(
            {
                "rank": np.repeat(np.arange(ranks), len(PARTS)),
                "part": list(PARTS) * ranks,
                "mean_s": times.ravel() if kind != "host" else np.tile(times, ranks),
            }
        ),
        "rank_step": RANK_STEP.build(
            {
                "rank": rank,
                "step": step,
                "excess_s": excess,
                "wait_s": np.where(rank == 0, 0.05, 0.4) * step_s,
            }
        ),
        "attribution": ATTRIBUTION.build(
            {
                "by": [by for by, _ in keys],
                "key": [key for _, key in keys],
                "slowdown_ratio": 1 + gains / step_s,
                "removal_ratio": np.minimum(1, 2 * gains / step_s),
                "addition_ratio": np.minimum(1, 1.9 * gains / step_s),
                "gain_s": gains,
            }
        ),
        "cause": CAUSE.build(pl.DataFrame(cause_rows(kind, ranks, step_s))),
        "sink": SINK.build(
            {
                "sink": ["excess", "bubble", "transfer_excess", "lag", "unexplained"],
                "rank": [0, -1, 5 % ranks, 2, -1],
                "op_class": ["backward-compute", "", names["op"], "forward-compute", ""],
                "wait_s": [118.2, 20.1, 3.4, 0.8, 0.09],
                "n_waits": [5210, 2200, 310, 80, 12],
                "hops_mean": [2.4, 1.2, 1.0, 1.1, 1.0],
            }
        ),
        "coupling": COUPLING.build(
            {
                "cause": cause[other],
                "waiter": waiter[other],
                "direct_s": 0.4 * strong[other],
                "transitive_s": strong[other],
            }
        ),
        "path": pl.DataFrame(
            path_rows(ranks, step_s, without=without), schema=PATH.schema, orient="row"
        ),
        "timeline": pl.DataFrame(
            timeline_rows(ranks, step_s, without=without), schema=TIMELINE.schema, orient="row"
        ),
        "blindness": BLINDNESS.build(
            {
                "view": ["device utilisation", "communication time", "last arriver", "throughput"],
                "accuses": ["nobody", "rank 12 on " + names["host"], "rank 3", "nobody"],
                "evidence": [
                    "every device is busy 99 % of the step",
                    "rank 12 spends most time in communication: 2.51 s a step",
                    "rank 3 arrives last in 31 % of collectives",
                    "step time varies by 0.45 %",
                ],
                "right": [False, False, False, kind == "none"],
            }
        ),
        "rank": RANK.build(
            {
                "rank": np.arange(ranks),
                "host": [names["host"] if i == 0 else f"node-{i // 4}" for i in range(ranks)],
                "pp": np.arange(ranks) % 4,
            }
        ),
        "caveat": caveat_table(
            [
                (
                    "receive_posted_early",
                    "Receives start when posted; their time holds waiting.",
                    1408,
                ),
                ("peers_not_recorded", "Tensor-parallel peers are not recorded: " + names["op"], 3),
            ]
        ),
    }
    tables |= stability_tables(step_s, kind)
    if not assessed:
        for name in ("attribution", "cause", "sink", "coupling", "load_curve", "policy"):
            tables[name] = tables[name].clear()
        tables["path"] = tables["path"].clear()
        tables["timeline"] = tables["timeline"].clear()
    return tables | limits(ranks, step_s, assessed=assessed)


def make_verdict(kind, ranks, step_s, tables):
    causes = tables["cause"].to_dicts()
    named = kind in {"rank", "host"}
    return {
        "kind": kind,
        "place": {"rank": "rank", "host": "all"}.get(kind, "nobody"),
        "mechanism": {"rank": "unknown", "host": "host"}.get(kind, "unknown"),
        "ranks": {"rank": [0], "host": list(range(ranks))}.get(kind, []),
        "culprit_ranks": [0] if kind == "rank" else [],
        "hosts": [tables["rank"]["host"][0]] if kind == "rank" else [],
        "stage": None,
        "link": None,
        "share_removal_ratio": causes[0]["removal_ratio"] if named else None,
        "share_addition_ratio": causes[0]["addition_ratio"] if named else None,
        "step_s": step_s,
        "step_s_without": step_s - causes[0]["gain_s"] if named else None,
        "confidence": None if kind == "not_assessable" else 0.982,
        "n_resamples": None if kind == "not_assessable" else 1000,
        "confidence_method": "bootstrap over steps",
        "policy_ratio": 0.005,
        "indistinguishable_from": ["device or host of rank 0"] if kind == "rank" else [],
        "causes": causes,
        "runner_up": causes[1] if named else causes[0] if causes else None,
        "summary": SUMMARIES[kind],
    }


def make_audit(kind="rank", *, ranks=16, steps=44, names=None, rate=True):
    step_s = 4.6336 if kind != "host" else 0.634
    names = {"op": "forward-recv", "host": "node-0"} | (names or {})
    tables = make_tables(kind, ranks, steps, step_s, names)
    verdict = make_verdict(kind, ranks, step_s, tables)
    means = tables["rank_time"].group_by("part", maintain_order=True).agg(pl.col("mean_s").mean())
    parts = dict(means.iter_rows())
    named = kind in {"rank", "host"}
    gain = verdict["causes"][0]["gain_s"] / step_s if named else 0.0
    lost = kind == "not_assessable"
    document = {
        "schema": "loadpath.audit/1",
        "record": {"source": "op_table", "layout": {}},
        "job": {
            "ranks": ranks,
            "ranks_represented": ranks,
            "stages": 4,
            "steps": steps,
            "ops": 47_328,
            "instances": 9_152,
            "instances_matched": 9_152,
            "clock_residual_s": 0.00003,
            "duration_s": step_s,
            "transfer_s": parts["transfer"],
            "wait_s": parts["wait"],
            "compute_s": parts["compute"],
            "rank_time_s": parts | {"total": sum(parts.values())},
        },
        "replay": {
            "error_ratio_median": 0.114 if lost else 0.0031,
            "error_ratio_max": 0.31 if lost else 0.0121,
            "unexplained_ratio": 0.22 if lost else 0.004,
            "negative_lag_s": 0.8 if lost else 0.0,
            "gate": 0.03,
        },
        "slowdown": {
            "ratio": None if lost else 1.973,
            "waste_ratio": None if lost else 0.493,
            "launch_ratio": None if lost else 1.003,
            "baseline": "median",
            "by_baseline": {"median": 1.973, "mean": 1.881, "best": 2.104},
        },
        "verdict": verdict,
        "stability": stability_section(tables, Settings()),
        "waits": {
            "exposed_s": 142.6,
            "by_sink": {"excess": 118.2, "bubble": 20.1, "transfer_excess": 3.4, "lag": 0.9},
        },
        "attribution": tables["attribution"].drop("gain_s").to_dicts(),
        "blindness": tables["blindness"].drop("evidence").to_dicts(),
        "caveats": [
            {"code": code, "text": text, "count": n}
            for code, text, n in tables["caveat"].iter_rows()
        ],
        "inputs": [
            {"path_name": f"job/part-{i}.parquet", "sha256": f"{i:x}" * 64, "bytes": 1_048_576 + i}
            for i in range(2)
        ],
        "versions": {"loadpath": "0.1.0", "numpy": "2.4.0", "polars": "2.1.0", "python": "3.11.9"},
        "command": "loadpath audit job --layout job/meta.yaml --rate 2.50 --as-of 2025-01-01",
        "as_of": "2025-01-01",
        **limits_document(tables, Settings()),
    }
    if rate and named:
        document["stake"] = {
            "gain_ratio": gain,
            "gpu_hours_per_1000": 1000 * gain,
            "money_per_1000": 2500 * gain,
            "currency": "USD",
            "rate": 2.5,
        }
    return document, tables


@pytest.fixture
def audited():
    """Build an audit: ``audited("rank", ranks=16, steps=44)`` gives document and tables."""
    return make_audit


@pytest.fixture
def hostile():
    """Build an audit whose names try to be markup, formulae and terminal commands."""
    names = {
        "op": "<script>alert(1)</script>\x1b[31m\u202e{{7*7}}",
        "host": '=HYPERLINK("http://x")"><img src=x onerror=1>\x07',
    }
    return make_audit("rank", names=names)


@pytest.fixture
def chromium():
    """Path of a browser; without one these tests are skipped, but not in CI."""
    found = [
        Path(folder) / name
        for folder in os.environ.get("PATH", "").split(os.pathsep)
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (Path(folder) / name).is_file()
    ]
    if not found:
        if os.environ.get("CI") == "true":
            pytest.fail("CI runs the browser tests: install chromium.")
        pytest.skip("no chromium")
    return str(found[0])
