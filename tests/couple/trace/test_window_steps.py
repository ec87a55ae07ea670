"""Windows of an unmodified pipeline over gloo: peers and tags are recorded, steps are not."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.couple.trace.gloo_jobs import OPTIMISER, event, record

STEPS, MICROBATCHES = 12, 2


def passed(name, peer, began, done):
    """A call that asks for a message to or from a peer, and the mark of the thread that awaits it."""
    mark = name.removesuffix("_").replace("c10d::", "gloo:")
    call = event(name, "cpu_op", 1, began, began + 6, 64)
    call["args"] |= {
        "Concrete Inputs": ["", "", str(peer), "0"],
        "Input type": ["TensorList", "", "Scalar", "Scalar"],
    }
    return [call, event(mark, "user_annotation", 1, began + 3, done, 64)]


def pipeline(*, ranks=3, is_one_way=False, steps=STEPS, seed=0):
    """Run a pipeline: forward through all stages, microbatch by microbatch, then back (not if one way).

    rank 0  work s        ... r work | Optimizer.step
    rank 1       r work s ... r work s | Optimizer.step
    """
    chance = np.random.default_rng(seed)
    events: list[list[dict[str, Any]]] = [[] for _ in range(ranks)]
    now = np.full(ranks, 1e6)
    for _ in range(steps):
        ways = [list(range(ranks)), *([] if is_one_way else [list(range(ranks))[::-1]])]
        for way in ways:
            for _ in range(MICROBATCHES):
                there = None
                for place, rank in enumerate(way):
                    if there is not None:
                        done = max(now[rank] + 12, there)
                        events[rank] += passed("c10d::recv_", way[place - 1], now[rank], done)
                        now[rank] = done + 2
                    work = 500 + 200 * chance.random()
                    began = now[rank]
                    events[rank].append(event("aten::mm", "cpu_op", 1, began + 2, began + work))
                    now[rank] += work + 2
                    if place + 1 < ranks:
                        began = now[rank]
                        events[rank] += passed("c10d::send", way[place + 1], began, began + 20)
                        there, now[rank] = began + 60, began + 22
        for rank in range(ranks):
            began = now[rank]
            events[rank].append(event(OPTIMISER, "user_annotation", 1, began + 1, began + 9))
            now[rank] += 12
    return events


def ends(events, rank):
    return sorted(e["ts"] + e["dur"] for e in events[rank] if e["name"] == OPTIMISER)


def codes(coupled):
    return set(coupled.caveat["code"].to_list())


def is_causal(coupled):
    """Whether every message is there after it was sent, in the step in which it was sent."""
    op = coupled.op[coupled.membership["op"]].with_columns(coupled.membership["instance"])
    kind, end = pl.col("collective").cast(pl.String), pl.col("start_ns") + pl.col("duration_ns")
    met = op.group_by("instance").agg(
        pl.col("start_ns").filter(kind == "send").min().alias("sent"),
        end.filter(kind == "recv").max().alias("there"),
        pl.col("step").n_unique(),
    )
    return bool(
        met.select((pl.col("there") >= pl.col("sent")).all() & (pl.col("step") == 1).all()).item()
    )


@pytest.mark.parametrize("away", [(0, 2, 1), (3, 0, 0), (1, 1, 4)])
@pytest.mark.parametrize("inside_us", [1.0, 900.0])
def test_a_pipeline_whose_windows_began_in_other_steps_is_matched_by_causality(
    away, inside_us, tmp_path
):
    events = pipeline()
    spans = [(ends(events, rank)[n] + inside_us, 1e9) for rank, n in enumerate(away)]
    coupled = record(tmp_path / "job", events, spans)
    assert {"windows_joined", "steps_from_pattern"} <= codes(coupled)
    assert coupled.instance["matched"].all()
    # of the steps that all recorded the first is where the pattern begins
    assert coupled.instance.height >= (STEPS - max(away) - 3) * 4 * MICROBATCHES
    assert is_causal(coupled)


def test_windows_that_end_in_other_steps_are_matched_too(tmp_path):
    events = pipeline()
    last = [ends(events, rank)[n] - 300 for rank, n in enumerate((-1, -3, -2))]
    coupled = record(tmp_path / "job", events, [(0, end) for end in last])
    assert coupled.instance["matched"].all()
    assert is_causal(coupled)


def test_messages_one_way_do_not_tell_how_far_behind_a_stage_is(tmp_path):
    events = pipeline(is_one_way=True)
    spans = [(ends(events, rank)[n] + 1, 1e9) for rank, n in enumerate((0, 1, 1))]
    coupled = record(tmp_path / "job", events, spans)
    assert "windows_undecided" in codes(coupled)
    assert not coupled.instance["matched"].any()


def test_hosts_whose_clocks_may_differ_prove_no_order(tmp_path):
    events = pipeline()
    spans = [(ends(events, rank)[n] + 1, 1e9) for rank, n in enumerate((0, 2, 1))]
    coupled = record(
        tmp_path / "job", events, spans, hosts=["a", "b", "a"], clocks_us=[0.0, 5e5, 0.0]
    )
    assert "windows_undecided" in codes(coupled)
    assert not coupled.instance["matched"].any()


def test_ranks_that_repeat_nothing_prove_no_order(tmp_path):
    events = pipeline(steps=1)
    coupled = record(tmp_path / "job", events, [(0, 1e9)] * 3)
    assert "windows_undecided" in codes(coupled)
