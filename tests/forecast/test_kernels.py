"""The service of requests on arrays written out by hand; also with NUMBA_DISABLE_JIT=1."""

import numpy as np

from loadpath.forecast.kernels import serve


def served(arrival, prompt, output, *, body=(10.0, 10.0), most=(4, 100, 1000), rate=(0.0, 0.0)):
    """Serve; an iteration takes `body` ns for 1 and for 101 tokens, a head none."""
    columns = [np.array(column, np.int64) for column in (arrival, prompt, output)]
    first, done = np.zeros((2, len(arrival)), np.int64)
    grid = np.array([1.0, 101.0])
    busy = serve(
        *columns, grid, np.array(body), np.zeros(2), np.array(rate), np.array(most), first, done
    )
    return first.tolist(), done.tolist(), int(busy)


def test_one_request_takes_an_iteration_for_its_prompt_and_one_for_each_further_token():
    assert served([5], [10], [3]) == ([15], [35], 30)


def test_request_that_comes_during_an_iteration_waits_for_its_end():
    # Iterations end at 10, 20, 30; the second request comes at 12.
    assert served([0, 12], [10, 10], [3, 1]) == ([10, 30], [30, 30], 30)


def test_idle_time_is_not_busy():
    assert served([0, 100], [1, 1], [1, 1]) == ([10, 110], [10, 110], 20)


def test_prompt_fills_what_answers_leave_of_an_iteration():
    # 100 tokens an iteration: 150 of the prompt take two.
    assert served([0], [150], [1]) == ([20], [20], 20)


def test_places_and_cache_bound_what_runs_together():
    assert served([0, 0], [10, 10], [1, 1], most=(1, 100, 1000))[1] == [10, 20]
    assert served([0, 0], [10, 10], [1, 1], most=(4, 100, 15))[1] == [10, 20]


def test_time_grows_with_tokens_also_beyond_the_grid():
    assert served([0], [51], [1], body=(10.0, 110.0))[1] == [60]
    assert served([0], [201], [1], body=(10.0, 110.0), most=(4, 500, 1000))[1] == [210]


def test_cache_and_pairs_cost_by_their_number():
    # Pairs 1 + 2 + 3; then three tokens of the prompt and one made are read.
    assert served([0], [3], [2], body=(0.0, 0.0), rate=(100.0, 1.0))[1] == [6 + 400]
