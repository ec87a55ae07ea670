"""Recorded requests to a served model: when each came, what it brought, and what it was answered."""

from pathlib import Path

import polars as pl

from loadpath.decode import read_blocks
from loadpath.decode.table_file import short_lines
from loadpath.errors import InputError, first_line
from loadpath.tables.measured import REQUEST

__all__ = ["read_requests"]

NAMES = {
    "arrival": ("TIMESTAMP", "arrival_s"),
    "prompt_tokens": ("ContextTokens", "prompt_tokens"),
    "output_tokens": ("GeneratedTokens", "output_tokens"),
}
"""Columns, as the Azure traces call them and as loadpath does."""
REMEDY = (
    "Give a CSV (gzip will do) with TIMESTAMP or arrival_s, ContextTokens or prompt_tokens, and "
    "GeneratedTokens or output_tokens."
)
MOST_TOKENS = 1 << 31
MOST_DAYS = 3660
SHOWN = 3
LONGEST = 40
ZONE = r"(?:Z|[+-]00:?00)$"


def read_requests(path: Path) -> pl.DataFrame:
    """Read a request trace.

    Parameters
    ----------
    path : Path
        CSV, plain or gzipped; lines that begin with ``#`` are comments, further columns are ignored.

    Returns
    -------
    polars.DataFrame
        Table `REQUEST`, by arrival; those of the same moment in the order of the file.

    Raises
    ------
    InputError
        If it cannot be read, lacks a column or has it twice, or holds what cannot be a time or a number
        of tokens; problems are named with the row, all at once.
    """
    text = b"".join(short_lines(read_blocks(path), path.name))
    try:
        table = pl.read_csv(text, infer_schema=False, comment_prefix="#")
    except pl.exceptions.PolarsError as error:
        raise InputError(path.name, f"cannot be read ({first_line(error)})", REMEDY) from error
    table = table.rename(lambda name: name.strip().removeprefix("\ufeff"))
    found = {name: [c for c in table.columns if c in known] for name, known in NAMES.items()}
    problems = [
        f"{len(told)} columns named {' or '.join(NAMES[name])}, not one"
        for name, told in found.items()
        if len(told) != 1
    ]
    if not problems and table.is_empty():
        problems = ["no requests"]
    if problems:
        raise InputError(path.name, problems, REMEDY)
    said = table.select(
        pl.col(told[0]).str.strip_chars().alias(name) for name, told in found.items()
    )
    typed = said.select(
        _arrival(found["arrival"][0]).alias("arrival_ns"),
        pl.col("prompt_tokens").cast(pl.Int64, strict=False),
        pl.col("output_tokens").cast(pl.Int64, strict=False),
    )
    problems = _problems(said, typed)
    if problems:
        raise InputError(path.name, problems, REMEDY)
    typed = typed.with_columns(pl.col("arrival_ns") - pl.col("arrival_ns").min())
    return REQUEST.validate(typed.sort("arrival_ns", maintain_order=True))


def _arrival(name: str) -> pl.Expr:
    """Give the moment of each request in ns, of whatever beginning; null where it is none."""
    text = pl.col("arrival")
    if name == "arrival_s":
        seconds = text.cast(pl.Decimal(29, 9), strict=False)
        return (seconds * 1_000_000_000).cast(pl.Int64, strict=False)
    moment = text.str.replace(ZONE, "").str.replace("T", " ", literal=True)
    when = moment.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="ns", strict=False)
    return when.cast(pl.Int64)


def _problems(said: pl.DataFrame, typed: pl.DataFrame) -> list[str]:
    arrival = typed["arrival_ns"]
    problems = _bad("arrival", said, arrival.is_null(), "a moment")
    for name, least in (("prompt_tokens", 1), ("output_tokens", 0)):
        wrong = ~typed[name].is_between(least, MOST_TOKENS).fill_null(value=False)
        problems += _bad(name, said, wrong, f"a whole number from {least} to {MOST_TOKENS}")
    if not problems and arrival.max() - arrival.min() > MOST_DAYS * 86_400 * 1_000_000_000:  # type: ignore[operator]
        problems = [f"requests of more than {MOST_DAYS} days"]
    return problems


def _bad(name: str, said: pl.DataFrame, wrong: pl.Series, kind: str) -> list[str]:
    rows = wrong.arg_true()
    told = [
        f"row {row + 1}: {name} is {_shown(said[name][row])}, not {kind}"
        for row in rows.head(SHOWN).to_list()
    ]
    return [*told, *([f"{len(rows) - SHOWN} more such rows"] if len(rows) > SHOWN else [])]


def _shown(text: str | None) -> str:
    return repr(text if text is None or len(text) <= LONGEST else text[:LONGEST] + "...")
