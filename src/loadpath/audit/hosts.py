"""Hosts of ranks, as a file of the user names them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from loadpath.audit.settings import Settings
from loadpath.audit.windows import in_window
from loadpath.decode.digest import file_digest
from loadpath.decode.regular import check_table
from loadpath.errors import InputError, first_line
from loadpath.tables import RANK, Recording, caveat_table

__all__ = ["hosts_beside", "name_hosts"]

HOST_COLUMNS = ("rank", "host", "rack", "switch")
HOST_FILES = "hosts*.csv"


def name_hosts(recording: Recording, sources: Sequence[Path], settings: Settings) -> Recording:
    """Name the hosts of ranks as the file says that is given, or lies alone beside the records.

    Parameters
    ----------
    recording : Recording
        Any recording.
    sources : sequence of Path
        What the user points at.
    settings : Settings
        Hosts and ranks files.

    Returns
    -------
    Recording
        With hosts, and a caveat where nobody gave the file or it is of no use.

    Raises
    ------
    InputError
        If the file that is given cannot be read.
    """
    if settings.hosts:
        return _with_hosts(recording, settings.hosts)
    beside = hosts_beside(sources, settings)
    if len(beside) == 1:
        try:
            text = f"hosts are those of {beside[0].name} beside the records"
            return _doubted(_with_hosts(recording, beside[0]), "hosts_beside", text, 1)
        except InputError as error:
            text = f"{beside[0].name} beside the records is not read: {'; '.join(error.problems)}"
    else:
        names = ", ".join(path.name for path in beside[:3])
        text = f"several files of hosts beside the records ({names}): name one with --hosts"
    return _doubted(recording, "hosts_unread", text, len(beside))


def hosts_beside(sources: Sequence[Path], settings: Settings) -> list[Path]:
    """List the files of hosts in the folders of the records.

    Parameters
    ----------
    sources : sequence of Path
        What the user points at.
    settings : Settings
        Ranks files, which are none.

    Returns
    -------
    list of Path
        Each once, by name.
    """
    inside = [s for s in sources if s.is_dir()]
    folders = [*inside, *map(in_window, inside), *(s.parent for s in sources if not s.is_dir())]
    ranks = {Path(told).resolve() for told in settings.ranks}
    found = {path.resolve(): path for folder in folders for path in folder.glob(HOST_FILES)}
    return sorted(path for whole, path in found.items() if whole not in ranks)


def _doubted(recording: Recording, code: str, text: str, n: int) -> Recording:
    doubt = caveat_table([(code, text, n)])
    return replace(recording, caveat=pl.concat([recording.caveat, doubt]))


def _with_hosts(recording: Recording, path: Path) -> Recording:
    """Name the hosts of ranks; a rank without a line keeps what its record says."""
    table = _read_hosts(path)
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
    named = replace(recording, rank=rank, inputs=(*recording.inputs, file_digest(path)))
    return _doubted(named, "host_unknown", text, n_without)


def _read_hosts(path: Path) -> pl.DataFrame:
    """Read a file of hosts: its columns as text, but for whole numbers of ranks."""
    try:
        table = pl.read_csv(check_table(path), infer_schema=False)
    except (pl.exceptions.PolarsError, OSError, InputError) as error:
        first = error.problems[0] if isinstance(error, InputError) else first_line(error)
        what = first if isinstance(error, InputError) else f"cannot be read ({first})"
        raise InputError(path.name, f"hosts file {what}", _HOSTS) from error
    table = table.rename({name: name.strip().lower() for name in table.columns})
    missing = [f"missing column {name!r}" for name in HOST_COLUMNS[:2] if name not in table]
    if missing:
        raise InputError(path.name, missing, _HOSTS)
    told = table["rank"]
    whole = told.str.strip_chars().cast(pl.Int64, strict=False)
    outside, twice = (whole < 0) | (whole >= 1 << 31), whole.is_duplicated()
    problems = [
        *(f"rank {text!r} is no number" for text in told.filter(whole.is_null())[:5]),
        *(f"rank {rank} is out of range" for rank in whole.filter(outside).unique()[:5]),
        *(f"rank {rank} stands twice" for rank in whole.filter(twice).unique()[:5]),
    ]
    if problems:
        raise InputError(path.name, problems, _HOSTS)
    return table.with_columns(whole.alias("rank"))


_HOSTS = "Give a CSV with the columns rank,host and, if known, rack and switch."
