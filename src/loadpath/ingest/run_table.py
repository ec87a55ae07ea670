"""Measured runs of one job at several sizes: the table given by ``--points``."""

from pathlib import Path

import polars as pl

from loadpath.decode.regular import check_regular
from loadpath.errors import InputError, first_line
from loadpath.tables.measured import RUN_POINT

__all__ = ["read_runs"]

NEEDED = ("n", "step_s")
WHOLE = ("n", "microbatches", "tp", "pp", "cp", "global_batch")
REMEDY = (
    "Give a CSV with the columns n and step_s (seconds), and any of "
    f"{', '.join(name for name in RUN_POINT.schema if name not in NEEDED)}."
)
LARGEST = {"step_s": 1e7, "power_w": 1e11}
MOST = 1 << 40
SHOWN = 3
LONGEST = 40


def read_runs(path: Path) -> pl.DataFrame:
    """Read measured runs of one job.

    Parameters
    ----------
    path : Path
        CSV; lines that begin with ``#`` are comments; an empty cell is unknown.

    Returns
    -------
    polars.DataFrame
        Table `RUN_POINT`, in the order of the file.

    Raises
    ------
    InputError
        If it cannot be read, lacks or repeats columns, has unknown ones, or holds what cannot be a size or
        a time; all problems are named with their lines.
    """
    lines, table = _table(path)
    problems = [f"missing column {name!r}" for name in NEEDED if name not in table.columns]
    unknown = [name for name in table.columns if name not in RUN_POINT.schema]
    problems += [f"unknown column {_shown(name)}" for name in unknown[:SHOWN]]
    if not problems and table.is_empty():
        problems = ["no rows"]
    if problems:
        raise InputError(path.name, problems, REMEDY)
    typed = table.select(
        pl.col(name).str.strip_chars().replace("", None).cast(dtype, strict=False).alias(name)
        if name in table.columns
        else pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in RUN_POINT.schema.items()
    )
    problems = _problems(table, typed, lines)
    if problems:
        raise InputError(path.name, problems, REMEDY)
    return RUN_POINT.validate(typed)


def _table(path: Path) -> tuple[list[int], pl.DataFrame]:
    """Return the cells as text, and the line of the file that each row came from."""
    try:
        text = check_regular(path).read_text(encoding="utf-8-sig")
        numbered = [
            (number, line)
            for number, line in enumerate(text.splitlines(), start=1)
            if line.strip() and not line.startswith("#")
        ]
        kept = "\n".join(line for _, line in numbered)
        table = pl.read_csv(kept.encode(), infer_schema=False)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise InputError(path.name, f"cannot be read ({first_line(error)})", REMEDY) from error
    return [number for number, _ in numbered[1:]], table.rename(str.strip)


def _problems(table: pl.DataFrame, typed: pl.DataFrame, lines: list[int]) -> list[str]:
    found = []
    for name in table.columns:
        told = table[name].str.strip_chars().replace("", None)
        most = LARGEST.get(name, MOST)
        lowest = 1 if name in WHOLE else 0
        value = typed[name]
        sound = value.is_between(lowest, most) & (value > 0) & value.is_not_null()
        wrong = ~sound.fill_null(value=False) & (told.is_not_null() | (name in NEEDED))
        kind = f"a whole number from 1 to {most}" if name in WHOLE else f"above 0, at most {most:g}"
        found += [
            f"line {lines[row]}: {name} is {_shown(told[row])}, not {kind}"
            for row in wrong.arg_true().head(SHOWN)
        ]
    return found


def _shown(text: str | None) -> str:
    """Quote what was read, the beginning where it is long."""
    return repr(text if text is None or len(text) <= LONGEST else text[:LONGEST] + "...")
