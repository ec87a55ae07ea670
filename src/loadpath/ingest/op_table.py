"""Read micro-batch level op tables (Parquet or CSV) of Megatron-style pipeline and data parallelism."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from loadpath.decode.blocks import FREE_BYTES, MAX_EXPANSION
from loadpath.decode.digest import file_digest
from loadpath.decode.regular import check_regular
from loadpath.errors import InputError, first_line
from loadpath.tables import COMMUNICATOR, LANE, OP, RANK, STEP, Recording, caveat_table
from loadpath.units import NS_PER_S

__all__ = ["OP_TYPES", "is_op_table", "read_layout", "read_op_table", "trial_name"]

REQUIRED = {
    "dp_rank": "data-parallel replica",
    "stage": "pipeline stage",
    "rank": "rank",
    "step": "training step",
    "optype": "type of the op",
    "start_ts": "start in seconds",
    "duration": "length in seconds",
    "seq_id": "number within its type, worker and step",
}
WHOLE = {
    "dp_rank": pl.Int32,
    "stage": pl.Int32,
    "rank": pl.Int32,
    "step": pl.Int64,
    "seq_id": pl.Int64,
}
OPTIONAL = {"mc": -1, "mb_id": -1}
OP_TYPES = {
    "forward-compute": "compute",
    "backward-compute": "compute",
    "gc": "compute",
    "optimizer": "optimise",
    "forward-send": "communicate",
    "forward-recv": "communicate",
    "backward-send": "communicate",
    "backward-recv": "communicate",
    "params-all-gather": "communicate",
    "grads-reduce-scatter": "communicate",
    "separate-grads-all-reduce": "communicate",
    "layernorm-grads-all-reduce": "communicate",
    "embedding-grads-all-reduce": "communicate",
    "optimizer-clip-main-grad": "communicate",
}
"""Known op types and what they do."""
OP_NAME = pl.Enum(sorted(OP_TYPES))
COLLECTIVES = {
    "params-all-gather": "all_gather",
    "grads-reduce-scatter": "reduce_scatter",
    "separate-grads-all-reduce": "all_reduce",
    "layernorm-grads-all-reduce": "all_reduce",
    "embedding-grads-all-reduce": "all_reduce",
    "optimizer-clip-main-grad": "all_reduce",
    "forward-send": "send",
    "backward-send": "send",
    "forward-recv": "recv",
    "backward-recv": "recv",
}
LAYOUT_ASSUMED = (
    "no layout file: sizes are taken from the table, tp_size and dsp_size are 1, and each recorded "
    "rank counts as one accelerator; give --layout"
)
LAYOUT_KEYS = ("dp_size", "pp_size", "tp_size", "dsp_size", "vpp_size", "world_size")
KEY = ["step", "rank", "optype", "seq_id"]
MOST_RANKS = 1 << 20
"""Ranks, replicas and stages from here on are damage: no job has a million ranks."""
MOST_CHUNKS = 1 << 12
MOST_CELLS = 1 << 23
"""Places (step, rank, chunk) that a table with few rows may span."""
ROW_BYTES = 64
"""What a row takes in memory, about."""
LONGEST_S = 1e6
"""No step and no op takes 11 days: longer ones are times in other units."""


def is_op_table(path: Path) -> bool:
    """Tell by name whether a file may be an op table.

    Parameters
    ----------
    path : Path
        File.

    Returns
    -------
    bool
        True for ``.parquet`` and ``.csv``.
    """
    return path.suffix.lower() in {".parquet", ".csv"}


def read_op_table(path: Path, layout: Path | None = None) -> Recording:
    """Read one op table and its layout.

    Parameters
    ----------
    path : Path
        Parquet or CSV with one row per op: ``dp_rank, stage, rank, step, optype, start_ts,
        duration, seq_id`` and, for interleaved schedules, ``mc, mb_id``. Times in seconds.
    layout : Path, optional
        Flat ``key: value`` file with ``dp_size, pp_size, tp_size, dsp_size, vpp_size,
        world_size``; found beside the table as ``meta-NAME.yaml`` when not given.

    Returns
    -------
    Recording
        Recorded tables; times in ns after the start of each step.

    Raises
    ------
    InputError
        If the file is damaged, columns are missing, or one op is recorded twice.

    References
    ----------
    .. [1] J. Lin et al., "Understanding Stragglers in Large Model Training Using What-if
       Analysis", OSDI 2025, arXiv:2505.05713.
    """
    raw, doubts = _clean(_read_columns(path), path)
    layout_path = layout or _find_layout(path)
    declared = read_layout(layout_path) if layout_path else {}
    sizes = _sizes(raw, declared, path)
    if not declared:
        doubts.append(("layout_assumed", LAYOUT_ASSUMED, 1))
    doubts += _missing_workers(raw, sizes)
    return Recording(
        source="op_table",
        op=_op(raw),
        lane=_lane(raw),
        communicator=COMMUNICATOR.empty(),
        rank=_rank(raw, sizes),
        step=_step(raw),
        caveat=caveat_table(doubts),
        inputs=tuple(file_digest(p) for p in (path, layout_path) if p is not None),
        layout=sizes,
    )


def read_layout(path: Path) -> dict[str, int]:
    """Read a flat ``key: value`` layout file.

    Parameters
    ----------
    path : Path
        File with one ``key: value`` a line; ``#`` begins a comment.

    Returns
    -------
    dict of str to int
        The known sizes in it, and ``run_id``.

    Raises
    ------
    InputError
        If the file cannot be read, or a size is not a positive whole number; all are named.
    """
    values = _values(path)
    sizes = {key: values[key] for key in LAYOUT_KEYS if key in values}
    wrong = [f"{key}: {value!r}" for key, value in sizes.items() if not _positive(value)]
    if wrong or not sizes:
        raise InputError(
            path.name,
            wrong or "no layout sizes found",
            f"Give positive whole numbers up to {MOST_RANKS} for {', '.join(LAYOUT_KEYS)}.",
        )
    run_id = values.get("run_id", "0")
    return {key: int(value) for key, value in sizes.items()} | (
        {"run_id": int(run_id)} if run_id.isdecimal() and len(run_id) <= 18 else {}
    )


def _positive(text: str) -> bool:
    return text.isdecimal() and len(text) <= 7 and 0 < int(text) <= MOST_RANKS


def trial_name(path: Path, layout: Path | None = None) -> str:
    """Name the trial that an op table records.

    Parameters
    ----------
    path : Path
        Op table.
    layout : Path, optional
        Layout file; found beside the table when not given.

    Returns
    -------
    str
        ``trial_name`` of the layout, else the name of the table without ``trace-``.

    Raises
    ------
    InputError
        If the layout cannot be read.
    """
    found = layout or _find_layout(path)
    named = _values(found).get("trial_name", "") if found else ""
    return named or path.stem.removeprefix("trace-")


def _values(path: Path) -> dict[str, str]:
    """Read ``key: value`` lines as they stand."""
    try:
        text = check_regular(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            path.name, f"layout cannot be read ({error})", "Give a text file."
        ) from error
    pairs = (line.split("#")[0].partition(":") for line in text.splitlines())
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs if key.strip()}


def _find_layout(path: Path) -> Path | None:
    name = path.stem.removeprefix("trace-")
    beside = sorted(path.parent.glob("meta*.y*ml"))
    for candidate in beside:
        if candidate.name in {f"meta-{name}.yaml", f"meta-{name}.yml"}:
            return candidate
    return beside[0] if len(beside) == 1 else None


def _read_columns(path: Path) -> pl.DataFrame:
    check_regular(path)
    suffix = path.suffix.lower()
    try:
        frame = _read_parquet(path) if suffix == ".parquet" else pl.read_csv(path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise InputError(
            path.name,
            f"damaged or no {suffix[1:]} file ({first_line(error)})",
            "Copy or export the table again.",
        ) from error
    missing = [f"column {name!r} ({doc})" for name, doc in REQUIRED.items() if name not in frame]
    if missing:
        raise InputError(
            path.name,
            [f"missing {text}" for text in missing],
            "See docs/formats/op_table.md for the columns of an op table.",
        )
    if not frame.height:
        raise InputError(path.name, "the table has no rows", "Record at least one step.")
    return frame


def _read_parquet(path: Path) -> pl.DataFrame:
    """Read all columns, unless a small file says that it holds very many rows."""
    n_row = int(pl.scan_parquet(path).select(pl.len()).collect().item())
    if n_row * ROW_BYTES > max(FREE_BYTES, MAX_EXPANSION * path.stat().st_size):
        raise InputError(
            path.name,
            f"{n_row} rows expand more than {MAX_EXPANSION} times (a bomb?)",
            "Check that the file is what its name says.",
        )
    return pl.read_parquet(path)


def _clean(frame: pl.DataFrame, path: Path) -> tuple[pl.DataFrame, list[tuple[str, str, int]]]:
    """Types, seconds to ns, and rows that cannot be used; each kind is counted."""
    whole = list(WHOLE)
    frame = _times_in_s(frame, path)
    numbers = [*whole, *(name for name in OPTIONAL if name in frame)]
    try:
        typed = _whole_numbers(frame, numbers, path).select(
            *(pl.col(name).cast(dtype) for name, dtype in WHOLE.items()),
            pl.col("optype").cast(pl.String).alias("recorded"),
            pl.col("optype").cast(pl.String).cast(OP_NAME, strict=False),
            pl.col("start_ts").cast(pl.Float64),
            pl.col("duration").cast(pl.Float64),
            *(
                (pl.col(name) if name in frame.columns else pl.lit(missing))
                .cast(pl.Int32)
                .fill_null(missing)
                .alias(name)
                for name, missing in OPTIONAL.items()
            ),
        )
    except pl.exceptions.PolarsError as error:
        raise InputError(
            path.name,
            f"a column has values of the wrong type ({first_line(error)})",
            "Give whole numbers for ranks, stages, steps and sequence ids, seconds for times.",
        ) from error
    finite = pl.col("start_ts").is_finite() & pl.col("duration").is_finite()
    complete = pl.all_horizontal(pl.col(*whole, "recorded").is_not_null())
    unknown, readable = typed.select(
        (pl.col("optype").is_null() & pl.col("recorded").is_not_null()).alias("unknown"),
        (finite & complete).fill_null(value=False).alias("readable"),
    )
    sound = readable & ~unknown
    kept = (typed if sound.all() else typed.filter(sound)).drop("recorded")
    if not kept.height:
        raise InputError(path.name, "no usable row", "Check op types and times of the table.")
    _refuse_impossible(kept, path)
    _refuse_repeats(kept, path)
    names = sorted(typed["recorded"].filter(unknown).unique())
    left_out = f"ops of unknown type are left out: {', '.join(names[:8])}"
    empty = "rows with NaN, infinite or empty values are left out"
    doubts = [
        ("unknown_op_type", left_out, int(unknown.sum())),
        ("unreadable_row", empty, int((~readable & ~unknown).sum())),
        (
            "negative_duration",
            "negative durations are taken as 0",
            int((kept["duration"] < 0).sum()),
        ),
    ]
    return _in_ns(kept, path, single=frame["start_ts"].dtype == pl.Float32), doubts


def _times_in_s(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Seconds from columns of dates or durations; refuse columns that hold no single values."""
    nested = [
        f"column {name!r} is {frame.schema[name]}"
        for name in (*REQUIRED, *OPTIONAL)
        if name in frame and (frame.schema[name].is_nested() or frame.schema[name] == pl.Binary)
    ]
    no_time = [
        f"column {name!r} is {frame.schema[name]}"
        for name, span in (("start_ts", (pl.Datetime, pl.Duration)), ("duration", (pl.Duration,)))
        if frame.schema[name].is_temporal() and not isinstance(frame.schema[name], span)
    ]
    if nested or no_time:
        raise InputError(path.name, nested + no_time, "Give whole numbers, and times in seconds.")
    times = [name for name in ("start_ts", "duration") if frame.schema[name].is_temporal()]
    return frame.with_columns(_seconds(name, frame.schema[name]) for name in times)


