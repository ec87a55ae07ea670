"""Where a rank stands in the grid of the job: read off what its process groups are called."""

import re
from collections.abc import Iterable, Sequence

import polars as pl

__all__ = ["AXES", "axis_of", "rank_coordinates"]

AXES = ("dp", "pp", "tp", "ep", "cp")

SPELLINGS = {
    "dp": re.compile(r"data|(?<![a-z])(dp|ddp|fsdp)(?![a-z])"),
    "pp": re.compile(r"pipeline|(?<![a-z])pp(?![a-z])"),
    "tp": re.compile(r"tensor|(?<![a-z])tp(?![a-z])"),
    "ep": re.compile(r"expert|(?<![a-z])(ep|moe)(?![a-z])"),
    "cp": re.compile(r"context|(?<![a-z])cp(?![a-z])"),
}
"""How Megatron (`DATA_PARALLEL_GROUP`), DeepSpeed (`ep_size_4`) and device meshes (`mesh_tp`,
`dp_shard`) spell an axis."""
PARTIAL = re.compile(r"embedding|(?<![a-z])(intra|inter|partial)(?![a-z])")
"""Groups that hold a part of an axis only."""

Groups = set[tuple[int, ...]]
Doubt = tuple[str, str, int]


def axis_of(name: str) -> str:
    """Read the axis of the grid off the name of a process group.

    Parameters
    ----------
    name : str
        Description or name as recorded.

    Returns
    -------
    str
        One of `AXES`; empty if the name tells none, or several (a plane of the grid).

    Examples
    --------
    >>> axis_of("TENSOR_MODEL_PARALLEL_GROUP"), axis_of("mp_tp"), axis_of("mesh_dp_shard")
    ('tp', 'tp', 'dp')
    >>> (
    ...     axis_of("DATA_PARALLEL_GROUP_WITH_CP"),
    ...     axis_of("MODEL_PARALLEL_GROUP"),
    ...     axis_of("default_pg"),
    ... )
    ('', '', '')
    """
    text = name[:200].lower()
    found = [axis for axis, spelling in SPELLINGS.items() if spelling.search(text)]
    return found[0] if len(found) == 1 and not PARTIAL.search(text) else ""


def rank_coordinates(
    rank: pl.DataFrame, communicator: pl.DataFrame
) -> tuple[pl.DataFrame, list[Doubt]]:
    """Give ranks their coordinates.

    Parameters
    ----------
    rank : polars.DataFrame
        Table `RANK`.
    communicator : polars.DataFrame
        Table `COMMUNICATOR`: names, descriptions and members.

    Returns
    -------
    rank : polars.DataFrame
        With a coordinate on every axis whose groups part the ranks: the place of the rank among
        the members of its group. -1 where no group tells.
    doubts : list of (str, str, int)
        What could not be told.

    Notes
    -----
    Membership alone does not tell axes apart: ranks 0 and 1 may hold parts of a tensor or copies
    of a model, and both reduce over all members. So only names count. Groups of one axis that lie
    within larger ones of the same axis (shards of replicas) do not count beside these.
    """
    named = _named_groups(communicator)
    known, conflicts = {}, []
    for axis, groups in named.items():
        largest = _without_parts(groups)
        if largest and len(set().union(*largest)) == sum(map(len, largest)):
            known[axis] = {r: place for group in largest for place, r in enumerate(group)}
        elif largest:
            conflicts.append(axis)
    columns = [
        pl.col("rank").replace_strict(places, default=-1, return_dtype=pl.Int32).alias(axis)
        for axis, places in known.items()
    ]
    return rank.with_columns(columns), _doubts(communicator, known, conflicts)


def _named_groups(communicator: pl.DataFrame) -> dict[str, Groups]:
    """List the members of the groups of each axis."""
    groups: dict[str, Groups] = {axis: set() for axis in AXES}
    for name, description, members in communicator.select("name", "description", "members").rows():
        axis = axis_of(description) or axis_of(name)
        if axis and len(members) > 1:
            groups[axis].add(tuple(sorted(members)))
    return groups


def _without_parts(groups: Iterable[Sequence[int]]) -> list[Sequence[int]]:
    """Drop groups that lie within a larger one."""
    kept: list[Sequence[int]] = []
    covered: dict[int, set[int]] = {}
    for group in sorted(groups, key=lambda members: (-len(members), members)):
        around = set.intersection(*(covered.get(rank, set()) for rank in group))
        if not around:
            for rank in group:
                covered.setdefault(rank, set()).add(len(kept))
            kept.append(group)
    return kept


def _doubts(
    communicator: pl.DataFrame, known: Iterable[str], conflicts: Sequence[str]
) -> list[Doubt]:
    unknown = [axis for axis in AXES if axis not in known and axis != "pp"]
    unnamed = sum(
        len(members) > 1 and not (axis_of(description) or axis_of(name))
        for name, description, members in communicator.select(
            "name", "description", "members"
        ).rows()
    )
    text = (
        f"process groups whose names tell no axis of the job: coordinates {', '.join(unknown)} of "
        "the ranks stay unknown"
    )
    clash = f"groups of {', '.join(conflicts)} cross each other: these coordinates stay unknown"
    return [
        ("axes_unknown", text, unnamed if unknown and not any(known) else 0),
        ("axes_conflict", clash, len(conflicts)),
    ]
