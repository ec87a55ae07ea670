"""Traces of replicas, extrapolated in replicas, samples and tensor width."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from loadpath.audit.forecast_known import known_of_audit
from loadpath.audit.forecast_settings import ForecastSettings
from loadpath.audit.pipeline import run_audit
from loadpath.errors import UsageError
from loadpath.forecast.traced_job import calm_step_s, drawn_lateness_s, measure_traces
from loadpath.forecast.traced_work import Resized
from loadpath.testing import device_program, make_job, write_kineto
from loadpath.testing.device_program import LAYER

FORM: dict[str, Any] = {
    "recorder": "kineto", "pp": 1, "steps": 6, "microbatches": 2, "layers": 2, "skewed_ratio": 0.0,
    "noise": 0.05,
}  # fmt: skip
COUNTS = (4, 8)


@pytest.fixture(scope="module")
def audits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traced")

    def audit(name, **form):
        return run_audit(write_kineto(make_job(1, **FORM, **form), folder / name), brief=False)

    return {
        **{n: audit(f"{n}", dp=n, tp=1) for n in COUNTS},
        "grid": audit("grid", dp=2, tp=2),
        "tensor": audit("tensor", dp=1, tp=4),
    }


@pytest.fixture(scope="module")
def traced(audits):
    return measure_traces(audits[4].job, audits[4].tables["step_time"], data_parallel=True)


def step_of(audit):
    return float(np.mean(audit.tables["step_time"]["measured_s"].to_numpy()))


def test_job_with_more_replicas_takes_what_four_of_them_foretell(audits):
    settings = ForecastSettings(worlds=64, data_parallel=True, sizes="4,8")
    curve = known_of_audit("four", audits[4], settings).curve
    low, middle, high = np.quantile(curve.step_s, [0.05, 0.5, 0.95], axis=0)
    for place, n in enumerate(COUNTS):
        assert low[place] < step_of(audits[n]) < high[place]
    assert middle[0] == pytest.approx(step_of(audits[4]), rel=1e-3)
    assert middle[1] == pytest.approx(step_of(audits[8]), rel=0.03)


def test_recorded_replicas_keep_their_step(traced):
    assert calm_step_s(traced, Resized()) == pytest.approx(traced.step_s, rel=1e-6)
    assert not drawn_lateness_s(traced, 4, np.random.default_rng(0), 3).any()


def test_lateness_is_the_same_to_the_bit_in_whatever_order_members_are_listed(audits, traced):
    job, steps = audits[4].job, audits[4].tables["step_time"]
    for seed in range(4):
        shuffled = replace(
            job, membership=job.membership.sample(fraction=1, shuffle=True, seed=seed)
        )
        again = measure_traces(shuffled, steps, data_parallel=True)
        assert again.lateness_s.tobytes() == traced.lateness_s.tobytes()


def test_transfers_grow_with_replicas_towards_their_whole(traced):
    def step(n, **world):
        return calm_step_s(traced, Resized(replicas_ratio=n / 4, **world))

    alone, two, four, many = (step(n) for n in (1, 2, 4, 4096))
    assert alone < two < four < many
    # Bytes of a ring: 1/2, 3/4 and all of the whole.
    assert (many - four) / (four - alone) == pytest.approx((1 - 3 / 4) / (3 / 4), rel=0.05)
    assert step(8, hop_s=1e-3) > step(8)
    assert step(8, slower=2.0) > step(8)


def test_more_replicas_meet_a_late_one_more_often(traced):
    rng = np.random.default_rng(0)
    added = [float(np.median(drawn_lateness_s(traced, n, rng, 64))) for n in (2, 16, 256)]
    assert added[0] < added[1] < added[2]


def test_named_groups_tell_replicas_from_parts_of_a_tensor(audits):
    grid = audits["grid"]
    found = measure_traces(grid.job, grid.tables["step_time"])
    assert (found.replicas, found.accelerators) == (2, 4)
    settings = ForecastSettings(worlds=32, sizes="4,6,7")
    known = known_of_audit("grid", grid, settings)
    assert known.curve.n.tolist() == [4, 6]
    assert [one.n for one in known.skipped] == [7]


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("tensor", {}, "tell tp of the ranks but no replicas"),
        (
            4,
            {"goal": "strong", "data_parallel": True, "samples": 4, "sizes": "8"},
            "4 samples of a step",
        ),
        (4, {"tensor": 2, "data_parallel": True}, "name no groups that share a tensor out"),
    ],
)
def test_what_traces_do_not_tell_is_refused(audits, name, options, said):
    with pytest.raises(UsageError, match=said):
        known_of_audit("x", audits[name], ForecastSettings(**options))


def test_refusal_names_the_source_of_several(audits):
    with pytest.raises(UsageError, match=r"^other: \w"):
        known_of_audit("other", audits["tensor"], ForecastSettings(data_parallel=True))


def test_pipeline_without_replicas_is_not_told_to_be_called_data_parallel(audits):
    job = audits[4].job
    stages = job.rank.with_columns(
        pl.lit(-1, job.rank.schema["dp"]).alias("dp"),
        pl.lit(-1, job.rank.schema["tp"]).alias("tp"),
        pl.lit(-1, job.rank.schema["cp"]).alias("cp"),
        pl.col("rank").cast(job.rank.schema["pp"]).alias("pp"),
    )
    with pytest.raises(UsageError, match="tell pp of the ranks but no replicas") as refused:
        measure_traces(replace(job, rank=stages), audits[4].tables["step_time"], data_parallel=True)
    assert "--data-parallel" not in str(refused.value)


def test_ranks_that_stand_for_others_are_refused(audits):
    job = audits[4].job
    many = job.rank.with_columns(pl.lit(2, pl.Int32).alias("n_represented"))
    with pytest.raises(UsageError, match="stand for others"):
        measure_traces(
            job.__class__(**{n: getattr(job, n) for n in job.__slots__} | {"rank": many}),
            audits[4].tables["step_time"], data_parallel=True,
        )  # fmt: skip


def told(audit, **options):
    known = known_of_audit("x", audit, ForecastSettings(worlds=256, **options))
    return known, np.quantile(known.curve.step_s, [0.05, 0.5, 0.95], axis=0)


@pytest.mark.parametrize(("replicas", "microbatches"), [(2, 8), (8, 2), (16, 1)])
def test_job_that_shares_its_batch_takes_what_four_replicas_foretell(
    replicas, microbatches, tmp_path
):
    # The generator shares out microbatches, the forecast samples of each pass.
    def audit(name, **form):
        return run_audit(write_kineto(make_job(2, **FORM | form), tmp_path / name), brief=False)

    four = audit("four", dp=4, tp=1, microbatches=4)
    other = audit("other", dp=replicas, tp=1, microbatches=microbatches)
    known, (low, middle, high) = told(
        four, data_parallel=True, goal="strong", sizes=str(replicas), samples=64
    )
    assert low[0] < step_of(other) < high[0]
    assert middle[0] == pytest.approx(step_of(other), rel=0.06)
    assert {"kernel_serial_ratio", "gemm_ramp"} <= set(known.priors)
    assert known.curve.work.tolist() == [4.0]


def widened(norm_ratio):
    """Kernels of a layer whose norms take another share of it."""
    return {
        direction: tuple((name, work * (norm_ratio if "norm" in name else 1)) for name, work in of)
        for direction, of in LAYER.items()
    }


def test_job_of_wider_tensor_takes_what_half_of_the_width_foretells(tmp_path, monkeypatch):
    def audit(name, **form):
        made = make_job(2, **FORM | {"dp": 1, "microbatches": 4, "ranks_per_host": 8} | form)
        return run_audit(write_kineto(made, tmp_path / name), brief=False)

    two = audit("two", tp=2)
    # Half of each kernel but of norms; 3/4 in place of 1/2 of the bytes, half as fast beyond the recorded host.
    monkeypatch.setattr(device_program, "LAYER", widened(2.0))
    four = audit("four", tp=4, forward_s=0.010, transfer_ratio=0.30)
    known, (low, middle, high) = told(two, tensor=4, sizes="4")
    assert low[0] < step_of(four) < high[0]
    assert middle[0] == pytest.approx(step_of(four), rel=0.15)
    assert "tensor_alike_ratio" in known.priors
    assert known.runs[0]["on_curve"] is False


def test_samples_that_replicas_cannot_share_are_named(audits):
    known, _ = told(audits[4], data_parallel=True, goal="strong", sizes="4,8", samples=12)
    assert known.curve.n.tolist() == [4]
    [skipped] = known.skipped
    assert "12 samples of a step cannot be shared by 8" in skipped.why
    untold, _ = told(audits[4], data_parallel=True, goal="strong", sizes="8")
    assert any("--samples" in said for said in untold.assumptions)


def test_one_replica_tells_of_widths_but_not_of_replicas(audits):
    known, _ = told(audits["tensor"], tensor=2, sizes="2,4")
    assert known.curve.n.tolist() == [2]
    assert "one replica was recorded" in known.skipped[0].why


def test_flag_against_the_names_of_groups_is_refused(audits):
    with pytest.raises(UsageError, match="tell 2 replicas among 4 ranks"):
        known_of_audit("x", audits["grid"], ForecastSettings(data_parallel=True))


def test_parts_of_a_step_sum_to_it_at_any_size(audits):
    known, _ = told(audits["grid"], goal="strong", tensor=4, sizes="4,8,16")
    assert known.curve.share.sum(axis=0) == pytest.approx(1)
    assert (known.curve.share >= 0).all()
    assert set(known.curve.limitation) >= {"intra_node", "waiting", "compute"}