def _seconds(name: str, dtype: pl.DataType) -> pl.Expr:
    """Dates count from the first of them, so that float64 keeps their nanoseconds."""
    per_s = {"ms": 10**3, "us": 10**6, "ns": 10**9}[dtype.time_unit]  # type: ignore[attr-defined]
    ticks = pl.col(name).to_physical().cast(pl.Int128)
    if isinstance(dtype, pl.Datetime):
        ticks -= ticks.min()
    return ticks.cast(pl.Float64) / per_s


def _refuse_impossible(kept: pl.DataFrame, path: Path) -> None:
    """Refuse ranks that no job has, and numbering so sparse that its places fill the memory."""
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
    n_cell = workers * bounds["step"] * (bounds["mc"] + 2)
    if not problems and n_cell > max(MOST_CELLS, 4 * kept.height):
        problems.append(
            f"{kept.height} ops are spread over {n_cell} places (step, rank or worker, chunk)"
        )
    if problems:
        raise InputError(
            path.name,
            problems,
            f"Number ranks, replicas, stages (below {MOST_RANKS}) and chunks (below {MOST_CHUNKS}) "
            "from 0 on without wide gaps.",
        )


def _refuse_repeats(kept: pl.DataFrame, path: Path) -> None:
    """Refuse a table that holds an op twice."""
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


