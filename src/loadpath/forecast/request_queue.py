"""Replay of recorded requests through replicas of a served model, iteration by iteration."""

import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray

from loadpath.errors import InputError
from loadpath.forecast.iteration import MEMORY_RATIO, IterationTimes
from loadpath.forecast.kernels import serve
from loadpath.tables.measured import REQUEST
from loadpath.tables.schema import Column, TableSchema
from loadpath.units import NS_PER_S

__all__ = [
    "SERVED",
    "Service",
    "replay_requests",
]

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

SERVED = TableSchema(
    "served",
    "when one request was answered",
    (
        Column("arrival_ns", pl.Int64, "when it came"),
        Column("replica", pl.Int32, "who answered it"),
        Column("ttft_ns", pl.Int64, "from its arrival to its first token"),
        Column("tpot_ns", pl.Float64, "from token to token after the first; null for one token", nullable=True),
        Column("latency_ns", pl.Int64, "from its arrival to its last token"),
        Column("output_tokens", pl.Int64, "tokens of the answer"),
    ),
)  # fmt: skip

BAND_FACTOR = 1.25
"""By which uncalibrated iterations may be off: nine of ten published training steps are met within it."""


class Service(Struct, frozen=True, kw_only=True):
    """How replicas work, and what their users were promised.

    Attributes
    ----------
    most_sequences : int
        Requests that a replica works on at a time.
    most_tokens : int
        Tokens of an iteration; answers go first, prompts fill the rest in pieces.
    memory_ratio : float
        Share of the memory that weights and caches may take.
    ttft_s, tpot_s : float
        Time to the first token, and mean time from token to token after it, at most.
    good_ratio : float
        Share of the requests that must keep both, for a load to be kept.
    band_factor : float
        Factor by which the times of iterations may be off, nine times in ten.
    """

    most_sequences: int = 256
    most_tokens: int = 2048
    memory_ratio: float = MEMORY_RATIO
    ttft_s: float = 1.0
    tpot_s: float = 0.1
    good_ratio: float = 0.99
    band_factor: float = BAND_FACTOR


def replay_requests(
    requests: pl.DataFrame,
    times: IterationTimes,
    *,
    service: Service | None = None,
    replicas: int = 1,
) -> tuple[pl.DataFrame, float]:
    """Serve recorded requests by continuous batching.

    A replica takes requests in the order of their arrival, as long as their prompt and answer fit into
    its cache, and gives each iteration a token of every answer and pieces of the prompts. Requests go to
    the replicas in turn.

    Parameters
    ----------
    requests : polars.DataFrame
        Table `REQUEST`.
    times : IterationTimes
        Of one replica.
    service : Service, optional
        How iterations are composed.
    replicas : int
        Copies of the model.

    Returns
    -------
    polars.DataFrame
        Table `SERVED`, in the order of the requests.
    float
        Time for which the busiest replica worked, in s.

    Raises
    ------
    InputError
        If there is no request, or one needs more than the whole cache.

    References
    ----------
    .. [1] G.-I. Yu et al., "Orca: a distributed serving system for transformer-based generative models",
       OSDI 2022.
    .. [2] A. Agrawal et al., "Taming throughput-latency tradeoff in LLM inference with Sarathi-Serve",
       OSDI 2024.

    Examples
    --------
    An iteration of 10 ms whatever it does: a prompt and three tokens of its answer take three of them.

    >>> import numpy as np
    >>> flat = IterationTimes(
    ...     np.array([1.0, 2.0]), np.full(2, 0.01), np.zeros(2), 0.0, 0.0, cache_tokens=1000
    ... )
    >>> asked = pl.DataFrame({"arrival_ns": [0], "prompt_tokens": [50], "output_tokens": [3]})
    >>> served, busy = replay_requests(asked, flat)
    >>> served.select("ttft_ns", "tpot_ns", "latency_ns").row(0), busy
    ((10000000, 10000000.0, 30000000), 0.03)
    """
    how = service or Service()
    table = REQUEST.validate(requests).with_columns(pl.col("output_tokens").clip(1))
    _refuse_unservable(table, times, how, replicas)
    asked = [table[name].to_numpy() for name in REQUEST.schema]
    ends = np.zeros((2, table.height), np.int64)
    busy = 0
    for k in range(min(replicas, table.height)):
        share = slice(k, None, replicas)
        mine = np.zeros((2, len(asked[0][share])), np.int64)
        own = [np.ascontiguousarray(column[share]) for column in asked]
        busy = max(busy, int(serve(*own, *_in_ns(times), _limits(times, how), *mine)))
        ends[:, share] = mine
    first, done = (pl.Series(values) for values in ends)
    more = (pl.col("output_tokens") - 1).replace(0, None)
    served = table.select(
        "arrival_ns",
        (pl.int_range(pl.len()) % replicas).cast(pl.Int32).alias("replica"),
        (first - table["arrival_ns"]).alias("ttft_ns"),
        ((done - first) / more).alias("tpot_ns"),
        (done - table["arrival_ns"]).alias("latency_ns"),
        "output_tokens",
    )
    return SERVED.validate(served), busy / NS_PER_S


def _in_ns(times: IterationTimes) -> tuple[FloatArray, ...]:
    rate = NS_PER_S * np.array([times.cached_token_s, times.pair_s])
    return times.tokens, NS_PER_S * times.body_s, NS_PER_S * times.head_s, rate


def _limits(times: IterationTimes, how: Service) -> IntArray:
    return np.array([how.most_sequences, how.most_tokens, times.cache_tokens], np.int64)


def _refuse_unservable(
    table: pl.DataFrame, times: IterationTimes, how: Service, replicas: int
) -> None:
    problems = ["no requests"] if table.is_empty() else []
    if min(how.most_sequences, how.most_tokens, replicas) < 1:
        problems.append("fewer than one sequence, token of an iteration or replica")
    largest = table.select(pl.col("prompt_tokens") + pl.col("output_tokens")).max().item() or 0
    if largest > times.cache_tokens:
        problems.append(
            f"a request of {largest} tokens, more than the {times.cache_tokens} of a replica's cache"
        )
    if problems:
        raise InputError(
            "requests", problems, "Widen the replica, or leave out what it cannot hold."
        )
