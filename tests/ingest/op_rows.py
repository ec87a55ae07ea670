"""Op tables of a few rows, with times in milliseconds.

``worker(3, stage=1, dp=1, forward_compute=[(0, 10), (10, 20)])`` is rank 3 with two computations;
a third entry of an op is its model chunk.
"""

import polars as pl

from loadpath.ingest.op_table import read_op_table

CHUNKED = ("forward-compute", "backward-compute", "params-all-gather", "grads-reduce-scatter")


def worker(rank, *, stage=0, dp=0, step=0, **ops):
    """Return the rows of one worker in one step; ops of a type are numbered as given."""
    rows = []
    for name, spans in ops.items():
        optype = name.replace("_", "-")
        for number, (start, end, *chunk) in enumerate(spans):
            rows.append(
                {
                    "dp_rank": dp,
                    "stage": stage,
                    "rank": rank,
                    "step": step,
                    "optype": optype,
                    "start_ts": start / 1e3,
                    "duration": (end - start) / 1e3,
                    "seq_id": number,
                    "mc": chunk[0] if chunk else 0 if optype in CHUNKED else -1,
                    "mb_id": number if optype.endswith("compute") else -1,
                }
            )
    return rows


def table(*workers):
    """Return the op table of some workers."""
    return pl.DataFrame([row for rows in workers for row in rows])


def write(folder, frame, **layout):
    """Write an op table, and its layout file if any sizes are given."""
    path = folder / "trace-job.parquet"
    frame.write_parquet(path)
    if layout:
        lines = "".join(f"{key}: {value}\n" for key, value in layout.items())
        (folder / "meta-job.yaml").write_text(lines, encoding="utf-8")
    return path


def read(folder, frame, **layout):
    """Write an op table and read it."""
    return read_op_table(write(folder, frame, **layout))
