"""Links of a design from measured collectives."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace
from tests.forecast.designs import design

from loadpath.errors import UsageError
from loadpath.forecast import step_time
from loadpath.forecast.devices import measured_priors, shipped_devices
from loadpath.forecast.fabric import collective_parts_s
from loadpath.forecast.measured_links import calibrate_links
from loadpath.forecast.priors import assume
from loadpath.forecast.rates import fabric_of
from loadpath.ingest.nccl_tests import read_nccl_tests
from loadpath.tables.measured import COLLECTIVE_POINT

JOB = design(64, sequences=256, device="H100-SXM5-80GB", tensor=2)
TRUTH = {
    "link_ratio": 0.6, "link_latency": 3e-6, "collective_latency": 2e-5,
    "network_ratio": 0.5, "network_latency": 1.5e-5,
}  # fmt: skip
SIZES = [1 << k for k in range(12, 33, 2)]


def times(kind, n_rank, n_node, noise=0.0, seed=0):
    device = shipped_devices()["H100-SXM5-80GB"]
    priors = assume(TRUTH, measured_priors(device))
    fabric = fabric_of(JOB, device, priors, n_rank, near=n_rank // n_node)
    parts = collective_parts_s(kind, np.array(SIZES, float), n_rank, n_rank // n_node, fabric)
    scatter = np.exp(noise * np.random.default_rng(seed).standard_normal(len(SIZES)))
    rows = {
        "collective": [kind] * len(SIZES), "bytes": SIZES, "n_rank": [n_rank] * len(SIZES),
        "n_node": [n_node] * len(SIZES), "duration_ns": (1e9 * (parts[0] + parts[1]) * scatter).astype(int),
        "in_place": [False] * len(SIZES), "n_wrong": [0] * len(SIZES),
    }  # fmt: skip
    return pl.DataFrame(rows, schema=COLLECTIVE_POINT.schema)


def test_links_that_made_the_times_are_found_again():
    points = pl.concat(
        [
            times("all_reduce", 8, 1),
            times("all_gather", 2, 1),
            times("all_gather", 64, 8),
            times("all_reduce", 32, 4),
        ]
    )
    found = calibrate_links(JOB, points)
    assert {name: p.value for name, p in found.priors.items()} == pytest.approx(TRUTH, rel=0.05)
    assert found.untold == ()
    assert found.bulk_error_ratio < 0.01


def test_band_of_a_link_holds_what_scatter_leaves():
    points = pl.concat([times("all_reduce", 8, 1, 0.05, seed) for seed in range(4)])
    ratio = calibrate_links(JOB, points).priors["link_ratio"]
    assert ratio.low < TRUTH["link_ratio"] < ratio.high
    assert 1.04 < ratio.high / ratio.value < 1.15


def test_one_node_tells_nothing_of_the_network():
    found = calibrate_links(JOB, times("all_reduce", 8, 1))
    assert found.untold == ("network_ratio", "network_latency")
    assert set(found.priors) == {"link_ratio", "link_latency", "collective_latency"}


def test_measured_links_change_the_step():
    slow = calibrate_links(JOB, times("all_reduce", 8, 1)).priors
    values = {name: prior.value for name, prior in slow.items()}
    assert step_time(replace(JOB, priors=values)).step_s > step_time(JOB).step_s


def test_collectives_that_no_design_has_are_refused():
    points = times("all_reduce", 8, 1).with_columns(
        pl.lit("broadcast").cast(COLLECTIVE_POINT.schema["collective"]).alias("collective")
    )
    with pytest.raises(UsageError, match="no measured collective"):
        calibrate_links(JOB, points)


@pytest.mark.parametrize(
    ("names", "most"),
    [(("xxrjun/nccl_N1_G8_cnode3-003.log",), 0.05), (("vidur/h100_dgx_all_reduce.csv.gz",), 0.05),
     (tuple(f"xxrjun/nccl_N10_G{n}.log" for n in (1, 2, 4, 8)), 0.15)],
)  # fmt: skip
def test_bulk_of_real_logs_is_met(names, most):
    root = os.environ.get("LOADPATH_DATA")
    if root is None:
        pytest.skip("LOADPATH_DATA is not set")
    folder = Path(root) / "data" / "nccl-tests"
    points = pl.concat([read_nccl_tests(folder / name).points for name in names])
    assert calibrate_links(JOB, points).bulk_error_ratio < most