def _whole_numbers(frame: pl.DataFrame, names: list[str], path: Path) -> pl.DataFrame:
    """Refuse fractions; some writers leave whole numbers as floats, with NaN for empty values."""
    floats = [name for name in names if frame.schema[name].is_float()]
    filled = frame.with_columns(pl.col(floats).fill_nan(None))
    broken = [f"column {name!r} has fractions" for name in floats if (filled[name] % 1 != 0).any()]
    if broken:
        raise InputError(path.name, broken, "Give whole numbers for ranks, stages, steps and ids.")
    return filled


def _refuse_times(kept: pl.DataFrame, path: Path, resolution_s: float) -> None:
    """Refuse times in which no step can be seen: too long, none at all, or too coarse."""
    start = pl.col("start_ts") - pl.col("start_ts").min().over("step")
    duration = pl.col("duration").clip(lower_bound=0)
    after, longest, typical = kept.select(
        start.max().alias("after"),
        duration.max().alias("longest"),
        duration.filter(duration > 0).median().alias("typical"),
    ).row(0)
    if not max(after, longest) <= LONGEST_S:
        text = f"a step or an op lasts {max(after, longest):.3g} s"
        raise InputError(path.name, text, "Give start_ts and duration in seconds.")
    if max(after, longest) * NS_PER_S < 1:
        text = "no time passes: all ops start together and last 0 s"
        raise InputError(path.name, text, "Give start_ts and duration in seconds.")
    if typical is not None and resolution_s > typical:
        text = f"start_ts has a resolution of {resolution_s:.3g} s, more than most ops last"
        remedy = "Count start_ts from the start of each step, or write it as float64."
        raise InputError(path.name, text, remedy)


