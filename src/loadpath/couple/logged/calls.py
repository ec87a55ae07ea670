"""Communications that all members logged, and when each of them ended for all.

A collective that waits for all ends on all members at nearly one moment, whatever their clocks say;
so its end is one time, and each member arrived as long before it as the communication took there::

    rank 0        [======= took 9 =======]
    rank 1                  [== took 4 ==]
    rank 2                          [= 1 ]   <- came last
                                         E
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple.trace.clock_estimate import estimate_clocks
from loadpath.couple.trace.clock_lines import Sightings
from loadpath.couple.trace.clocks import set_clocks

__all__ = ["Ends", "common_ends", "count_unlogged", "whole_calls"]

Int64Array = NDArray[np.int64]
RESOLUTION_NS = 2000
"""Both stamps are whole us."""
MOST = 0.5
TOGETHER = pl.col("collective").is_in(
    ["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "barrier", "send", "recv"]
)
"""What ends for all members at nearly one moment: nobody leaves before all have come."""


@dataclass(frozen=True, slots=True)
class Ends:
    """Calls with times on one clock.

    Attributes
    ----------
    call : polars.DataFrame
        ``rank, group, what, source, target, sequence, instance, collective, bytes, peer``, when it
        was asked for on its rank's own clock (``created_ns``), ``start_ns`` and ``end_ns``; by rank
        and end.
    moved_ns : int
        Farthest that an end had to be moved so that no two communications of a group overlap:
        what the recorded ends leave open.
    is_stamped : bool
        Ends are when communications ended on the device, not when somebody looked: most lengths
        between recorded begin and end are the durations.
    """

    call: pl.DataFrame
    moved_ns: int
    is_stamped: bool


def whole_calls(flight: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """List the timed communications that all of their members logged.

    Parameters
    ----------
    flight : polars.DataFrame
        Table `FLIGHT`.

    Returns
    -------
    tuple of polars.DataFrame and int
        A row per member with the number of its ``instance``, by instance and rank; and how many
        entries were left out because another member's is missing. Members that logged nothing at
        all do not count. ``sequence`` is the turn within the group.
    """
    timed = flight.with_row_index("row").filter(
        (pl.col("duration_ns") > 0) & (pl.col("completed_ns") > 0) & (pl.col("collective") != "")
    )
    pair, sends = pl.col("is_p2p"), pl.col("collective") == "send"
    here = flight["rank"].unique().to_list()
    present = pl.col("members").list.eval(pl.element().is_in(here)).list.sum()
    keyed = timed.select(
        "row", "rank", "group", "collective", "bytes", "peer", "duration_ns", "created_ns", "started_ns",
        "completed_ns",
        size=pl.when(pair).then(2).otherwise(present),
        what=pl.when(pair).then(pl.lit("message")).otherwise("collective"),
        source=pl.when(pair).then(pl.when(sends).then("rank").otherwise("peer")).otherwise(-1),
        target=pl.when(pair).then(pl.when(sends).then("peer").otherwise("rank")).otherwise(-1),
        sequence="sequence",
    )  # fmt: skip
    # NCCL numbers each kind of collective by itself
    place = ["group", "what", "source", "target"]
    # a group lists its sends together: they meet by order between their two ends
    order = pl.int_range(pl.len()).over(*place, "rank", order_by="sequence")
    keyed = keyed.with_columns(
        sequence=pl.when(pl.col("what") == "message").then(order).otherwise("sequence")
    )
    once = keyed.unique([*place, "sequence", "rank"], keep="first", maintain_order=True)
    met = once.with_columns(n=pl.len().over(*place, "sequence"))
    whole = met.filter((pl.col("n") == pl.col("size")) & (pl.col("n") > 1))
    number = pl.struct(*place, "sequence").rank("dense").cast(pl.Int32) - 1
    table = _in_turn(whole.with_columns(instance=number).sort("instance", "rank"))
    return table.drop("size", "n", "row"), keyed.height - whole.height


def _in_turn(call: pl.DataFrame) -> pl.DataFrame:
    """Give collectives their turns in each group, as its lowest rank asked for them."""
    first = call.group_by("instance", maintain_order=True).first().sort("created_ns", "row")
    turn = pl.int_range(pl.len(), dtype=pl.Int64).over("group")
    told = first.filter(pl.col("what") != "message").select("instance", turn=turn)
    joined = call.join(told, on="instance", how="left", maintain_order="left")
    return joined.with_columns(sequence=pl.coalesce("turn", "sequence")).drop("turn")


def count_unlogged(flight: pl.DataFrame) -> int:
    """Count collectives between the first and the last of a group that nobody logged, by their numbers.

    Parameters
    ----------
    flight : polars.DataFrame
        Table `FLIGHT`.

    Returns
    -------
    int
        Numbers count a group's collectives, or those of one kind in it: whichever leaves fewer open.
    """
    met = flight.filter(~pl.col("is_p2p"))
    span = pl.col("sequence").max() - pl.col("sequence").min() + 1 - pl.col("sequence").n_unique()
    return sum(
        min(
            int(of_kind.group_by(keys).agg(n=span)["n"].sum())
            for keys in (["group"], ["collective"])
        )
        for _, of_kind in met.group_by("group")
    )


def common_ends(call: pl.DataFrame) -> Ends:
    """Put all communications on one clock, with one end for all members where that holds.

    Parameters
    ----------
    call : polars.DataFrame
        What `whole_calls` returned, not empty.

    Returns
    -------
    Ends
        Calls by rank and end. What communications of one group took is kept exactly; an end moves
        to where no call begins before the group's last one ended.
    """
    rank = call["rank"].to_numpy()
    ranks = np.unique(rank).astype(np.int32)
    clocks = estimate_clocks(ranks, _sightings(call))
    own = set_clocks(clocks, rank, call["completed_ns"].to_numpy())
    timed = call.with_columns(own=pl.Series(own))
    middle = pl.col("own").median().over("instance").cast(pl.Int64)
    ended = timed.with_columns(end_ns=pl.when(TOGETHER).then(middle).otherwise("own"))
    moved = _in_order(ended)
    later = ended.with_columns(end_ns=pl.col("end_ns") + pl.Series(moved))
    return Ends(
        later.with_columns(start_ns=pl.col("end_ns") - pl.col("duration_ns"))
        .drop("own", "duration_ns", "completed_ns", "started_ns")
        .sort("rank", "end_ns", "instance"),
        int(moved.max(initial=0)),
        _is_stamped(call),
    )


def _is_stamped(call: pl.DataFrame) -> bool:
    spanned = pl.col("completed_ns") - pl.col("started_ns")
    near = (spanned - pl.col("duration_ns")).abs() <= RESOLUTION_NS + 0.01 * pl.col("duration_ns")
    return bool(call.select((near & (pl.col("started_ns") > 0)).mean()).item() > MOST)


def _sightings(call: pl.DataFrame) -> Sightings:
    """Compare ends of communications that wait for all with those on the lowest rank."""
    met = call.filter(TOGETHER).select(
        "rank", "completed_ns",
        low=pl.col("rank").first().over("instance"),
        time=pl.col("completed_ns").first().over("instance"),
    ).filter(pl.col("rank") != pl.col("low"))  # fmt: skip
    return Sightings(
        met["low"].to_numpy(),
        met["rank"].to_numpy(),
        met["time"].to_numpy(),
        (met["completed_ns"] - met["time"]).to_numpy(),
        np.zeros(met.height, np.int32),
        np.zeros(met.height, np.bool_),
    )


def _in_order(call: pl.DataFrame) -> Int64Array:
    """By how much each end must move so that communications of a group follow one another."""
    of = call.group_by("group", "instance", "sequence", maintain_order=True).agg(
        end=pl.col("end_ns").max(), took=pl.col("duration_ns").max(), what=pl.col("what").first()
    )
    queue = of.filter(pl.col("what") != "message").sort("group", "sequence")
    group = queue["group"].rle_id().to_numpy()
    end, took = queue["end"].to_numpy(), queue["took"].to_numpy()
    moved = np.zeros(int(call["instance"].max() or 0) + 1, np.int64)  # type: ignore[arg-type]
    # E_k = max(e_k, E_(k-1) + t_k): with the sum of all t taken off, a running maximum
    for low, high in _runs(group):
        before = np.cumsum(took[low:high])
        placed = np.maximum.accumulate(end[low:high] - before) + before
        moved[queue["instance"].to_numpy()[low:high]] = placed - end[low:high]
    by: Int64Array = moved[call["instance"].to_numpy()]
    return by


def _runs(group: NDArray[np.integer]) -> list[tuple[int, int]]:
    border = np.flatnonzero(np.diff(group, prepend=-1, append=-1))
    return list(zip(border[:-1].tolist(), border[1:].tolist(), strict=True))
