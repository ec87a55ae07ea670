import numpy as np

from loadpath.diagnose.coupling_matrix import (
    BLOCK,
    CauseBlock,
    coupling_table,
    merged_causes,
    nonzero_causes,
)


def table_of(n_rank, matrix_ns, last=(0,), waiter=(1,), wait_ns=(2e9,)):
    return coupling_table(
        np.arange(n_rank, dtype=np.int32) * 4,
        CauseBlock(np.array(last), np.array(waiter), np.array(wait_ns)),
        nonzero_causes(np.asarray(matrix_ns, float), np.arange(len(matrix_ns[0]))),
    )


def test_every_pair_of_a_small_job_has_a_row():
    table = table_of(3, [[0, 0, 0], [0, 0, 0], [0, 2e9, 0]])
    assert table.height == 9
    assert table.filter(table["direct_s"] > 0).rows() == [(0, 4, 2.0, 0.0)]
    assert table.filter(table["transitive_s"] > 0).rows() == [(8, 4, 0.0, 2.0)]


def test_waits_of_one_pair_add_up():
    table = table_of(2, np.zeros((2, 2)), [0, 0], [1, 1], [1e9, 3e9])
    assert table["direct_s"].to_list() == [0, 4, 0, 0]


def test_blocks_of_the_same_pairs_add_up():
    one, other = (
        nonzero_causes(np.array(matrix, float), np.array([3, 7]))
        for matrix in ([[1, 0], [0, 2]], [[0, 0], [5, 4]])
    )
    merged = merged_causes([one, other])
    assert [part.tolist() for part in merged] == [[0, 1, 1], [3, 3, 7], [1, 5, 6]]


def test_pairs_of_a_large_job_have_a_row_only_if_they_wait():
    n_rank = BLOCK + 1
    matrix = np.zeros((n_rank, 2))
    matrix[BLOCK, 1] = 1e9
    table = table_of(n_rank, matrix)
    assert table.rows() == [(0, 4, 2.0, 0.0), (4 * BLOCK, 4, 0.0, 1.0)]
