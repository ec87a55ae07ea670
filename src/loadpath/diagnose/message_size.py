r"""Messages too small to fill a link: those below the size at which half of its rate is reached.

A transfer of b bytes takes :math:`t = a + b / r`; half of the rate r is reached at
:math:`n_{1/2} = a r` bytes, where latency and bandwidth cost the same.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob

__all__ = ["half_rate_bytes", "is_latency_like", "latency_and_rate"]

FloatArray = NDArray[np.float64]


def is_latency_like(
    job: CoupledJob, op: NDArray[np.intp], link: NDArray[np.int32]
) -> NDArray[np.bool_]:
    """Say which transfers latency costs more than bandwidth.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    op : (n,) array of int
        Communication ops.
    link : (n,) array of int32
        Kind of link of each: links of a kind have one latency and one rate for each collective.

    Returns
    -------
    (n,) array of bool
        True for payloads of at most `half_rate_bytes`; False for all where the record tells no
        sizes, or only one size of a collective: latency and bandwidth cannot be told apart then.

    References
    ----------
    .. [1] R. W. Hockney, "The communication challenge for MPP", Parallel Computing 20, 1994.
    """
    frame = job.op[op].select("collective", "bytes").with_columns(
        link=pl.Series(link), work=pl.Series(_least_ns(job.work_ns[..., op]))
    ).with_row_index("row")  # fmt: skip
    known = frame.filter((pl.col("bytes") >= 0) & (pl.col("work") > 0))
    small = np.zeros(op.size, np.bool_)
    for _, like in sorted(known.group_by("collective", "link"), key=lambda item: str(item[0])):
        least = like.group_by("bytes").agg(pl.col("work").min()).sort("bytes")
        limit = half_rate_bytes(
            *(least[name].to_numpy().astype(np.float64) for name in least.columns)
        )
        small[like.filter(pl.col("bytes") <= limit)["row"].to_numpy()] = True
    return small


def _least_ns(work_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Shortest transfer of each op over all runs that took time; 0 where none did."""
    runs = np.atleast_2d(work_ns)
    most = np.iinfo(np.int64).max
    least: NDArray[np.int64] = np.where(runs > 0, runs, most).min(axis=0)
    return np.where(least < most, least, 0)


def half_rate_bytes(size_bytes: FloatArray, least_ns: FloatArray) -> float:
    """Say at which size latency and bandwidth cost the same.

    Parameters
    ----------
    size_bytes : (n,) array of float64
        Different payloads.
    least_ns : (n,) array of float64
        Shortest transfer of each, in ns.

    Returns
    -------
    float
        Size at which half of the rate is reached, in bytes; -1 where the sizes do not tell latency
        from rate.

    Examples
    --------
    A latency of 10 us and 1 byte a ns:

    >>> size = np.array([1e3, 1e4, 1e6])
    >>> round(half_rate_bytes(size, 1e4 + size))
    10000
    >>> half_rate_bytes(size[:1], size[:1])
    -1.0
    """
    fitted = latency_and_rate(size_bytes, least_ns)
    return fitted[0] / fitted[1] if fitted else -1.0


def latency_and_rate(size_bytes: FloatArray, least_ns: FloatArray) -> tuple[float, float] | None:
    """Fit latency and rate to the fastest transfer of each size, each weighted by its own time.

    Parameters
    ----------
    size_bytes : (n,) array of float64
        Different payloads.
    least_ns : (n,) array of float64
        Shortest transfer of each, in ns.

    Returns
    -------
    tuple of float, or None
        Latency in ns, and ns for each byte; None where the sizes do not tell one from the other
        (fewer than two, or longer messages are not slower).

    Examples
    --------
    >>> size = np.array([1e3, 1e4, 1e6])
    >>> latency_and_rate(size[1:], size[:2]) is None
    False
    >>> latency_and_rate(size, size[::-1]) is None
    True
    """
    if size_bytes.size < 2:
        return None
    terms = np.stack([1 / least_ns, size_bytes / least_ns], axis=1)
    latency, per_byte = np.linalg.lstsq(terms, np.ones(size_bytes.size), rcond=None)[0]
    return (float(latency), float(per_byte)) if latency > 0 and per_byte > 0 else None
