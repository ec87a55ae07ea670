"""Rates of recorded classes of work."""

import os
from pathlib import Path

import polars as pl
import pytest
from msgspec.structs import replace
from tests.forecast.designs import SMALL, design

from loadpath.audit.pipeline import couple_sources
from loadpath.audit.settings import Settings
from loadpath.couple.steps import as_runs, lay_out
from loadpath.errors import UsageError
from loadpath.forecast.design import Batch, Cluster, Software, Transformer
from loadpath.forecast.measured_classes import calibrate_classes, class_times


def times(**seconds):
    rows = [(rank, 0, name, value) for rank in (0, 1) for name, value in seconds.items()]
    schema = {"rank": pl.Int32, "step": pl.Int64, "resource": pl.String, "time_s": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def job(**more):
    return design(8, model=SMALL, tensor=8, tensor_overlap="none", **more)


def test_calibrated_design_foretells_what_was_recorded():
    blind = calibrate_classes(job(), times(launch=8e-6)).foretold_s
    told = times(
        matrix=1.2 * blind["compute"],
        memory=1.2 * blind["memory"],
        transfer=1.3 * blind["transfer"],
        launch=8e-6,
    )
    found = calibrate_classes(job(), told)
    assert set(found.priors) == {"sustained_ratio", "memory_ratio", "link_ratio", "launch"}
    again = calibrate_classes(replace(job(), priors=found.priors), told).foretold_s
    # Filling and draining small products takes what it took, whatever their rate.
    assert 1.1 * blind["compute"] < again["compute"] <= 1.2 * blind["compute"]
    assert again["memory"] == pytest.approx(1.2 * blind["memory"], rel=0.01)
    assert again["transfer"] == pytest.approx(1.3 * blind["transfer"], rel=0.01)
    assert found.priors["launch"] == 8e-6


def test_faster_record_gives_faster_rates():
    slow, fast = (calibrate_classes(job(), times(matrix=s, memory=s)).priors for s in (0.2, 0.1))
    assert fast["sustained_ratio"] == pytest.approx(2 * slow["sustained_ratio"])
    assert fast["memory_ratio"] == pytest.approx(2 * slow["memory_ratio"])


def test_what_the_record_does_not_tell_keeps_its_prior_and_is_named():
    found = calibrate_classes(job(), times(matrix=0.2))
    assert list(found.priors) == ["sustained_ratio"]
    assert found.untold == ("memory", "transfer", "launch")


def test_forward_passes_alone_are_a_third_of_the_products():
    whole, ahead = (
        calibrate_classes(job(), times(matrix=0.2), forward_only=only).foretold_s["compute"]
        for only in (False, True)
    )
    assert ahead / whole == pytest.approx(1 / 3, abs=0.02)


def test_record_of_nothing_known_is_refused():
    with pytest.raises(UsageError, match="no kernels, transfers or launches"):
        calibrate_classes(job(), times(host=1.0))


def test_half_of_the_ranks_of_a_real_job_foretell_the_other_half():
    root = os.environ.get("LOADPATH_DATA")
    if root is None:
        pytest.skip("LOADPATH_DATA is not set")
    folder = Path(root) / "data" / "kineto-megatron-tp8"
    assert folder.is_dir(), f"LOADPATH_DATA has no {folder}"
    coupled = lay_out(as_runs(couple_sources([folder], Settings(), lambda _: None)))
    table = class_times(coupled)
    # The forward pass of 40 layers over 4 sequences, by the dimensions that the trace prints.
    recorded = design(
        model=Transformer(layers=40, hidden=4096, heads=64, sequence=2048, vocabulary=51200),
        cluster=Cluster(device="A100-SXM4-80GB", accelerators=8),
        batch=Batch(sequences=4, microbatch=4),
        software=Software(precision="fp16", attention="unfused"),
        tensor=8, tensor_overlap="none",
    )  # fmt: skip
    blind = calibrate_classes(recorded, table.filter(pl.col("rank") < 4), forward_only=True)
    for name, seconds in blind.foretold_s.items():
        assert seconds == pytest.approx(blind.measured_s[name], rel=0.15)
    taught = replace(recorded, priors=blind.priors)
    rest = calibrate_classes(taught, table.filter(pl.col("rank") >= 4), forward_only=True)
    for name, seconds in rest.foretold_s.items():
        assert seconds == pytest.approx(rest.measured_s[name], rel=0.02)
