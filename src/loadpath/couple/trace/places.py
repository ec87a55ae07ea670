"""Where ranks stand: pipeline stages and links, read off who sends to whom."""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from loadpath.tables import COMMUNICATOR

__all__ = ["Places", "place_ranks"]


@dataclass(frozen=True, slots=True)
class Places:
    """Graph ops and tables, with stages of ranks and links of sends and receives.

    Attributes
    ----------
    op : polars.DataFrame
        Table `COUPLED_OP`: ``stage`` is set, and a send or receive names its link.
    instance, communicator, rank : polars.DataFrame
        Tables of `loadpath.tables`.
    """

    op: pl.DataFrame
    instance: pl.DataFrame
    communicator: pl.DataFrame
    rank: pl.DataFrame


def place_ranks(places: Places, membership: pl.DataFrame) -> Places:
    """Give every pair that sends and receives a link of its own, and every rank its stage.

    A rank that sends before it has received is in stage 0; whoever first receives from a stage is
    in the next one. Without sends the named groups tell (table `RANK`), else all ranks are in
    stage 0.

    Parameters
    ----------
    places : Places
        Tables as coupled.
    membership : polars.DataFrame
        Table `MEMBERSHIP`.

    Returns
    -------
    Places
        The same tables with links and stages.
    """
    places = _told_apart(places, membership)
    pairs = _pairs(places.op, membership)
    if not pairs.height:
        return replace(places, op=_at_coordinates(places.op, places.rank))
    last = places.communicator["communicator"].max()
    links = (
        pairs.select("low", "high")
        .unique()
        .sort("low", "high")
        .with_row_index("link", offset=1 + last if isinstance(last, int) else 0)
        .with_columns(pl.col("link").cast(pl.Int32))
    )
    met = pairs.join(links, on=["low", "high"]).sort("instance")
    stage = _stages(pairs)
    of_rank = pl.col("rank").replace_strict(stage, default=0, return_dtype=pl.Int32)
    rank = places.rank.with_columns(of_rank.alias("pp"))
    op = _numbered(places.op, met, ["sender_op", "receiver_op"])
    batches = _on_several_links(met)
    op = op.with_columns(
        communicator=pl.when(pl.int_range(pl.len()).is_in(batches))
        .then(places.op["communicator"])
        .otherwise("communicator")
    )
    return Places(
        op=_at_coordinates(op, rank),
        instance=_numbered(places.instance, met, ["instance"]),
        communicator=pl.concat([places.communicator, _table(links)]),
        rank=rank,
    )


def _on_several_links(met: pl.DataFrame) -> list[int]:
    """Ops of several links, whose transfer belongs to none of them alone."""
    parts = [met.select("link", op=name) for name in ("sender_op", "receiver_op")]
    used = pl.concat(parts).group_by("op").agg(pl.col("link").n_unique())
    return used.filter(pl.col("link") > 1)["op"].sort().to_list()


def _told_apart(places: Places, membership: pl.DataFrame) -> Places:
    """Give groups that the record calls by one name, but whose members differ, numbers of their own."""
    rank = places.op["rank"].gather(membership["op"])
    met = (
        membership.select("instance", rank=rank)
        .group_by("instance")
        .agg(members=pl.col("rank").unique().sort())
        .join(places.instance.select("instance", "communicator", "matched"), on="instance")
        .filter((pl.col("communicator") >= 0) & pl.col("matched"))
    )
    groups = met.select("communicator", "members").unique().sort("communicator", "members")
    several = groups.filter(pl.len().over("communicator") > 1)
    if not several.height:
        return places
    last = places.communicator["communicator"].max()
    several = several.with_row_index("own", offset=1 + last if isinstance(last, int) else 0)
    named = several.join(places.communicator.drop("members"), on="communicator", how="left")
    ranks = pl.col("members").cast(pl.List(pl.String)).list.join(",")
    table = named.select(
        pl.col("own").cast(pl.Int32).alias("communicator"),
        pl.format("{} {}", pl.col("name").fill_null("group"), ranks).alias("name"),
        pl.col("members").list.len().cast(pl.Int32).alias("n_members"),
        "members",
        *(name for name in ("backend", "description") if name in named.columns),
    )
    found = met.join(several, on=["communicator", "members"]).select("instance", link="own")
    of_op = membership.select("op", "instance").join(found, on="instance")
    return replace(
        places,
        op=_numbered(places.op, of_op, ["op"]),
        instance=_numbered(places.instance, found, ["instance"]),
        communicator=COMMUNICATOR.build(pl.concat([places.communicator, table], how="diagonal")),
    )


def _at_coordinates(op: pl.DataFrame, rank: pl.DataFrame) -> pl.DataFrame:
    """Give ops the stage and replica of their rank, 0 where a coordinate is not known."""
    place = rank.select(
        "rank",
        stage=pl.col("pp").clip(0).cast(op.schema["stage"]),
        replica=pl.col("dp").clip(0).cast(op.schema["replica"]),
    )
    return op.drop("stage", "replica").join(place, on="rank", how="left", maintain_order="left")


def _pairs(op: pl.DataFrame, membership: pl.DataFrame) -> pl.DataFrame:
    """List each send with its receive: ops, ranks, and when the send began."""
    place = (
        op.select("rank", "start_ns").with_row_index("op").with_columns(pl.col("op").cast(pl.Int32))
    )
    parts = membership.select("instance", "op", pl.col("role").cast(pl.String)).join(place, on="op")
    sender = parts.filter(pl.col("role") == "sender")
    receiver = parts.filter(pl.col("role") == "receiver")
    return sender.join(receiver, on="instance", suffix="_to").select(
        "instance",
        pl.col("op").alias("sender_op"),
        pl.col("op_to").alias("receiver_op"),
        pl.col("rank").alias("source"),
        pl.col("rank_to").alias("target"),
        "start_ns",
        pl.min_horizontal("rank", "rank_to").alias("low"),
        pl.max_horizontal("rank", "rank_to").alias("high"),
    )


def _stages(pairs: pl.DataFrame) -> dict[int, int]:
    """Follow first sends from rank to rank."""
    stage: dict[int, int] = {}
    first = pairs.group_by("source", "target").agg(pl.col("start_ns").min())
    for source, target in (
        first.sort("start_ns", "source", "target").select("source", "target").rows()
    ):
        stage.setdefault(source, 0)
        stage.setdefault(target, stage[source] + 1)
    return stage


def _numbered(table: pl.DataFrame, met: pl.DataFrame, rows: list[str]) -> pl.DataFrame:
    """Write the link of each meeting into the rows that take part in it."""
    column = table["communicator"].to_numpy().copy()
    for row in rows:
        column[met[row].to_numpy()] = met["link"].to_numpy()
    return table.with_columns(pl.Series("communicator", column.astype(np.int32)))


def _table(links: pl.DataFrame) -> pl.DataFrame:
    return COMMUNICATOR.build(
        links.select(
            pl.col("link").alias("communicator"),
            pl.format("point to point {},{}", "low", "high").alias("name"),
            pl.lit(2).alias("n_members"),
            pl.concat_list("low", "high").alias("members"),
        )
    )
