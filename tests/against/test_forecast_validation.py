"""Forecasts against published step times: the bounds that docs/validation.md reports as met."""

import importlib
import os
import sys
from itertools import product
from pathlib import Path

import msgspec
import numpy as np
import pytest

from loadpath.forecast import MeasuredStep, calibrate, step_time

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def tables():
    root = os.environ.get("LOADPATH_DATA")
    if root is None:
        pytest.skip("LOADPATH_DATA is not set")
    folder = Path(root) / "tables"
    assert folder.is_dir(), f"LOADPATH_DATA has no {folder}"
    return folder


@pytest.fixture(scope="module")
def validation():
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("forecast_validation")
    for name in set(sys.modules) - before:
        if name.startswith("forecast_"):
            del sys.modules[name]


def errors(validation, tables, name):
    cases, _ = validation.UNCALIBRATED[name]
    listed = list(cases(tables))
    assert listed
    return np.abs(validation.errors(listed))


def test_eight_published_a100_steps_are_met_as_well_as_by_calculon(validation, tables):
    error = errors(validation, tables, "selene_a100_step_times")
    assert error.size == 8
    assert error.mean() <= 0.0365
    assert error.max() <= 0.0887


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("megatron_a100_weak_scaling_2021", 10),
        ("megatron_h100_weak_scaling_2024", 9),
        ("mosaicml_llmfoundry_mpt_mfu", 216),
        ("dgxcloud_benchmarking_weak_scaling", 150),
        ("torchtitan_llama3_h100_202412", 28),
        ("megatron_bridge_perf_summary", 160),
    ],
)
def test_uncalibrated_median_is_within_a_tenth(validation, tables, name, rows):
    error = errors(validation, tables, name)
    assert error.size >= rows
    assert np.median(error) <= 0.10


def test_median_of_all_uncalibrated_rows_is_within_a_tenth(validation, tables):
    names = [name for name in validation.UNCALIBRATED if "mlperf" not in name]
    error = np.concatenate([errors(validation, tables, name) for name in names])
    assert np.median(error) <= 0.10


def test_strong_scaling_calibrated_at_two_sizes_is_as_good_as_a_straight_line(validation, tables):
    cases = [c for c in validation.mlperf(tables) if c.label.startswith("v3.1 NVIDIA ")]
    ends = [c for c in cases if c.design.cluster.accelerators in {512, 10240}]
    found = calibrate([MeasuredStep(c.design, c.step_s) for c in ends])
    held = [c for c in cases if c not in ends]
    assert len(held) == 5
    forecast = np.array([step_time(validation.given(c, found.priors)).step_s for c in held])
    error = np.abs(forecast / [c.step_s for c in held] - 1)
    line = np.abs(validation.straight_line(held, ends))
    assert error.max() <= 0.02
    assert error.max() <= line.max() + 0.002
    assert np.median(error) <= np.median(line) + 0.002


def test_llama_405b_calibrated_at_8192_gpus_is_met_at_16384(validation, tables):
    small, large = validation.llama3_405b(tables)
    found = calibrate([MeasuredStep(small.design, small.step_s)])
    forecast = step_time(validation.given(large, found.priors)).step_s
    assert abs(forecast / large.step_s - 1) <= 0.016


def test_utilisation_of_llama_70b_falls_with_scale_as_far_as_measured(validation, tables):
    cases = {c.label: c for c in validation.dgxcloud(tables) if " 70b " in c.label}
    for recipe in product(("v24.11.1", "v25.01.1", "v25.02"), ("bf16", "fp8")):
        found = []
        for n in (64, 2048):
            case = cases["{} llama3.1 70b {} {}".format(*recipe, n)]
            told = step_time(case.design)
            found.append((told.mfu_ratio, told.mfu_ratio * told.step_s / case.step_s))
        (small, small_measured), (large, large_measured) = found
        assert abs((large - small) - (large_measured - small_measured)) <= 0.01


def test_scales_reduced_in_every_pass_lower_utilisation_the_more_the_larger_the_job(
    validation, tables
):
    cases = {c.label: c.design for c in validation.dgxcloud(tables) if " 70b fp8 " in c.label}
    longer = []
    for n in (64, 2048):
        design = cases[f"v25.02 llama3.1 70b fp8 {n}"]
        own = msgspec.structs.replace(
            design, software=msgspec.structs.replace(design.software, scaling="own")
        )
        longer.append(step_time(design).step_s / step_time(own).step_s - 1)
    assert 0 < longer[0] < longer[1] < 0.1


def test_what_reduced_scales_cost_is_what_mlperf_gained_without_them(validation, tables):
    cases = {c.label: c for c in validation.mlperf(tables)}
    for n in (512, 768):
        before, after = (cases[f"{name} NVIDIA {n} m=128"] for name in ("v3.0", "v3.1"))
        assert (before.design.software.scaling, after.design.software.scaling) == ("delayed", "own")
        forecast = step_time(before.design).step_s - step_time(after.design).step_s
        assert forecast == pytest.approx(before.step_s - after.step_s, rel=0.2)
