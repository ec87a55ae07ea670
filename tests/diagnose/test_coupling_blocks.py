import numpy as np
import polars as pl
import pytest
from tests.diagnose.peer_jobs import peers

from loadpath.diagnose.coupling_blocks import coupling_blocks, find_blocks, modularity
from loadpath.tables.results import COUPLING


def pairs(*rows):
    cause, waiter, seconds = zip(*rows, strict=True)
    return COUPLING.build(
        {"cause": cause, "waiter": waiter, "direct_s": seconds, "transitive_s": seconds}
    )


def test_ranks_that_wait_for_each_other_are_a_block():
    matrix = np.zeros((6, 6))
    for one, other in [(0, 2), (2, 4), (4, 0), (1, 3), (3, 5), (5, 1)]:
        matrix[one, other] = 1.0
    assert find_blocks(matrix).tolist() == [0, 1, 0, 1, 0, 1]


def test_one_cause_of_all_waiting_makes_no_blocks():
    matrix = np.zeros((4, 4))
    matrix[0, 1:] = 1.0
    rows, columns = np.nonzero(matrix)
    fit = modularity(find_blocks(matrix), (rows, columns), matrix[rows, columns])
    assert fit.ratio == pytest.approx(0)


def test_found_blocks_fit_at_least_as_well_as_those_that_are_known():
    job = peers([10] * 4, steps=2, hosts=["a", "a", "b", "b"])
    table = coupling_blocks(job, pairs((0, 1, 2.0), (1, 0, 1.0), (2, 3, 3.0), (0, 3, 0.1)))
    fits = dict(table.group_by("by").agg(pl.col("modularity_ratio").first()).iter_rows())
    assert set(fits) == {"found", "host"}
    assert fits["found"] >= fits["host"] > 0.3
    assert table["by"][0] == "found"


def test_nobody_who_waits_for_another_has_no_blocks():
    assert coupling_blocks(peers([10] * 2, steps=2), pairs((0, 0, 1.0))).is_empty()
