"""Process groups of flight-recorder dumps: who is in them, and how far each rank came."""

import math
from collections import defaultdict
from collections.abc import Set as AbstractSet

import polars as pl

__all__ = ["group_members", "numbers_reached"]

WORLD = "default_pg"
"""What PyTorch calls the group of all ranks."""
MOST_RANKS = 1 << 20


def group_members(flight: pl.DataFrame, group: pl.DataFrame) -> pl.DataFrame:
    """List the ranks of each group; where no dump does, those that used it.

    Parameters
    ----------
    flight : polars.DataFrame
        Table `FLIGHT` of all dumps.
    group : polars.DataFrame
        Table `FLIGHT_GROUP` of all dumps.

    Returns
    -------
    polars.DataFrame
        Columns ``group, description, members, is_listed``. A group of all ranks that is not listed
        has the ranks from 0 to the highest that left a dump, or as many as shapes of its gathers tell.
    """
    known: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, text, ranks in group.select("group", "description", "members").iter_rows():
        held = known.get(name, ("", ()))
        known[name] = (held[0] or text, max(held[1], tuple(ranks), key=len))
    known.pop("", None)
    used = dict(flight.group_by("group").agg(pl.col("rank").unique().sort()).iter_rows())
    last = max(group["rank"].to_list(), default=-1)
    rows = []
    for name, (text, ranks) in known.items():
        is_world = text == WORLD and not ranks
        n_rank = max(last + 1, _size_told(flight, name)) if is_world else 0
        everybody = list(range(n_rank)) if is_world else used.get(name, [])
        rows.append((name, text, list(ranks) or everybody, bool(ranks)))
    ranks = [who for _, _, who, _ in rows]
    return pl.DataFrame({
        "group": pl.Series([row[0] for row in rows], dtype=pl.String),
        "description": pl.Series([row[1] for row in rows], dtype=pl.String),
        "members": pl.Series(ranks, dtype=pl.List(pl.Int32)),
        "is_listed": pl.Series([row[3] for row in rows], dtype=pl.Boolean),
    })  # fmt: skip


def _size_told(flight: pl.DataFrame, name: str) -> int:
    """Tell the size of a group by a gather in it, which gives as many parts as there are members."""
    gathers = pl.col("collective").is_in(["all_gather", "reduce_scatter"])
    told = flight.filter((pl.col("group") == name) & gathers)["size"].unique()
    sizes = [_parts(*map(_numbers, text.split("->"))) for text in told if text.count("->") == 1]
    return max((size for size in sizes if size < MOST_RANKS), default=0)


def _parts(given: int, made: int) -> int:
    low, high = sorted((given, made))
    return high // low if low and high % low == 0 else 0


def _numbers(shapes: str) -> int:
    """How many numbers shapes such as 2x5,10 hold."""
    sides = [part.split("x") for part in shapes.split(",")]
    known = all(side.isdecimal() and len(side) < 19 for part in sides for side in part)
    return sum(math.prod(map(int, part)) for part in sides) if known else 0


def numbers_reached(
    calls: pl.DataFrame, group: pl.DataFrame, with_sends: AbstractSet[str]
) -> dict[tuple[str, int], tuple[int, int]]:
    """Find how far each rank came in each group.

    Parameters
    ----------
    calls : polars.DataFrame
        Collectives of table `FLIGHT`.
    group : polars.DataFrame
        Table `FLIGHT_GROUP` of all dumps.
    with_sends : set of str
        Groups in which messages were sent, too.

    Returns
    -------
    dict of (str, int) to (int, int)
        Last collective asked for and last one ended, by group and rank; -1 where not told.
    """
    reached: dict[tuple[str, int], tuple[int, int]] = {}
    noted = calls.group_by("group", "rank").agg(
        pl.col("sequence").max().alias("asked"),
        pl.col("sequence").filter("is_done").max().fill_null(-1).alias("ended"),
    )
    for name, rank, asked, ended in noted.iter_rows():
        reached[name, rank] = asked, ended
    for name, rank, number_asked, number_ended in _said(group, with_sends):
        asked, ended = reached.get((name, rank), (-1, -1))
        reached[name, rank] = max(asked, number_asked), max(ended, number_ended)
    return reached


def _said(group: pl.DataFrame, with_sends: AbstractSet[str]) -> list[tuple[str, int, int, int]]:
    """Collect what ranks say of each group; one without entries is told by its peers' number."""
    # Where sends were made in a group its status counts them too: not a collective's number.
    numbers: dict[str, set[int]] = defaultdict(set)
    unnamed: dict[tuple[int, int], tuple[int, int]] = {}
    rows = list(group.select("group", "rank", "number", "enqueued", "completed").iter_rows())
    for name, rank, number, asked, ended in rows:
        if name and number >= 0:
            numbers[name].add(number)
        elif not name:
            unnamed[rank, number] = asked, ended
    said = []
    for name, rank, number, asked, ended in rows:
        if name and number >= 0:
            said.append((name, rank, asked, ended))
        elif name and len(numbers[name]) == 1 and name not in with_sends:
            told = unnamed.get((rank, next(iter(numbers[name]))))
            said += [(name, rank, *told)] if told else []
    return said
