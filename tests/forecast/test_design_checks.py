"""Designs that cannot be."""

import pytest
from msgspec.structs import replace
from tests.forecast.designs import GPT3, SMALL, design

from loadpath.forecast.design import (
    Batch,
    Cluster,
    Experts,
    Noise,
    Prices,
    Serving,
    Software,
    Stencil,
    Tier,
)
from loadpath.forecast.design_checks import check_design

MOE = replace(SMALL, experts=Experts(count=16, chosen=2, feed_forward=512))


def told(job):
    return [f"{'.'.join(map(str, p.path))} {p.what}" for p in check_design(job)]


def test_sound_design_has_no_problem():
    assert not told(design(16, tensor=2, pipeline=2))


@pytest.mark.parametrize(
    ("job", "problem"),
    [
        (design(12, tensor=8), "cluster.accelerators is 12, which replicas of 8"),
        (design(tensor=3), "model.heads is 16, which tensor parallelism of 3 does not divide"),
        (design(pipeline=2, chunks=8), "model.layers is 8, which 2 stages of 8 chunks"),
        (design(sequences=60), "batch.sequences is 60, which 8 replicas with microbatches of 1"),
        (design(chunks=2), "parallelism.chunks is 2, but there is one stage"),
        (design(expert=4), "parallelism.expert is 4, but the model has no experts"),
        (design(model=MOE, expert=3), "model.experts.count is 16, which expert parallelism of 3"),
        (design(context=3, accelerators=3), "model.sequence is 1024, which context and sequence"),
        (design(shard_group=3, sharding="full"), "parallelism.shard_group is 3"),
        (design(8192, 8192, model=replace(SMALL, layers=8192), pipeline=8192), "parallelism.pipeline and chunks make 8192"),
        (design(priors={"lanch": 1.0}), "priors.lanch is 'lanch', which is unknown; launch"),
        (design(priors={"launch": -1.0}), "priors.launch is -1.0; it must be finite"),
        (design(priors={"gemm_ratio": 66.0}), "priors.gemm_ratio is 66.0; a share of the peak is at most 1"),
        (design(software=Software(precision="fp8")), "software.precision is fp8, which A100"),
        (design(batch=None), "batch is missing; training needs its sequences"),
        (design(model=None), "model or stencil must describe the job"),
        (design(model=None, serving=Serving(concurrent=1, context=1)), "serving needs a model"),
        (design(noise=Noise(tail="pareto")), "noise.tail_shape must exceed 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named_where_it_stands(job, problem):
    assert any(line.startswith(problem) for line in told(job)), told(job)


def test_sizes_that_would_divide_are_named():
    line = told(design(sequences=60))[0]
    assert line.endswith("56 or 64 would")


def test_interleaved_pipeline_needs_microbatches_by_the_stage():
    job = design(8, 56, pipeline=4, chunks=2)
    assert "28 microbatches" not in "".join(told(job))
    assert not told(job)
    job = design(8, 60, pipeline=4, chunks=2)
    assert "30 microbatches of a replica" in told(job)[0]
    assert told(job)[0].endswith("56 or 64 would")


def test_kv_heads_may_be_copied_but_not_cut():
    assert not told(design(tensor=8, model=replace(SMALL, kv_heads=4)))
    assert told(
        design(tensor=8, accelerators=8, model=replace(SMALL, heads=24, head_width=64, kv_heads=12))
    )


def test_tiers_grow_outward_and_reach_all_accelerators():
    def tiers(*sizes):
        listed = tuple(Tier(name=str(n), size=n, bandwidth=1e9) for n in sizes)
        return told(design(cluster=Cluster(device="A100-SXM4-80GB", accelerators=8, tiers=listed)))

    assert not tiers(4, 8)
    assert "must exceed the 8 inside it" in tiers(8, 8)[0]
    assert "join 4 accelerators, but the job has 8" in tiers(2, 4)[0]


def test_weights_that_do_not_fit_are_refused_by_how_much():
    line = told(design(8, 8, model=GPT3))[0]
    assert "GB of weights, gradients and optimiser on an accelerator of 85.9 GB" in line
    needed = float(line.split("leaves ")[1].split(" GB")[0])
    many = float(line.split("GB: ")[1].split(" GB too many")[0])
    assert needed == pytest.approx(174.6e9 * 18 / 1e9, rel=0.01)
    assert many == pytest.approx(needed - 85.9, abs=0.1)


def test_two_kinds_of_job_at_once_are_refused():
    stencil = Stencil(cells=100, flop_per_cell=1.0, bytes_per_cell=1.0)
    assert "only one of them" in told(design(stencil=stencil, batch=Batch(sequences=8)))[0]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"currency": "dollars"}, "is 'dollars'; three capitals would do, such as USD"),
        (
            {"accelerator_hour_low": 3.0},
            "is 2, which its edges 3.0 and None do not hold between them",
        ),
        (
            {"accelerator_hour_high": 1.0},
            "is 2, which its edges None and 1.0 do not hold between them",
        ),
        ({"energy_kwh": 1e9}, "or energy_kwh is above 1,000,000"),
    ],
)
def test_prices_that_nobody_pays_are_refused(fields, problem):
    job = design(prices=Prices(accelerator_hour=2.0, **fields))
    assert [found.what for found in check_design(job)] == [problem]


@pytest.mark.parametrize(
    ("noise", "problem"),
    [
        (Noise(variation_ratio=1e308), "is 1e+308; 100 times a step is the most"),
        (Noise(slow_ratio=0.1), "needs slow_excess_ratio: by how much they are slow"),
    ],
)
def test_noise_in_which_nothing_runs_or_that_is_half_told_is_refused(noise, problem):
    assert [found.what for found in check_design(design(noise=noise))] == [problem]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"windowed_layers": 4}, "needs window: how far these layers look back"),
        ({"windowed_layers": 9, "window": 128}, "is 9, but the model has 8 layers"),
    ],
)
def test_windows_of_layers_that_do_not_exist_or_look_anywhere_are_refused(fields, problem):
    found = check_design(design(model=replace(SMALL, **fields)))
    assert [one.what for one in found] == [problem]
