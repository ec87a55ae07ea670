"""Tell the ops of a chain as one op for each class (or kind) of work in it.

Those of one label are added up, in the order in which labels first occur; the last part ends when the
chain ended, and what was lost between ops stands before it, as lag.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from loadpath.couple.condensed.chains import chain_heads, without_inner_launches
from loadpath.couple.couplings import couplings_of
from loadpath.couple.graph import Coupling, EdgeKind, Int32Array
from loadpath.couple.job import BETWEEN_CALLS, COUPLED_OP, CoupledJob

__all__ = ["LEVELS", "Condensed", "Level", "condense"]

Level = Literal["whole", "class", "kind", "launch"]
LEVELS: tuple[Level, ...] = ("whole", "class", "kind", "launch")
"""How much is merged: nothing; chains by class; by kind; by kind, without launches inside of runs."""


@dataclass(frozen=True, slots=True)
class Condensed:
    """A coupled job told in fewer ops.

    Attributes
    ----------
    op : polars.DataFrame
        Table `COUPLED_OP`, by rank, lane and start.
    n_merged : (n_op,) array of int32
        Ops that each stands for.
    coupling : Coupling
        Who waits for whom, by row of `op`.
    of : (n,) array of int32
        Row of `op` that each op of the whole job went into.
    """

    op: pl.DataFrame
    n_merged: Int32Array
    coupling: Coupling
    of: Int32Array


def condense(job: CoupledJob, level: Level) -> Condensed:
    """Merge chains of ops.

    Parameters
    ----------
    job : CoupledJob
        Coupled job, in one graph.
    level : {"whole", "class", "kind", "launch"}
        How much is merged.

    Returns
    -------
    Condensed
        The job in fewer ops.
    """
    coupling = couplings_of(job.graph)
    if level == "launch":
        coupling = without_inner_launches(job, coupling)
    head = chain_heads(job, coupling) if level != "whole" else np.arange(job.n_op, dtype=np.int32)
    part = _parts(job, head, level)
    op, of, n_merged = _told(part)
    return Condensed(op, n_merged, _recoupled(coupling, op, of, head), of)


def _parts(job: CoupledJob, head: Int32Array, level: Level) -> pl.DataFrame:
    """Ops with the chain that each is in, what it is called there, and its place in program order."""
    by_kind = pl.format(
        "{} ({})", pl.col("kind").cast(pl.String), pl.col("mechanism").cast(pl.String)
    )
    named = pl.col("op_class").cast(pl.String)
    between = named.str.starts_with(BETWEEN_CALLS)
    label = pl.when(between).then(pl.lit(BETWEEN_CALLS + "merged")).otherwise(by_kind)
    merges = pl.len().over("chain") > 1
    return (
        job.op.with_row_index("row")
        .with_columns(
            chain=pl.Series(head),
            order=pl.Series(job.graph.end_node),
            end_ns=pl.col("start_ns") + pl.col("duration_ns"),
            label=label if level in {"kind", "launch"} else named,
        )
        .with_columns(label=pl.when(merges).then("label").otherwise(named), merges=merges)
    )


def _told(part: pl.DataFrame) -> tuple[pl.DataFrame, Int32Array, Int32Array]:
    """Ops that stand for others, the row each op went into, and how many went into each."""
    key = ("chain", "label")
    fixed = [
        c for c in COUPLED_OP.schema if c not in {"start_ns", "duration_ns", "name", "op_class"}
    ]
    told = (
        part.sort("order")
        .group_by(key, maintain_order=True)
        .agg(
            pl.col(*fixed).first(),
            pl.col("order").first(),
            pl.col("merges").first(),
            pl.when(pl.col("merges").first()).then(pl.col("label").first())
            .otherwise(pl.col("name").cast(pl.String).first()).alias("name"),
            pl.col("duration_ns").sum(),
            n_merged=pl.len().cast(pl.Int32),
            begin_ns=pl.col("start_ns").min(),
            end_ns=pl.col("end_ns").max(),
        )
        .rename({"label": "op_class"})
    )  # fmt: skip
    placed = _placed(_timed(told)).sort("rank", "lane", "start_ns", "order").with_row_index("to")
    of = (
        part.select(*key)
        .join(
            placed.select("chain", pl.col("op_class").alias("label"), "to"),
            on=key,
            how="left",
            maintain_order="left",
        )["to"]
        .to_numpy()
        .astype(np.int32)
    )
    return COUPLED_OP.build(placed.select(*COUPLED_OP.schema)), of, placed["n_merged"].to_numpy()


def _timed(told: pl.DataFrame) -> pl.DataFrame:
    """Put the parts of a chain behind each other; the last one ends with it."""
    packed = (
        pl.col("begin_ns").min().over("chain")
        + pl.col("duration_ns").cum_sum().over("chain")
        - pl.col("duration_ns")
    )
    latest = pl.col("end_ns").max().over("chain") - pl.col("duration_ns")
    is_last = pl.int_range(pl.len()).over("chain") == pl.len().over("chain") - 1
    return told.with_columns(start_ns=pl.when(is_last).then(latest).otherwise(packed))


def _placed(told: pl.DataFrame) -> pl.DataFrame:
    """Count anew the k-th of a class that was merged anywhere; others keep their position."""
    again = pl.int_range(pl.len(), dtype=pl.Int32).over(
        "rank", "step", "op_class", order_by="order"
    )
    anywhere = pl.col("merges").any().over("op_class")
    return told.with_columns(position=pl.when(anywhere).then(again).otherwise("position"))


def _recoupled(coupling: Coupling, op: pl.DataFrame, of: Int32Array, head: Int32Array) -> Coupling:
    """Couplings between chains, and from part to part within each."""
    source, target, kind = coupling.edge_source, coupling.edge_target, coupling.edge_kind
    between = head[source] != head[target]
    chain, first, last = _ends(of, head, op)
    inner_source, inner_target = chain
    n_inner = inner_source.size
    latency = np.zeros(op.height, np.int64)
    if coupling.launch_latency_ns is not None:
        np.maximum.at(latency, of, coupling.launch_latency_ns)
    return replace(
        coupling,
        n_op=op.height,
        edge_source=np.concatenate([last[head[source[between]]], inner_source]),
        edge_target=np.concatenate([first[head[target[between]]], inner_target]),
        edge_kind=np.concatenate([kind[between], np.full(n_inner, EdgeKind.PROGRAM, np.uint8)]),
        member_op=of[coupling.member_op],
        begin_op=first[head[coupling.begin_op]],
        end_op=last[head[coupling.end_op]],
        release_op=first[head[coupling.release_op]],
        launch_latency_ns=latency,
    )


def _ends(
    of: Int32Array, head: Int32Array, op: pl.DataFrame
) -> tuple[tuple[Int32Array, Int32Array], Int32Array, Int32Array]:
    """Couplings from part to part of each chain, and by chain its first and its last part."""
    pair = np.unique(np.stack([head, of]), axis=1)
    chain, row = pair[0], pair[1]
    order = np.lexsort((row, op["start_ns"].to_numpy()[row], chain))
    chain, row = chain[order], row[order]
    same = chain[1:] == chain[:-1]
    first, last = np.zeros((2, of.size), np.int32)
    first[chain[::-1]] = row[::-1]
    last[chain] = row
    return (row[:-1][same], row[1:][same]), first, last
