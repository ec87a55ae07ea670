"""Replay of requests, beside queues whose waits are known in closed form."""

import numpy as np
import polars as pl
import pytest

from loadpath.errors import InputError
from loadpath.forecast.iteration import IterationTimes
from loadpath.forecast.request_queue import Service, replay_requests

MS = 1_000_000


def flat(seconds=0.01, *, token_s=0.0, cache=10**9):
    """An iteration of fixed length, and so much more for each token through the layers."""
    grid = np.array([1.0, 1001.0])
    return IterationTimes(grid, seconds + token_s * grid, np.zeros(2), 0.0, 0.0, cache)


def asked(arrival_ms, prompt=10, output=1):
    n = len(arrival_ms)
    return pl.DataFrame(
        {
            "arrival_ns": (np.asarray(arrival_ms, float) * MS).round().astype(np.int64),
            "prompt_tokens": np.broadcast_to(np.asarray(prompt), n).astype(np.int64),
            "output_tokens": np.broadcast_to(np.asarray(output), n).astype(np.int64),
        }
    )


def poisson(rate_per_s, n, seed=0):
    return 1e3 * np.cumsum(np.random.default_rng(seed).exponential(1 / rate_per_s, n))


def waits_s(requests, times, service_s, **service):
    served, _ = replay_requests(requests, times, service=Service(**service))
    return served["latency_ns"].to_numpy() / 1e9 - service_s


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_equal_requests_one_at_a_time_wait_as_in_a_queue_of_constant_service(load):
    # M/D/1: mean wait rho s / (2 (1 - rho)), Pollaczek and Khinchine.
    requests = asked(poisson(load / 0.01, 100_000))
    mean = waits_s(requests, flat(), 0.01, most_sequences=1).mean()
    assert mean == pytest.approx(0.01 * load / (2 * (1 - load)), rel=0.05)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_answers_of_exponential_length_one_at_a_time_wait_as_in_a_memoryless_queue(load):
    # M/M/1 in steps of a token: mean wait by Pollaczek and Khinchine of a geometric length.
    rng = np.random.default_rng(1)
    lengths = rng.geometric(1 / 100, 60_000)
    requests = asked(poisson(load / 0.1, 60_000), output=lengths)
    service = lengths * 0.001
    wait = waits_s(requests, flat(0.001), service, most_sequences=1)
    geometric = load * 0.1 * (2 - 0.01) / (2 * (1 - load))
    assert geometric == pytest.approx(load * 0.1 / (1 - load), rel=0.01)
    assert wait.mean() == pytest.approx(geometric, rel=0.08)
    # The wait of M/M/1 is 0 with probability 1 - rho, else exponential.
    assert np.quantile(wait, 0.99) == pytest.approx(0.1 / (1 - load) * np.log(100 * load), rel=0.12)


def test_requests_at_one_time_share_iterations():
    served, busy = replay_requests(asked([0, 0, 0], output=4), flat())
    assert served["latency_ns"].to_list() == [40 * MS] * 3
    assert busy == pytest.approx(0.04)


def test_long_prompt_is_cut_into_pieces_between_which_answers_go_on():
    # 10 ms an iteration of at most 100 tokens: the answer of the first takes one of them.
    requests = asked([0, 5], prompt=[10, 250], output=[6, 1])
    served, _ = replay_requests(requests, flat(), service=Service(most_tokens=100))
    assert served["tpot_ns"].to_list() == [10 * MS, None]
    # Iterations begin at 10 ms with 99 + 99 + 52 tokens of the prompt.
    assert served["ttft_ns"].to_list() == [10 * MS, 35 * MS]


def test_cache_that_holds_one_request_makes_the_next_wait():
    requests = asked([0, 0], prompt=60, output=3)
    served, _ = replay_requests(requests, flat(cache=100))
    assert served["latency_ns"].to_list() == [30 * MS, 60 * MS]


def test_cached_tokens_and_pairs_of_the_prompt_take_their_time():
    times = IterationTimes(np.array([1.0, 2.0]), np.zeros(2), np.zeros(2), 1e-3, 1e-6, 10**6)
    served, _ = replay_requests(asked([0], prompt=4, output=3), times)
    # The prompt has 1 + 2 + 3 + 4 pairs; then 5 and 6 tokens are in the cache.
    assert served["latency_ns"].to_list() == [10_000 + 11 * MS]


def test_logits_are_paid_for_sequences_that_get_a_token_only():
    grid = np.array([1.0, 1001.0])
    times = IterationTimes(grid, np.zeros(2), 1e-3 * grid, 0.0, 0.0, 10**6)
    served, _ = replay_requests(asked([0], prompt=500, output=2), times)
    assert served["latency_ns"].to_list() == [2 * MS]


def test_replicas_take_requests_in_turn_and_halve_a_queue():
    requests = asked([0, 0, 0, 0])
    one, _ = replay_requests(requests, flat(), service=Service(most_sequences=1))
    two, _ = replay_requests(requests, flat(), service=Service(most_sequences=1), replicas=2)
    assert one["latency_ns"].to_list() == [10 * MS, 20 * MS, 30 * MS, 40 * MS]
    assert two["latency_ns"].to_list() == [10 * MS, 10 * MS, 20 * MS, 20 * MS]
    assert two["replica"].to_list() == [0, 1, 0, 1]


def test_tokens_are_conserved_and_no_token_comes_before_its_request():
    rng = np.random.default_rng(2)
    requests = asked(poisson(40, 2000), prompt=rng.integers(1, 3000, 2000),
                     output=rng.integers(1, 300, 2000))  # fmt: skip
    served, busy = replay_requests(requests, flat(0.002, token_s=1e-5), replicas=3)
    assert served["output_tokens"].sum() == requests["output_tokens"].sum()
    assert (served["ttft_ns"] > 0).all()
    more = served["tpot_ns"].fill_null(0) * (served["output_tokens"] - 1)
    assert np.allclose(served["latency_ns"] - served["ttft_ns"], more)
    assert 0 < busy <= (served["arrival_ns"] + served["latency_ns"]).to_numpy().max() / 1e9


def test_request_without_an_answer_ends_with_its_prompt():
    served, _ = replay_requests(asked([0], output=0), flat())
    assert served.select("latency_ns", "output_tokens").row(0) == (10 * MS, 1)


@pytest.mark.parametrize(
    ("requests", "more", "word"),
    [
        (asked([]), {}, "no requests"),
        (asked([0], prompt=101), {}, "102 tokens, more than the 100"),
        (asked([0]), {"replicas": 0}, "fewer than one"),
    ],
)
def test_what_cannot_be_served_is_refused(requests, more, word):
    with pytest.raises(InputError, match=word):
        replay_requests(requests, flat(cache=100), **more)
