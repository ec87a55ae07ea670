"""What must hold of the tables of a compressed recording before they are coupled."""

from collections.abc import Mapping

import polars as pl

from loadpath.couple.graph import EdgeKind
from loadpath.couple.job import MECHANISMS

__all__ = ["problems_of"]

LONGEST_NS = 1 << 60
WIDEST = 1 << 20
Tables = Mapping[str, pl.DataFrame]


def problems_of(tables: Tables) -> list[str]:
    """Find rows that point nowhere, and values out of range.

    Parameters
    ----------
    tables : mapping of str to polars.DataFrame
        Tables of a compressed recording, each of its schema.

    Returns
    -------
    list of str
        One entry per problem.
    """
    return _lengths(tables) or [*_ranges(tables), *_names(tables), *_steps(tables)]


def _lengths(tables: Tables) -> list[str]:
    if not tables["op"].height or not tables["rank"].height:
        return ["holds no ops"]
    alike = tables["op"].height == tables["coupled"].height
    return [] if alike else ["op and coupled differ in length"]


def _ranges(tables: Tables) -> list[str]:
    op, coupled = tables["op"], tables["coupled"]
    n_op, n_instance = op.height, tables["instance"].height
    most = tables["communicator"]["communicator"].max()
    n_group = int(most) + 1 if isinstance(most, int) else 0
    edge, bound, member = tables["edge"], tables["bound"], tables["membership"]
    plain = EdgeKind.MEMBER
    bounded = [
        ("edge.source", edge["source"], 0, n_op),
        ("edge.target", edge["target"], 0, n_op),
        ("edge.kind", edge["kind"], 0, plain),
        ("bound.op", bound["op"], 0, n_op),
        ("bound.what", bound["what"], 0, 3),
        ("bound.value", bound["value"], -LONGEST_NS, LONGEST_NS),
        ("membership.op", member["op"], 0, n_op),
        ("membership.instance", member["instance"], 0, n_instance),
        ("op.communicator", op["communicator"], -1, n_group),
        ("op.start_ns", op["start_ns"], -LONGEST_NS, LONGEST_NS),
        ("op.duration_ns", op["duration_ns"], 0, LONGEST_NS),
        ("coupled.position", coupled["position"], 0, 1 << 30),
        ("coupled.launch_latency_ns", coupled["launch_latency_ns"], 0, LONGEST_NS),
        ("coupled.stage", coupled["stage"], -1, WIDEST),
        ("coupled.replica", coupled["replica"], -1, WIDEST),
        ("rank.rank", tables["rank"]["rank"], 0, WIDEST),
        ("rank.n_represented", tables["rank"]["n_represented"], 1, WIDEST),
        ("communicator.communicator", tables["communicator"]["communicator"], 0, WIDEST),
    ]
    return [
        f"{name} is out of range"
        for name, values, low, high in bounded
        if not values.is_between(low, high, closed="left").all()
    ]


def _names(tables: Tables) -> list[str]:
    op = tables["op"]
    mechanisms = tables["coupled"]["mechanism"].cast(pl.String)
    sound = {
        "op.rank": op["rank"].is_in(tables["rank"]["rank"].implode()).all(),
        "rank.rank": tables["rank"]["rank"].is_unique().all(),
        "coupled.mechanism": mechanisms.is_in(list(MECHANISMS)).all(),
        "instance.instance": (
            tables["instance"]["instance"].to_list() == list(range(tables["instance"].height))
        ),
    }
    return [f"{name} names what is not there" for name, holds in sound.items() if not holds]


def _steps(tables: Tables) -> list[str]:
    """Each step must begin and end, on the ranks and in the steps of the ops said to do so."""
    step = tables["op"]["step"]
    begin, end = (tables["bound"].filter(pl.col("what") == what) for what in (0, 1))
    apart = set(begin["value"]) ^ set(end["value"])
    wrong = any((step.gather(part["op"]) != part["value"]).any() for part in (begin, end))
    if apart or wrong or not begin.height:
        return ["steps that do not begin and end with their own ops"]
    return []
