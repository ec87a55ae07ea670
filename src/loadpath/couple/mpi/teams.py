"""When further threads of a rank work for it: from a fork, or their creation, to their end."""

import polars as pl

__all__ = ["find_spans"]

TEAM = ("rank", "event", "turn")
SPAN = (
    "rank", "lane", "begin_ns", "end_ns", "fork_lane", "fork_ns", "join_lane", "join_ns",
    "correlation", "team", "forks",
)  # fmt: skip


def find_spans(said: pl.DataFrame) -> pl.DataFrame:
    """Find who works for whom, and when.

    The thread that forks a team is the one that enters it next after a fork; the others of that turn of
    the team follow the fork, and the join follows them. A thread that is created follows its creation;
    who waits for it follows its end. Turns that nobody forked, or that began before their fork, are left
    out.

    Parameters
    ----------
    said : polars.DataFrame
        Table `SYNCHRONISATION`, by thread in the order of the trace.

    Returns
    -------
    polars.DataFrame
        A row per thread and turn: ``rank, lane, begin_ns, end_ns``; ``fork_lane, fork_ns`` and ``join_lane,
        join_ns`` (null where nobody waits); ``correlation``, row of the region that forks; ``team``, -1 for a thread that was created; ``forks``, the thread that forks the team itself;
        ``start_ns``, when it could begin: after the fork and after the turn before; ``depth``, 1 for the
        outermost of the turns that a thread is in at a time.
    """
    span = pl.concat([_teams(said), _created(said)]).sort("rank", "lane", "begin_ns")
    before = pl.when("forks").then(None).otherwise("end_ns")
    late = before.shift(1).over("rank", "lane", "forks")
    start = pl.max_horizontal("fork_ns", late.fill_null(pl.col("fork_ns")))
    return _nested(span.with_columns(start_ns=pl.min_horizontal(start, "begin_ns")))


def _nested(span: pl.DataFrame) -> pl.DataFrame:
    """Say how many turns each thread is in when it enters one, that one counted."""
    span = span.with_row_index("span")
    edges = pl.concat(
        span.select("span", "rank", "lane", at=f"{edge}_ns", by=pl.lit(by, pl.Int32))
        for edge, by in (("end", -1), ("begin", 1))
    ).sort("rank", "lane", "at", "by", "span")
    depth = edges.with_columns(depth=pl.col("by").cum_sum().over("rank", "lane")).filter(by=1)
    joined = span.join(depth.select("span", "depth"), on="span", how="left", maintain_order="left")
    return joined.drop("span")


def _teams(said: pl.DataFrame) -> pl.DataFrame:
    kinds = ("fork", "join", "team_begin", "team_end")
    mine = said.filter(pl.col("kind").cast(pl.String).is_in(kinds)).with_columns(
        pl.col("kind").cast(pl.String)
    )
    thread = ("rank", "lane")
    mine = mine.with_columns(
        turn=pl.int_range(pl.len()).over(*thread, "event", "kind"),
        forks=(pl.col("kind").shift(1).over(*thread) == "fork").fill_null(value=False),
        fork_ns=pl.col("start_ns").shift(1).over(*thread),
        fork_at=pl.col("correlation").shift(1).over(*thread),
        joins=(pl.col("kind").shift(-1).over(*thread) == "join").fill_null(value=False),
        join_ns=pl.col("start_ns").shift(-1).over(*thread),
    )
    begin = mine.filter(kind="team_begin").select(
        *TEAM, "lane", "forks", "fork_ns", "fork_at", begin_ns="start_ns"
    )
    end = mine.filter(kind="team_end").select(*TEAM, "lane", "join_ns", "joins", end_ns="start_ns")
    both = begin.join(end, on=[*TEAM, "lane"])
    fork = both.filter("forks").select(
        *TEAM, "fork_ns", fork_lane="lane", correlation="fork_at", join_lane="lane",
        join_ns=pl.when("joins").then("join_ns"),
    ).unique(TEAM, keep="none")  # fmt: skip
    turns = both.drop("fork_ns", "join_ns", "fork_at").join(fork, on=TEAM)
    sound = (pl.col("begin_ns") >= pl.col("fork_ns")).all().over(*TEAM)
    team = pl.struct(*TEAM).rank("dense").cast(pl.Int32) - 1
    return turns.filter(sound).with_columns(team=team).select(*SPAN)


def _created(said: pl.DataFrame) -> pl.DataFrame:
    key = ["rank", "event", "record"]

    def of(kind: str) -> pl.DataFrame:
        return (
            said.filter(kind=kind)
            .select(*key, "lane", "start_ns", "correlation")
            .unique(key, keep="none")
        )

    create = of("thread_create").rename({"lane": "fork_lane", "start_ns": "fork_ns"})
    begin = of("thread_begin").select(*key, "lane", begin_ns="start_ns")
    end = of("thread_end").select(*key, "lane", end_ns="start_ns")
    wait = of("thread_wait").select(*key, join_lane="lane", join_ns="start_ns")
    found = create.join(begin, on=key).join(end, on=[*key, "lane"]).join(wait, on=key, how="left")
    return found.filter(pl.col("begin_ns") >= pl.col("fork_ns")).with_columns(
        team=pl.lit(-1, pl.Int32), forks=pl.lit(value=False)
    ).select(*SPAN)  # fmt: skip
