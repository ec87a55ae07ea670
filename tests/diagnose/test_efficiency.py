import numpy as np
import polars as pl
import pytest
from tests.diagnose.peer_jobs import coupled, peers
from tests.diagnose.small_jobs import communicate, compute

from loadpath.diagnose.efficiency import efficiencies


def factors(job, step=-1):
    table = efficiencies(job, np.random.default_rng(0)).filter(pl.col("step") == step)
    return dict(table.select(pl.col("factor").cast(pl.String), "value_ratio").iter_rows())


# Four ranks compute 80, 90, 100 and 70, then meet for 20: a step of 120.
def test_unequal_work_of_four_ranks_is_load_balance():
    found = factors(peers([80, 90, 100, 70], steps=4))
    assert found == {
        "parallel_efficiency": pytest.approx(85 / 120),
        "load_balance": pytest.approx(85 / 100),
        "communication_efficiency": pytest.approx(100 / 120),
        "serialisation": pytest.approx(1),
        "transfer": pytest.approx(100 / 120),
    }


# rank 0  |-60-|               |30|     rank 1 needs what rank 0 made: a step of 150,
# rank 1        |-60-|         |30|     120 of it with an ideal network
# 2 and 3 |-60-|               |30|
def test_ranks_that_wait_in_turn_are_serialised():
    ops = [op for rank in range(4) for op in (compute(rank, 60), communicate(rank, 30))]
    found = factors(coupled(ops, [range(1, 8, 2)], edges=[(0, 2)]))
    assert found["load_balance"] == pytest.approx(1)
    assert found["serialisation"] == pytest.approx(60 / 120)
    assert found["transfer"] == pytest.approx(120 / 150)
    assert found["parallel_efficiency"] == pytest.approx(60 / 150)


# Host work of 40 before a kernel of 50 on each rank, then 10 of transfer: a step of 100.
def test_waiting_for_hosts_is_orchestration():
    ops, columns = [], []
    for rank in range(4):
        ops += [compute(rank, 40), compute(rank, 50, lane=1), communicate(rank, 10, lane=1)]
        columns += ["host", "device", "communication"]
    edges = [(k, k + 1) for k in range(0, 12, 3)]
    found = factors(coupled(ops, [range(2, 12, 3)], edges=edges, op={"mechanism": columns}))
    assert found["parallel_efficiency"] == pytest.approx(50 / 100)
    assert found["serialisation"] == pytest.approx(50 / 90)
    assert found["orchestration"] == pytest.approx(50 / 90)


def test_factors_of_a_step_are_quotients_of_its_own_times():
    works = np.array([[10, 20], [40, 40]])
    job = peers(works)
    assert factors(job, step=0)["load_balance"] == pytest.approx(15 / 20)
    assert factors(job, step=1)["load_balance"] == pytest.approx(1)
    assert factors(job)["load_balance"] == pytest.approx(55 / 60)


def test_the_product_misses_what_was_measured_by_the_lag_that_is_not_replayed():
    ops = [compute(0, 60), communicate(0, 20), compute(1, 60, lag=20), communicate(1, 20)]
    found = factors(coupled(ops, [(1, 3)]))
    product = found["load_balance"] * found["serialisation"] * found["transfer"]
    assert found["parallel_efficiency"] == pytest.approx(60 / 100)
    assert product == pytest.approx(60 / 80)


def test_moments_of_two_streams_count_once():
    ops = [compute(0, 60), compute(0, 60, lane=1), communicate(0, 20)]
    ops += [compute(1, 60), communicate(1, 20)]
    assert factors(coupled(ops, [(2, 4)]))["load_balance"] == pytest.approx(1)


def test_intervals_come_from_drawn_steps():
    works = np.random.default_rng(1).uniform(50, 100, (20, 4))
    table = efficiencies(peers(works), np.random.default_rng(0)).filter(pl.col("step") == -1)
    low, value, high = (
        table[name].to_numpy() for name in ("value_low_ratio", "value_ratio", "value_high_ratio")
    )
    assert (low <= value).all()
    assert (value <= high).all()
    assert (low < high).any()
