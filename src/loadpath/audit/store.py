"""The audit folder: tables, graph, document and briefing, written as one."""

import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
from isal import isal_zlib

from loadpath.audit.folder import document_bytes, is_result, write_folder, write_table
from loadpath.audit.graph_file import read_graph, write_graph
from loadpath.audit.soundness import graph_problems, index_problems, table_problems
from loadpath.couple import CoupledJob, CouplingGraph
from loadpath.couple.job import COUPLED_OP
from loadpath.decode.regular import check_regular
from loadpath.errors import InputError, first_line
from loadpath.tables import (
    CAVEAT,
    COMMUNICATOR,
    INSTANCE,
    LANE,
    MEMBERSHIP,
    RANK,
    STEP,
    Column,
    TableSchema,
)
from loadpath.tables.results import RESULT_TABLES

__all__ = ["SCHEMA", "read_audit", "write_audit"]

SCHEMA = "loadpath.audit/1"
JOB_SCHEMAS = (RANK, LANE, STEP, COMMUNICATOR, INSTANCE, MEMBERSHIP, CAVEAT)
JOB_TABLES = tuple(schema.name for schema in JOB_SCHEMAS)
DOCUMENT_KEYS = ("attribution", "blindness", "caveats", "inputs", "job", "record", "replay",
                 "slowdown", "stability", "stake", "verdict", "versions", "waits")  # fmt: skip
PER_OP = ("work_ns", "lag_ns", "arrive_ns", "wait_ns", "negative_lag_ns")
DAMAGE = (
    ValueError,
    KeyError,
    TypeError,
    OSError,
    EOFError,
    MemoryError,
    RuntimeError,
    IndexError,
    zlib.error,
    isal_zlib.error,
    msgspec.MsgspecError,
    zipfile.BadZipFile,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
)
"""What reading a damaged audit may raise."""
STORED_OP = TableSchema(
    COUPLED_OP.name,
    COUPLED_OP.doc,
    (*COUPLED_OP.columns, *(Column(name, pl.Int64, "see CoupledJob") for name in PER_OP)),
)
AGAIN = "Audit the sources again."
MOST_LOOKS = 20
"""How often a folder is read that others replace meanwhile."""


def write_audit(
    folder: Path,
    content: tuple[Mapping[str, Any], Mapping[str, pl.DataFrame], CoupledJob, str],
    *,
    force: bool,
    keep: Callable[[Path], None] = lambda _: None,
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
    keep : callable of Path
        Given the folder that holds all files, before it appears and others may replace it.

    Raises
    ------
    UsageError
        If the folder exists and `force` is not set, holds anything but an audit, or cannot be
        written.
    """

    def write(partial: Path) -> None:
        _write_files(partial, content)
        keep(partial)

    write_folder(folder, write, force=force)


def _write_files(
    partial: Path,
    content: tuple[Mapping[str, Any], Mapping[str, pl.DataFrame], CoupledJob, str],
) -> None:
    document, tables, job, briefing = content
    for name, table in {**_job_tables(job), **tables}.items():
        write_table(partial / f"{name}.parquet", table)
    write_graph(partial / "graph.npz", job.graph)
    (partial / "audit.json").write_bytes(document_bytes(document))
    if briefing:
        (partial / "briefing.html").write_text(briefing, encoding="utf-8")


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
    for _ in range(MOST_LOOKS):
        before = _identity(folder)
        try:
            found = _read(folder)
        except InputError:
            if _identity(folder) == before:
                raise
        else:
            if _identity(folder) == before:
                return found
    raise InputError(folder.name, "is replaced again and again while it is read", "Wait for it.")


def _identity(folder: Path) -> tuple[int, ...]:
    """Tell a folder from another that takes its name while it is read."""
    try:
        state = folder.stat()
    except OSError:
        return ()
    return state.st_dev, state.st_ino, state.st_ctime_ns


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, pl.DataFrame], CoupledJob]:
    if not is_result(folder):
        raise InputError(
            folder.name or str(folder), "no audit.json in it", "Make one: loadpath audit."
        )
    try:
        document = _read_document(check_regular(folder / "audit.json"))
        tables = {
            p.stem: pl.read_parquet(check_regular(p)) for p in sorted(folder.glob("*.parquet"))
        }
        graph = read_graph(check_regular(folder / "graph.npz"))
        problems = _problems(document, tables, graph)
        if not problems:
            return document, tables, _job(document, tables, graph)
    except InputError as error:
        if error.where == folder.name:
            raise
        problems = error.problems
    except DAMAGE as error:  # type: ignore[misc]
        problems = [first_line(error)]
    listed = "; ".join(problems[:5]) + ("; ..." if len(problems) > 5 else "")
    raise InputError(folder.name, f"damaged audit ({listed})", AGAIN)


def _read_document(path: Path) -> dict[str, Any]:
    document = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    if document.get("schema") != SCHEMA:
        raise InputError(
            path.parent.name, f"schema {document.get('schema')!r}, not {SCHEMA!r}", AGAIN
        )
    return document


def _problems(
    document: Mapping[str, Any], tables: Mapping[str, pl.DataFrame], graph: CouplingGraph
) -> list[str]:
    """Find all that would mislead or crash who works with the audit."""
    problems = [f"audit.json lacks {key}" for key in DOCUMENT_KEYS if key not in document]
    for schema in (STORED_OP, *JOB_SCHEMAS, *RESULT_TABLES):
        problems += table_problems(schema, tables.get(schema.name))
    if problems:
        return problems
    n_op, n_instance = tables[STORED_OP.name].height, tables["instance"].height
    return index_problems(tables) + graph_problems(graph, n_op, n_instance)


def _job_tables(job: CoupledJob) -> dict[str, pl.DataFrame]:
    op = job.op.with_columns(pl.Series(name, getattr(job, name)) for name in PER_OP)
    return {"coupled_op": op, **{name: getattr(job, name) for name in JOB_TABLES}}


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
