"""Hosts of ranks, as a file of the user names them."""

from dataclasses import replace
from pathlib import Path

import polars as pl

from loadpath.decode.digest import file_digest
from loadpath.decode.regular import check_regular
from loadpath.errors import InputError, first_line
from loadpath.tables import RANK, Recording, caveat_table

__all__ = ["with_hosts"]

HOST_COLUMNS = ("rank", "host", "rack", "switch")


def with_hosts(recording: Recording, path: Path) -> Recording:
    """Name the hosts of ranks; a rank without a line keeps what its record says.

    Parameters
    ----------
    recording : Recording
        Any recording.
    path : Path
        CSV with the columns rank, host and, if known, rack and switch.

    Returns
    -------
    Recording
        With hosts.

    Raises
    ------
    InputError
        If the file cannot be read; all that is wrong is named.
    """
    try:
        table = pl.read_csv(check_regular(path), infer_schema=False)
    except (pl.exceptions.PolarsError, OSError, InputError) as error:
        first = error.problems[0] if isinstance(error, InputError) else first_line(error)
        raise InputError(path.name, f"hosts file cannot be read ({first})", _HOSTS) from error
    table = table.rename({name: name.strip().lower() for name in table.columns})
    problems = [f"missing column {name!r}" for name in HOST_COLUMNS[:2] if name not in table]
    if not problems:
        whole = table["rank"].str.strip_chars().cast(pl.Int64, strict=False)
        problems += [f"rank {r!r} is no number" for r in table["rank"].filter(whole.is_null())[:5]]
        problems += [
            f"rank {r} is out of range"
            for r in whole.filter((whole < 0) | (whole >= 1 << 31)).unique()[:5]
        ]
        problems += [
            f"rank {r} stands twice" for r in whole.filter(whole.is_duplicated()).unique()[:5]
        ]
        table = table.with_columns(whole.alias("rank"))
    if problems:
        raise InputError(path.name, problems, _HOSTS)
    names = [name for name in HOST_COLUMNS[1:] if name in table.columns]
    known = table.select(
        pl.col("rank").cast(pl.Int32),
        *(pl.col(n).str.strip_chars().alias(f"{n}_new") for n in names),
    )
    joined = recording.rank.join(known, on="rank", how="left", maintain_order="left")
    rank = RANK.build(
        joined.with_columns(pl.coalesce(f"{n}_new", n).alias(n) for n in names).select(*RANK.schema)
    )
    n_without = joined.filter(pl.col("host_new").is_null()).height
    text = f"ranks without a line in {path.name}: their host is not known"
    doubts = caveat_table([("host_unknown", text, n_without)])
    return replace(
        recording,
        rank=rank,
        caveat=pl.concat([recording.caveat, doubts]),
        inputs=(*recording.inputs, file_digest(path)),
    )


_HOSTS = "Give a CSV with the columns rank,host and, if known, rack and switch."
