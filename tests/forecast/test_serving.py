"""Decoding steps."""

import pytest
from msgspec.structs import replace
from tests.forecast.designs import GPT3, design, without_overheads

from loadpath.forecast import step_time
from loadpath.forecast.design import Serving, Software


def job(concurrent=1, context=1, **more):
    return without_overheads(
        design(8, model=GPT3, batch=None, device="B300-SXM",
               serving=Serving(concurrent=concurrent, context=context),
               software=Software(graphs=True), **more)
    )  # fmt: skip


def test_one_token_reads_all_weights():
    bytes_per_rank = 2 * 175e9 / 8
    assert step_time(job(tensor=8)).step_s == pytest.approx(
        bytes_per_rank / (8000e9 * 0.8), rel=0.05
    )


def test_few_more_sequences_cost_almost_nothing():
    assert step_time(job(8, tensor=8)).step_s < 1.05 * step_time(job(1, tensor=8)).step_s


def test_long_context_is_read_from_memory():
    short, long = (step_time(job(64, n, tensor=8)) for n in (1, 8192))
    cache = 2 * 96 * 2 * 12288 / 8 * 64 * 8192
    assert long.step_s - short.step_s == pytest.approx(cache / (8000e9 * 0.8), rel=0.05)


def test_stages_follow_each_other_and_leave_each_other_idle():
    wide, deep = step_time(job(tensor=8)), step_time(job(tensor=2, pipeline=4))
    assert deep.step_s > 3 * wide.step_s
    assert deep.limitation["bubble"] == pytest.approx(0.75, abs=0.02)


def test_replicas_serve_side_by_side():
    one = step_time(job(4, tensor=8))
    two = step_time(replace(job(4, tensor=8), cluster=replace(job().cluster, accelerators=16)))
    assert two.tokens_per_s == pytest.approx(2 * one.tokens_per_s, rel=0.01)
