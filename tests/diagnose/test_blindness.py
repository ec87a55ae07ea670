"""What dashboards would have concluded, on jobs where the truth is known."""

from dataclasses import replace

import numpy as np
import polars as pl
from tests.diagnose.peer_jobs import MS, coupled, peers
from tests.diagnose.small_jobs import communicate, compute, job

from loadpath.diagnose.blindness import blindness_report


def views(small, culprits=(), measured=(0.12, 0.12)):
    report = blindness_report(small, culprits, np.array(measured))
    return {row["view"]: row for row in report.iter_rows(named=True)}


def test_utilisation_is_the_same_for_the_culprit_and_those_who_wait_for_it():
    # a collective that waits keeps its rank busy: 120 of 120 ms on every rank
    found = views(peers([70, 70, 70, 100], steps=2), culprits=[3])
    row = found["utilisation (any op running)"]
    assert row["accuses"] == "nobody"
    assert not row["right"]


def test_communication_time_accuses_those_who_wait():
    # ranks 0 and 1 communicate for 50 ms, the culprits 2 and 3 for 20: the first of the longest
    found = views(peers([70, 70, 100, 100], steps=2), culprits=[2, 3])
    row = found["communication time"]
    assert row["accuses"] == "rank 0"
    assert row["evidence"] == "50.0 ms a step, median 35.0 ms"
    assert not row["right"]


def test_computation_time_and_last_arriver_find_a_slow_rank_without_a_pipeline():
    found = views(peers([70, 70, 70, 100], steps=2), culprits=[3])
    assert found["computation time"]["right"]
    assert found["last arriver"]["accuses"] == "rank 3"
    assert (
        found["last arriver"]["evidence"] == "last in 2; of 2 communications 0 are ties within 0 s"
    )


def test_accusing_nobody_is_right_where_nobody_is_at_fault():
    found = views(peers([70, 70, 70, 70], steps=2))
    assert all(row["right"] for row in found.values())


def test_arrivals_within_the_residuals_of_both_clocks_are_ties():
    small = peers([70, 71], steps=2)
    blurred = replace(small, rank=small.rank.with_columns(clock_residual_ns=pl.lit(2 * MS)))
    row = views(blurred)["last arriver"]
    assert row["accuses"] == "nobody"
    assert row["evidence"] == "of 2 communications 2 are ties within 4.00 ms"


def test_job_without_communication_has_no_last_arriver():
    row = views(coupled([compute(0, 5), compute(1, 6)], []))["last arriver"]
    assert (row["accuses"], row["evidence"]) == ("nobody", "no communication between ranks")


def test_membership_of_one_rank_has_no_last_arriver():
    row = views(coupled([communicate(0, 5), communicate(1, 6)], [[0], [1]]))["last arriver"]
    assert row["evidence"] == "no communication between ranks"


def test_one_step_shows_no_variation():
    row = views(peers([70, 80], steps=1), measured=(0.1,))["throughput over time"]
    assert row["evidence"] == "one step recorded"


def test_steady_steps_show_nothing_however_much_each_loses():
    row = views(peers([70, 80], steps=2), measured=(0.1, 0.1))["throughput over time"]
    assert (row["accuses"], row["evidence"]) == ("nobody", "steps vary by 0.0 %")


def test_host_threads_do_not_count_as_utilisation_of_devices():
    # lane 1 is a host thread that works all the time; lane 0 is the device
    ops = [compute(r, 10 * MS) for r in range(3)] + [
        compute(r, 99 * MS, lane=1, kind="host") for r in range(3)
    ]
    small = job(ops, hosts=(1,))
    mixed = small.op.with_columns(
        mechanism=pl.when(pl.col("lane") == 1)
        .then(pl.lit("host"))
        .otherwise(pl.lit("device"))
        .cast(small.op.schema["mechanism"])
    )
    row = views(replace(small, op=mixed))["utilisation (any op running)"]
    assert row["evidence"].startswith("10.0 ms")


def test_overlapping_ops_of_one_rank_are_busy_once():
    # two lanes run side by side for 10 ms
    ops = [compute(r, 10 * MS, lane=lane) for r in range(2) for lane in range(2)]
    row = views(coupled(ops, []))["utilisation (any op running)"]
    assert row["evidence"] == "10.0 ms a step, median 10.0 ms"
