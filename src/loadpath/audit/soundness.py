"""What a stored audit must hold to be replayed: compiled sweeps trust every index they are given."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CouplingGraph
from loadpath.couple.graph import EdgeKind, NodeRole
from loadpath.tables import TableSchema

__all__ = ["field_type", "graph_problems", "index_problems", "table_problems"]

BYTE_FIELDS = ("first_kind", "second_kind", "overflow_kind", "role")
WIDE_FIELDS = ("overflow_start", "fixed_ns", "step")
SAME_LENGTH = (
    ("first", "second", "first_kind", "second_kind", "role", "op", "fixed_ns"),
    ("start_node", "end_node"),
    ("overflow_pred", "overflow_kind"),
    ("begin_node", "begin_step"),
    ("end_step_node", "end_step"),
)
IntArray = NDArray[Any]


def field_type(name: str) -> type[np.integer[Any]]:
    """Type of a field of a graph.

    Parameters
    ----------
    name : str
        Field of `CouplingGraph`.

    Returns
    -------
    type
        Of NumPy.
    """
    return np.uint8 if name in BYTE_FIELDS else np.int64 if name in WIDE_FIELDS else np.int32


def graph_problems(graph: CouplingGraph, n_op: int, n_instance: int) -> list[str]:
    """Find what makes a stored graph unfit for replay.

    Parameters
    ----------
    graph : CouplingGraph
        Graph as stored.
    n_op, n_instance : int
        Rows of the tables of ops and of instances.

    Returns
    -------
    list of str
        One entry per problem, empty if the graph is sound.
    """
    return _shape_problems(graph, n_op) or _value_problems(graph, n_op, n_instance)


def table_problems(schema: TableSchema, table: pl.DataFrame | None) -> list[str]:
    """Find missing columns, other types and empty values of a stored table.

    Parameters
    ----------
    schema : TableSchema
        What the table should be; categories are stored as plain text.
    table : polars.DataFrame or None
        Table as stored, None if there is none.

    Returns
    -------
    list of str
        One entry per problem.
    """
    if table is None:
        return [f"no table {schema.name}"]
    problems = []
    for column in schema.columns:
        stored = pl.String() if column.dtype == pl.Categorical else column.dtype
        if column.name not in table.columns:
            problems.append(f"table {schema.name} lacks {column.name}")
        elif table.schema[column.name] not in {stored, column.dtype}:
            problems.append(f"{schema.name}.{column.name} is {table.schema[column.name]}")
        elif not column.nullable and table[column.name].null_count():
            problems.append(f"{schema.name}.{column.name} has empty values")
    return problems


def index_problems(tables: Mapping[str, pl.DataFrame]) -> list[str]:
    """Find rows of ops and memberships that point at rows which are not there.

    Parameters
    ----------
    tables : mapping of str to polars.DataFrame
        Tables of the job, each of its schema.

    Returns
    -------
    list of str
        One entry per problem.
    """
    op, membership = tables["coupled_op"], tables["membership"]
    n_op = op.height
    groups = tables["communicator"]["communicator"].max()
    n_group = int(groups) + 1 if isinstance(groups, int) else 0
    bounded = [
        ("membership.op", membership["op"], 0, n_op),
        ("membership.instance", membership["instance"], 0, tables["instance"].height),
        ("coupled_op.position", op["position"], 0, n_op),
        ("coupled_op.communicator", op["communicator"], -1, n_group),
        ("coupled_op.stage", op["stage"], -1, 1 << 20),
        ("coupled_op.replica", op["replica"], -1, 1 << 20),
        ("rank.rank", tables["rank"]["rank"], 0, 1 << 20),
    ]
    problems = [
        f"{name} is out of range"
        for name, values, low, high in bounded
        if not values.is_between(low, high, closed="left").all()
    ]
    if not op["rank"].is_in(tables["rank"]["rank"].to_list()).all():
        problems.append("coupled_op.rank names ranks that are not in table rank")
    return problems


def _shape_problems(graph: CouplingGraph, n_op: int) -> list[str]:
    problems = []
    for name in CouplingGraph.__dataclass_fields__:
        array = getattr(graph, name)
        if array.ndim != 1 or array.dtype != field_type(name):
            problems.append(f"graph array {name} is {array.dtype} of {array.ndim} dimensions")
    if problems:
        return problems
    problems += [
        f"graph arrays {', '.join(names)} differ in length"
        for names in SAME_LENGTH
        if len({getattr(graph, name).size for name in names}) > 1
    ]
    if graph.start_node.size != n_op:
        problems.append(f"the graph has {graph.start_node.size} ops, the table {n_op}")
    if graph.overflow_start.size != graph.overflow_node.size + 1:
        problems.append("graph array overflow_start has the wrong length")
    return problems


def _value_problems(graph: CouplingGraph, n_op: int, n_instance: int) -> list[str]:
    node, n_node = np.arange(graph.n_node), graph.n_node
    n_owned = np.where(graph.role == NodeRole.SYNC, n_instance, n_op)
    sound = {
        "first": _within(graph.first, 0, node),
        "second": _within(graph.second, 0, node),
        "overflow_node": _within(graph.overflow_node, 0, n_node - 1)
        and bool((np.diff(graph.overflow_node) > 0).all()),
        "overflow_start": graph.overflow_start[0] == 0
        and graph.overflow_start[-1] == graph.overflow_pred.size
        and bool((np.diff(graph.overflow_start) >= 0).all()),
        "op": _within(graph.op, 0, n_owned - 1),
        "start_node": _within(graph.start_node, 0, graph.end_node),
        "end_node": _within(graph.end_node, 0, n_node - 1),
        "begin_node": _within(graph.begin_node, 0, n_node - 1),
        "end_step_node": _within(graph.end_step_node, 0, n_node - 1),
        "begin_step": _within(graph.begin_step, 0, graph.step.size - 1),
        "end_step": _within(graph.end_step, 0, graph.step.size - 1),
        "step": bool((np.diff(graph.step) > 0).all()),
        "role": _within(graph.role, 0, max(NodeRole)),
    }
    kinds = ("first_kind", "second_kind", "overflow_kind")
    sound |= {name: _within(getattr(graph, name), 0, max(EdgeKind)) for name in kinds}
    if sound["overflow_node"] and sound["overflow_start"]:
        waiting = np.repeat(graph.overflow_node, np.diff(graph.overflow_start))
        sound["overflow_pred"] = _within(graph.overflow_pred, 0, waiting)
    return [f"graph array {name} is out of range or order" for name, ok in sound.items() if not ok]


def _within(values: IntArray, low: int, high: IntArray | int) -> bool:
    return bool(((values >= low) & (values <= high)).all())
