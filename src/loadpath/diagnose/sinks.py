"""Where walks back end: waits with their parts, and sums of them by rank and class."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.labels import joint_code, numbered
from loadpath.tables.results import SINK
from loadpath.units import NS_PER_S

__all__ = [
    "KeySums",
    "RestSums",
    "SinkKeys",
    "Waits",
    "sink_keys",
    "sink_table",
]

FloatArray = NDArray[np.float64]
Int64Array = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Waits:
    """Exposed waits, each with its parts and with its main sink, by op.

    Attributes
    ----------
    op : (n_wait,) array of int64
        Op that waited.
    exposed_ns, bubble_ns : (n_wait,) arrays of float64
        Exposed wait, and the part that the ideal replay has too, in ns.
    excess_ns, transfer_excess_ns, lag_ns, unexplained_ns : (n_wait,) arrays of float64
        The other parts, in ns; with `bubble_ns` they sum to `exposed_ns`.
    early_ns : (n_wait,) array of float64
        Part of `unexplained_ns` that the waiter's own work below its ideal accounts for, in ns.
    last_rank : (n_wait,) array of int64
        Rank that arrived last.
    sink_op, sink_rank : (n_wait,) arrays of int64
        Op that explains most of it and that op's rank, -1 for none.
    n_hop, n_rank, n_step : (n_wait,) arrays of int64
        Distance to it: changes of rank, ranks on the way and steps.
    distance_ns : (n_wait,) array of float64
        Time from its end to the end of the wait, in ns.
    """

    op: Int64Array
    exposed_ns: FloatArray
    bubble_ns: FloatArray
    excess_ns: FloatArray
    transfer_excess_ns: FloatArray
    lag_ns: FloatArray
    unexplained_ns: FloatArray
    early_ns: FloatArray
    last_rank: Int64Array
    sink_op: Int64Array
    sink_rank: Int64Array
    n_hop: Int64Array
    n_rank: Int64Array
    n_step: Int64Array
    distance_ns: FloatArray


class KeySums(NamedTuple):
    """Waiting by pair of rank and class; row 0 by work beyond the ideal, row 1 by lag.

    Attributes
    ----------
    amount_ns : (2, n_key) array of float64
        Waiting explained, in ns.
    hops : (2, n_key) array of float64
        Changes of rank times that.
    n_waits : (2, n_key) array of int64
        Waits it takes part in.
    """

    amount_ns: FloatArray
    hops: FloatArray
    n_waits: Int64Array


class RestSums(NamedTuple):
    """Waiting that no pair of rank and class explains.

    Attributes
    ----------
    bubble_ns, unexplained_ns : float
        Waiting that the ideal replay has too, and what nothing accounts for, in ns.
    n_bubble, n_unexplained : int
        Waits that have such a part.
    """

    bubble_ns: float
    unexplained_ns: float
    n_bubble: int
    n_unexplained: int

    def plus(self, other: "RestSums") -> "RestSums":
        """Add what other walks left over.

        Parameters
        ----------
        other : RestSums
            Of other steps.

        Returns
        -------
        RestSums
            Sums of both.
        """
        return RestSums(
            self.bubble_ns + other.bubble_ns,
            self.unexplained_ns + other.unexplained_ns,
            self.n_bubble + other.n_bubble,
            self.n_unexplained + other.n_unexplained,
        )


class SinkKeys(NamedTuple):
    """Where walks may end, the same in every replay of a job.

    Attributes
    ----------
    key : (n_op,) array of int64
        Row of `keys` of each op.
    is_transfer : (n_op,) array of bool
        Communication ops, which are sinks of their own.
    keys : polars.DataFrame
        Columns ``rank``, ``op_class``, ``is_transfer``.
    """

    key: Int64Array
    is_transfer: NDArray[np.bool_]
    keys: pl.DataFrame


def sink_keys(job: CoupledJob) -> SinkKeys:
    """Give each pair of rank and class a number; a transfer is a sink of its own.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    SinkKeys
        Pairs, by their first op.
    """
    rank = job.op["rank"].to_numpy()
    is_transfer = (job.op["kind"] == "communicate").to_numpy()
    number, classes = numbered(job.op["op_class"])
    place = joint_code(rank, number, is_transfer)
    found, example, key = np.unique(place, return_index=True, return_inverse=True)
    by_row = np.argsort(example)
    number_of = np.empty(found.size, np.int64)
    number_of[by_row] = np.arange(found.size)
    example = example[by_row]
    keys = pl.DataFrame(
        {
            "rank": rank[example],
            "op_class": [classes[i] for i in number[example]],
            "is_transfer": is_transfer[example],
        }
    )
    return SinkKeys(number_of[key], is_transfer, keys)


def sink_table(keys: pl.DataFrame, sums: KeySums, rest: RestSums) -> pl.DataFrame:
    """Sum up what the walks found.

    Parameters
    ----------
    keys : polars.DataFrame
        Pairs of rank and class, from `sink_keys`.
    sums : KeySums
        What the walks found, by pair.
    rest : RestSums
        What they left over.

    Returns
    -------
    polars.DataFrame
        Table `SINK`, largest first.
    """
    amount_ns, hops, n_waits = sums
    excess = pl.when("is_transfer").then(pl.lit("transfer_excess")).otherwise(pl.lit("excess"))
    parts = [
        keys.select(
            sink.alias("sink"),
            "rank",
            "op_class",
            pl.Series("wait_s", amount_ns[row] / NS_PER_S),
            pl.Series("n_waits", n_waits[row], pl.Int64),
            pl.Series("hops_mean", hops[row] / np.where(amount_ns[row] > 0, amount_ns[row], 1)),
        )
        for row, sink in ((0, excess), (1, pl.lit("lag")))
    ]
    left = pl.DataFrame(
        [
            ("bubble", -1, "", rest.bubble_ns / NS_PER_S, rest.n_bubble, 0.0),
            ("unexplained", -1, "", rest.unexplained_ns / NS_PER_S, rest.n_unexplained, 0.0),
        ],
        schema=SINK.schema,
        orient="row",
    )
    return SINK.build(
        pl.concat([*parts, left], how="vertical_relaxed")
        .filter(pl.col("wait_s") > 0)
        .sort("wait_s", "sink", "rank", "op_class", descending=[True, False, False, False])
    )