def _in_ns(kept: pl.DataFrame, path: Path, *, single: bool) -> pl.DataFrame:
    """Seconds to ns after the start of each step, rows in the order of workers and starts."""
    start = pl.col("start_ts") - pl.col("start_ts").min().over("step")
    duration = pl.col("duration").clip(lower_bound=0)
    latest = float(kept["start_ts"].abs().max() or 0.0)  # type: ignore[arg-type]
    resolution = np.spacing(np.float32(latest)) if single else 0.0
    _refuse_times(kept, path, float(resolution if single else np.spacing(latest)))
    return (
        kept.with_columns(
            (start * NS_PER_S).round().cast(pl.Int64).alias("start_ns"),
            (duration * NS_PER_S).round().cast(pl.Int64).alias("duration_ns"),
            pl.lit(round(float(resolution) * NS_PER_S)).alias("resolution_ns"),
        )
        .drop("start_ts", "duration")
        .sort("step", "dp_rank", "stage", "start_ns", "seq_id", "optype")
    )


def _sizes(raw: pl.DataFrame, declared: Mapping[str, int], path: Path) -> dict[str, int]:
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


def _missing_workers(raw: pl.DataFrame, sizes: Mapping[str, int]) -> list[tuple[str, str, int]]:
    places = raw.select("dp_rank", "stage").unique()
    expected = sizes["dp_size"] * sizes["pp_size"]
    n_step = raw["step"].n_unique()
    cells = raw.select("dp_rank", "stage", "step").unique().height
    unknown = (
        f"{expected - places.height} of {expected} workers (replica, stage) have no record: what "
        "they did is unknown, and they cannot be blamed or cleared"
    )
    lacking = "workers lack some of the recorded steps"
    return [
        ("missing_rank", unknown, expected - places.height),
        ("missing_step", lacking, places.height * n_step - cells),
    ]


