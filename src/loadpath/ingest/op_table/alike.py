"""Steps that hold the same ops: one of them is read in full, of the others the times alone."""

import numpy as np
import polars as pl

from loadpath.couple.graph import Int64Array

__all__ = ["first_rows"]

SAME = ("rank", "dp_rank", "stage", "optype", "seq_id", "mc", "mb_id")
"""What ops at the same place of like steps agree in."""

WHOLE = frozenset((pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32))
"""Types of whole numbers that 64 bits with a sign can hold."""


def first_rows(frame: pl.DataFrame) -> Int64Array:
    """Find where each step begins, if all steps hold the same ops in the same order.

    Parameters
    ----------
    frame : polars.DataFrame
        Op table as recorded.

    Returns
    -------
    (n_step,) array of int64
        First row of each step, by step; empty if steps differ, are mixed, or a value is missing.
    """
    none = np.empty(0, np.int64)
    names = [name for name in SAME if name in frame]
    whole = all(frame.schema[name] in WHOLE for name in (*names, "step") if name != "optype")
    timed = all(frame.schema[name].is_float() for name in ("start_ts", "duration"))
    if not (whole and timed) or any(frame[name].null_count() for name in (*names, "step")):
        return none
    step = frame["step"].to_numpy()
    n_op = int((step != step[0]).argmax()) or step.size
    number = step[::n_op].astype(np.int64)
    if step.size % n_op or (step.reshape(-1, n_op) != number[:, None]).any():
        return none
    order = np.argsort(number, kind="stable")
    if (np.diff(number[order]) == 0).any():
        return none
    if not all(_is_repeated(frame[name], n_op) for name in names):
        return none
    finite = all(np.isfinite(frame[name].to_numpy()).all() for name in ("start_ts", "duration"))
    return order * n_op if finite else none


def _is_repeated(column: pl.Series, n: int) -> bool:
    """Say whether a column repeats its first n values; it is looked at piece by piece, as it was read."""
    text = column.dtype in {pl.String, pl.Categorical} or isinstance(column.dtype, pl.Enum)
    code = (column.cast(pl.Categorical) if text else column).to_physical()
    first, done = code.head(n).to_numpy(), 0
    for piece in code.get_chunks():
        value, turned = piece.to_numpy(), np.roll(first, -(done % n))
        whole = value.size // n * n
        if (value[:whole].reshape(-1, n) != turned).any():
            return False
        if (value[whole:] != turned[: value.size - whole]).any():
            return False
        done += value.size
    return True
