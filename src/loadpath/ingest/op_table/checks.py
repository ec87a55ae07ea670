"""What no op table can hold: refused with the place and what to do."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from loadpath.errors import InputError
from loadpath.ingest.op_table.layout import MOST_RANKS
from loadpath.units import NS_PER_S

__all__ = ["check_sizes", "refuse_coarse", "refuse_impossible", "refuse_repeats", "refuse_times"]

KEY = ["step", "rank", "optype", "seq_id"]
MOST_CHUNKS = 1 << 12
MOST_CELLS = 1 << 23
"""Places (step, rank, chunk) that a table with few rows may span."""
LONGEST_S = 1e6
"""No step and no op takes 11 days: longer ones are times in other units."""


def refuse_impossible(kept: pl.DataFrame, path: Path, n_alike: int = 1) -> None:
    """Refuse ranks that no job has, and numbering so sparse that its places fill the memory.

    Parameters
    ----------
    kept : polars.DataFrame
        Typed rows.
    path : Path
        Where they come from, for errors.
    n_alike : int
        How often these rows stand in the table, under different steps.

    Raises
    ------
    InputError
        If a number is out of range; all are named.
    """
    least = {"rank": 0, "stage": 0, "dp_rank": 0, "mc": -1}
    bounds = kept.select(
        *(pl.col(name).min().alias(f"{name}_least") for name in least),
        *(pl.col(name).max() for name in least),
        pl.col("step").n_unique(),
    ).row(0, named=True)
    problems = [
        f"{name} reaches from {bounds[f'{name}_least']} to {bounds[name]}"
        for name, low in least.items()
        if bounds[f"{name}_least"] < low
        or bounds[name] >= (MOST_CHUNKS if name == "mc" else MOST_RANKS)
    ]
    workers = max(bounds["rank"] + 1, (bounds["dp_rank"] + 1) * (bounds["stage"] + 1))
    n_cell, n_op = workers * bounds["step"] * (bounds["mc"] + 2) * n_alike, kept.height * n_alike
    if not problems and n_cell > max(MOST_CELLS, 4 * n_op):
        problems.append(f"{n_op} ops are spread over {n_cell} places (step, rank or worker, chunk)")
    if problems:
        raise InputError(
            path.name,
            problems,
            f"Number ranks, replicas, stages (below {MOST_RANKS}) and chunks (below {MOST_CHUNKS}) "
            "from 0 on without wide gaps.",
        )


def refuse_repeats(kept: pl.DataFrame, path: Path) -> None:
    """Refuse a table that holds an op twice.

    Parameters
    ----------
    kept : polars.DataFrame
        Typed rows.
    path : Path
        Where they come from, for errors.

    Raises
    ------
    InputError
        If two rows are of one op; the first such op is named.
    """
    place = np.zeros(kept.height, np.int64)
    for name in KEY:
        number = kept[name].to_physical().to_numpy().astype(np.int64)
        # beyond 64 bits different ops may meet on one place; the second look below tells
        place = place * (int(number.max()) - int(number.min()) + 1) + (number - number.min())
    place.sort()
    if (place[1:] != place[:-1]).all():
        return
    twice = kept.filter(kept.select(KEY).is_duplicated()).select(KEY).unique(maintain_order=True)
    if twice.height:
        row = twice.row(0, named=True)
        raise InputError(
            path.name,
            f"{twice.height} ops are recorded twice, the first is {row['optype']} {row['seq_id']} "
            f"of rank {row['rank']} in step {row['step']}",
            "Two records of one rank were joined, or steps repeat: keep one of each.",
        )


def refuse_times(after_s: float, longest_s: float, path: Path) -> None:
    """Refuse times in which no step can be seen: too long, or none at all.

    Parameters
    ----------
    after_s, longest_s : float
        Latest start after the first of its step, and longest op, in s.
    path : Path
        Where they come from, for errors.

    Raises
    ------
    InputError
        If they cannot be seconds.
    """
    longest = max(after_s, longest_s)
    if not longest <= LONGEST_S:
        text = f"a step or an op lasts {longest:.3g} s"
        raise InputError(path.name, text, "Give start_ts and duration in seconds.")
    if longest * NS_PER_S < 1:
        text = "no time passes: all ops start together and last 0 s"
        raise InputError(path.name, text, "Give start_ts and duration in seconds.")


def refuse_coarse(latest_s: float, typical_s: float | None, path: Path, *, single: bool) -> float:
    """Refuse a clock in which most ops vanish; give its resolution.

    Parameters
    ----------
    latest_s : float
        Largest recorded start, in s.
    typical_s : float or None
        Median duration of the ops that last, in s; None if none lasts.
    path : Path
        Where they come from, for errors.
    single : bool
        Whether times are float32.

    Returns
    -------
    float
        Distance of two neighbouring times at the latest start, in s.

    Raises
    ------
    InputError
        If most ops are shorter.
    """
    resolution = float(np.spacing(np.float32(latest_s)) if single else np.spacing(latest_s))
    if typical_s is not None and resolution > typical_s:
        text = f"start_ts has a resolution of {resolution:.3g} s, more than most ops last"
        remedy = "Count start_ts from the start of each step, or write it as float64."
        raise InputError(path.name, text, remedy)
    return resolution


def check_sizes(raw: pl.DataFrame, declared: Mapping[str, int], path: Path) -> dict[str, int]:
    """Compare places of ranks with each other and with the declared sizes.

    Parameters
    ----------
    raw : polars.DataFrame
        Typed rows.
    declared : mapping of str to int
        Content of the layout file, empty without one.
    path : Path
        Where the rows come from, for errors.

    Returns
    -------
    dict of str to int
        Parallel sizes; those not declared are taken from the rows.

    Raises
    ------
    InputError
        If a rank stands at two places, two at one, or the sizes are smaller than the table.
    """
    places = raw.select("rank", "dp_rank", "stage").unique().sort("rank", "dp_rank", "stage")
    moved = places.filter(places.select("rank").is_duplicated())["rank"].unique().sort()
    shared = places.filter(places.select("dp_rank", "stage").is_duplicated())
    problems = [f"rank {rank} stands at more than one place (dp_rank, stage)" for rank in moved[:1]]
    problems += [
        f"replica {replica}, stage {stage} is held by more than one rank"
        for replica, stage in shared.select("dp_rank", "stage").rows()[:1]
    ]
    if problems:
        raise InputError(path.name, problems, "Give each replica and stage one rank of its own.")
    found = {
        "dp_size": int(raw["dp_rank"].max()) + 1,  # type: ignore[arg-type]
        "pp_size": int(raw["stage"].max()) + 1,  # type: ignore[arg-type]
    }
    wrong = [
        f"layout says {key} {declared[key]}, the table reaches {size}"
        for key, size in found.items()
        if declared.get(key, size) < size
    ]
    if wrong:
        raise InputError(path.name, wrong, "Give the layout file of this table with --layout.")
    chunks = int(raw["mc"].max()) + 1  # type: ignore[arg-type]
    sizes = {"tp_size": 1, "dsp_size": 1, "vpp_size": max(chunks, 1)} | found | dict(declared)
    n_rank = sizes["dp_size"] * sizes["pp_size"] * sizes["tp_size"] * sizes["dsp_size"]
    sizes.setdefault("world_size", n_rank)
    if sizes["world_size"] >= 1 << 31 or sizes["vpp_size"] > MOST_CHUNKS:
        problem = f"sizes of {sizes['world_size']} ranks and {sizes['vpp_size']} chunks a rank"
        raise InputError(path.name, problem, "Give the layout file of this table with --layout.")
    return sizes