def _op(raw: pl.DataFrame) -> pl.DataFrame:
    name = raw["optype"].to_physical()
    computes = _of_name({n: kind == "compute" for n, kind in OP_TYPES.items()}, name)
    return OP.build(
        raw.select(
            "rank",
            _of_name({n: int(kind == "communicate") for n, kind in OP_TYPES.items()}, name).alias(
                "lane"
            ),
            "step",
            _of_name(OP_TYPES, name, OP.schema["kind"]).alias("kind"),
            _of_name({n: n for n in OP_TYPES}, name, pl.Categorical).alias("name"),
            "start_ns",
            "duration_ns",
            pl.col("seq_id").alias("sequence"),
            pl.when(computes)
            .then(pl.col("mb_id").clip(lower_bound=-1))
            .otherwise(-1)
            .alias("microbatch"),
            pl.col("mc").alias("chunk"),
            _of_name({n: COLLECTIVES.get(n, "") for n in OP_TYPES}, name, pl.Categorical).alias(
                "collective"
            ),
        )
    )


def _of_name(
    values: Mapping[str, Any], name: pl.Series, dtype: pl.DataType | type[pl.DataType] | None = None
) -> pl.Series:
    """Give each op the value of its name; `name` holds places in `OP_NAME`."""
    listed = pl.Series([values[n] for n in OP_NAME.categories])
    return (listed if dtype is None else listed.cast(dtype)).gather(name)


def _lane(raw: pl.DataFrame) -> pl.DataFrame:
    ranks = raw["rank"].unique().sort()
    lanes = pl.DataFrame(
        {"lane": [0, 1], "kind": ["device", "communication"], "name": ["compute", "communication"]}
    )
    return LANE.build(pl.DataFrame({"rank": ranks}).join(lanes, how="cross"))


def _rank(raw: pl.DataFrame, sizes: Mapping[str, int]) -> pl.DataFrame:
    places = raw.group_by("rank").agg(
        pl.col("dp_rank", "stage").first(), pl.col("resolution_ns").first()
    )
    represented = max(1, sizes["world_size"] // max(1, sizes["dp_size"] * sizes["pp_size"]))
    return RANK.build(
        places.sort("rank").select(
            "rank",
            pl.col("dp_rank").alias("dp"),
            pl.col("stage").alias("pp"),
            pl.lit(represented).alias("n_represented"),
            pl.col("resolution_ns").alias("clock_residual_ns"),
        )
    )


def _step(raw: pl.DataFrame) -> pl.DataFrame:
    return STEP.build(
        raw.group_by("step", "rank")
        .agg(
            pl.col("start_ns").min(),
            (pl.col("start_ns") + pl.col("duration_ns")).max().alias("end_ns"),
        )
        .sort("step", "rank")
    )
