"""The audit folder: tables, graph, document and briefing, written as one."""

import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from loadpath.couple import CoupledJob, CouplingGraph
from loadpath.errors import InputError, UsageError

__all__ = ["SCHEMA", "document_bytes", "read_audit", "write_audit"]

SCHEMA = "loadpath.audit/1"
JOB_TABLES = ("rank", "lane", "step", "communicator", "instance", "membership", "caveat")
PER_OP = ("work_ns", "lag_ns", "arrive_ns", "wait_ns", "negative_lag_ns")
DAMAGE = (
    ValueError,
    KeyError,
    TypeError,
    OSError,
    EOFError,
    msgspec.MsgspecError,
    zipfile.BadZipFile,
    pl.exceptions.PolarsError,
)
"""What reading a damaged audit may raise."""
GRAPH_FIELDS = tuple(CouplingGraph.__dataclass_fields__)


def document_bytes(document: Mapping[str, Any]) -> bytes:
    """Write a document as JSON: keys sorted, two spaces, no NaN.

    Parameters
    ----------
    document : mapping
        Content of ``audit.json``.

    Returns
    -------
    bytes
        UTF-8, ending in a newline.
    """
    text = json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def write_audit(
    folder: Path,
    content: tuple[Mapping[str, Any], Mapping[str, pl.DataFrame], CoupledJob, str],
    *,
    force: bool,
) -> None:
    """Write an audit folder; it appears complete or not at all.

    Parameters
    ----------
    folder : Path
        Where to; its parent must exist or be creatable.
    content : tuple
        Document, result tables, coupled job, and briefing (empty for none).
    force : bool
        Replace an audit that is there.

    Raises
    ------
    UsageError
        If the folder exists and `force` is not set, or holds anything but an audit.
    """
    document, tables, job, briefing = content
    _check_target(folder, force=force)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        for name, table in {**_job_tables(job), **tables}.items():
            _write_table(partial / f"{name}.parquet", table)
        np.savez(partial / "graph.npz", **{n: getattr(job.graph, n) for n in GRAPH_FIELDS})
        (partial / "audit.json").write_bytes(document_bytes(document))
        if briefing:
            (partial / "briefing.html").write_text(briefing, encoding="utf-8")
        _publish(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_audit(folder: Path) -> tuple[dict[str, Any], dict[str, pl.DataFrame], CoupledJob]:
    """Read an audit folder.

    Parameters
    ----------
    folder : Path
        Folder that `write_audit` made.

    Returns
    -------
    tuple
        Document, result tables, and the coupled job.

    Raises
    ------
    InputError
        If it is no audit folder, is of another schema, or is damaged.
    """
    path = folder / "audit.json"
    if not path.is_file():
        raise InputError(
            folder.name or str(folder), "no audit.json in it", "Make one: loadpath audit."
        )
    try:
        document = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        tables = {p.stem: pl.read_parquet(p) for p in sorted(folder.glob("*.parquet"))}
        with (
            (folder / "graph.npz").open("rb") as stream,
            np.load(stream, allow_pickle=False) as arrays,
        ):
            graph = CouplingGraph(**{name: arrays[name] for name in GRAPH_FIELDS})
        job = _job(document, tables, graph)
    except DAMAGE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(
            folder.name, f"damaged audit ({reason})", "Audit the sources again."
        ) from error
    if document.get("schema") != SCHEMA:
        raise InputError(
            folder.name,
            f"schema {document.get('schema')!r}, not {SCHEMA!r}",
            "Audit the sources again.",
        )
    return document, tables, job


def _check_target(folder: Path, *, force: bool) -> None:
    if not folder.exists():
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / "audit.json").exists()):
        raise UsageError(f"{folder} is there and is no audit folder. Give another --out.")
    if any(folder.iterdir()) and not force:
        raise UsageError(f"{folder} is there. Give another --out, or --force to replace it.")


def _publish(partial: Path, folder: Path) -> None:
    for path in partial.iterdir():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    if folder.exists():
        old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
        folder.rename(old)
        partial.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    else:
        partial.rename(folder)
    parent = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _job_tables(job: CoupledJob) -> dict[str, pl.DataFrame]:
    op = job.op.with_columns(pl.Series(name, getattr(job, name)) for name in PER_OP)
    return {"coupled_op": op, **{name: getattr(job, name) for name in JOB_TABLES}}


def _write_table(path: Path, table: pl.DataFrame) -> None:
    """One row group and plain strings, so that the bytes depend on the rows alone."""
    plain = table.with_columns(pl.col(pl.Categorical).cast(pl.String)).rechunk()
    plain.write_parquet(
        path, compression="zstd", row_group_size=max(1, plain.height), statistics=False
    )


def _job(
    document: Mapping[str, Any], tables: Mapping[str, pl.DataFrame], graph: CouplingGraph
) -> CoupledJob:
    op = tables["coupled_op"]
    record = document["record"]
    fields: dict[str, Any] = {name: tables[name] for name in JOB_TABLES}
    fields |= {name: op[name].to_numpy() for name in PER_OP}
    names = pl.col("name", "collective", "op_class").cast(pl.Categorical)
    return CoupledJob(
        source=record["source"],
        op=op.drop(PER_OP).with_columns(names),
        graph=graph,
        inputs=tuple((i["path_name"], i["sha256"], i["bytes"]) for i in document["inputs"]),
        layout=record["layout"],
        **fields,
    )
