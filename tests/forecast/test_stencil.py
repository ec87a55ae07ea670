"""Bulk-synchronous steps against closed forms."""

import pytest
from msgspec.structs import replace
from tests.forecast.designs import design, without_overheads

from loadpath.forecast import step_time
from loadpath.forecast.design import Software, Stencil

GRID = Stencil(
    cells=8_000_000, flop_per_cell=1.0, bytes_per_cell=100.0, halo_bytes_per_cell=8.0, reductions=0
)


def job(ranks=8, **more):
    return without_overheads(
        design(ranks, model=None, batch=None, stencil=replace(GRID, **more),
               software=Software(precision="fp32"))
    )  # fmt: skip


def test_sweep_moves_its_bytes():
    assert step_time(job(1)).step_s == pytest.approx(8e6 * 100 / (2039e9 * 0.8))


def test_halo_is_the_surface_of_a_block():
    swept = 1e6 * 100 / (2039e9 * 0.8)
    halo = 6 * 100**2 * 8 / (300e9 * 0.78)
    assert step_time(job(8)).step_s == pytest.approx(swept + halo)


def test_halo_under_the_inner_cells_costs_nothing():
    assert step_time(job(8, overlap_halo=True)).step_s == pytest.approx(1e6 * 100 / (2039e9 * 0.8))


def test_weak_scaling_keeps_the_block():
    strong, weak = step_time(job(8)), step_time(job(8, cells=1_000_000, scaling="weak"))
    assert weak.step_s == pytest.approx(strong.step_s)
    assert weak.tokens_per_s == pytest.approx(strong.tokens_per_s)


def test_operations_limit_a_heavy_cell():
    told = step_time(job(8, flop_per_cell=1e4)).limitation
    assert told["compute"] > 0.9


def test_reductions_follow_each_other():
    def step(n):
        one = replace(job(8, reductions=n), priors=job(8).priors | {"collective_latency": 1e-5})
        return step_time(one).step_s

    assert step(3) - step(1) == pytest.approx(2 * (step(2) - step(1)))
    assert step(2) - step(1) >= 1e-5
