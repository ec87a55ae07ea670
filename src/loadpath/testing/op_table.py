"""Recording of a synthetic job as a micro-batch op table, as Megatron-style tracers write it."""

from pathlib import Path

import numpy as np
import polars as pl

from loadpath.errors import UsageError
from loadpath.testing.shape import host_of
from loadpath.testing.synthesis import SyntheticJob, recorded_ns, step_number
from loadpath.units import NS_PER_S

__all__ = ["op_table", "write_op_table"]

NARROW = {
    "dp_rank": pl.Int8,
    "stage": pl.Int8,
    "rank": pl.Int16,
    "mc": pl.Int8,
    "mb_id": pl.Int8,
    "gmc": pl.Int16,
}
"""Types of a production table; what does not fit stays wide."""
UNCHUNKED = ("forward-send", "forward-recv", "backward-send", "backward-recv")


def op_table(job: SyntheticJob) -> pl.DataFrame:
    """Record a job as an op table: seconds as float32, zero at each step's earliest start.

    Parameters
    ----------
    job : SyntheticJob
        A job made with ``recorder="op_table"``.

    Returns
    -------
    polars.DataFrame
        Columns dp_rank, stage, rank, step, optype, start_ts, duration, seq_id, mc, mb_id, gmc.

    Raises
    ------
    UsageError
        If the job was made for another recorder.
    """
    if job.shape.recorder != "op_table":
        raise UsageError("op_table needs a job made with recorder='op_table'.")
    start, end = recorded_ns(job)
    step = job.op["step"].to_numpy()
    first = np.full(int(step.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, step, start)
    step_numbers = np.array([step_number(job.shape, k) for k in range(job.shape.steps)])
    p2p = pl.col("name").is_in(UNCHUNKED)
    table = (
        job.op.with_columns(
            start_ts=pl.Series((start - first[step]) / NS_PER_S),
            duration=pl.Series((end - start) / NS_PER_S),
            microbatch=pl.when(pl.col("name") == "gc").then(0).otherwise("microbatch"),
        )
        .select(
            pl.col("replica").alias("dp_rank"),
            "stage",
            "rank",
            pl.Series("step", step_numbers[step]),
            pl.col("name").cast(pl.Categorical).alias("optype"),
            pl.col("start_ts").cast(pl.Float32),
            pl.col("duration").cast(pl.Float32),
            pl.col("sequence").alias("seq_id"),
            pl.col("chunk").alias("mc"),
            pl.when(p2p).then(-1).otherwise("microbatch").alias("mb_id"),
            pl.col("model_chunk").alias("gmc"),
        )
        .sort("step", "rank", pl.col("optype").cast(pl.String), "seq_id")
    )
    fits = {n: t for n, t in NARROW.items() if not table[n].cast(t, strict=False).has_nulls()}
    return table.cast(fits)  # type: ignore[arg-type]


def write_op_table(job: SyntheticJob, folder: str | Path) -> Path:
    """Write ``trace-NAME.parquet``, ``meta-NAME.yaml`` and ``hosts-NAME.csv``.

    Parameters
    ----------
    job : SyntheticJob
        A job made with ``recorder="op_table"``.
    folder : path
        Where to; made if absent.

    Returns
    -------
    pathlib.Path
        The Parquet file.
    """
    table = op_table(job)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    shape = job.shape
    layout = {
        "trial_name": job.name,
        "run_id": 0,
        "dp_size": shape.dp,
        "dsp_size": 1,
        "pp_size": shape.pp,
        "tp_size": shape.tp,
        "vpp_size": shape.vpp,
        "world_size": shape.pp * shape.tp * shape.dp,
    }
    lines = "".join(f"{key}: {value}\n" for key, value in layout.items())
    (folder / f"meta-{job.name}.yaml").write_text(lines, encoding="utf-8")
    write_hosts(job, folder / f"hosts-{job.name}.csv")
    path = folder / f"trace-{job.name}.parquet"
    table.write_parquet(path)
    return path


def write_hosts(job: SyntheticJob, path: Path) -> None:
    """Write which rank runs on which host, as ``rank,host`` rows.

    Parameters
    ----------
    job : SyntheticJob
        A job.
    path : pathlib.Path
        CSV file to write.
    """
    ranks = job.op["rank"].unique().sort().to_list()
    rows = "".join(f"{rank},{host_of(job.shape, rank)}\n" for rank in ranks)
    path.write_text("rank,host\n" + rows, encoding="utf-8")
