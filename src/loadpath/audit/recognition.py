"""What a file is: by its name where that settles it, else by its first bytes.

A format is loaded when a file may be of it, so that an op table need not wait for eight others.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

__all__ = ["Kind", "is_other_json", "is_other_record", "is_record"]

Kind = Literal["compressed", "schedule", "otf2", "nsys", "log", "dump", "execution", "stages"]
OTHERS = {".csv", ".parquet", ".yaml", ".html", ".npz"}
"""Names under which none but tables, pages and their layouts are kept."""
NEVER: dict[Kind, set[str]] = {
    "compressed": {".parquet", ".html", ".npz"},
    "otf2": OTHERS,
    "nsys": OTHERS,
    "log": OTHERS | {".goal", ".bin", ".otf2", ".def", ".evt"},
    "dump": OTHERS | {".txt", ".log"},
    "execution": OTHERS,
    "stages": OTHERS - {".csv"},
}


def is_record(path: Path, kind: Kind) -> bool:
    """Tell whether a file is a record of some kind.

    Parameters
    ----------
    path : Path
        File.
    kind : str
        A compressed recording, a schedule, an OTF2 trace, an export of Nsight Systems, a log of the NCCL
        Inspector, a dump of a flight recorder, an execution trace, or stage logs.

    Returns
    -------
    bool
        False too for a file that cannot be read: who reads it says why.
    """
    return path.suffix.lower() not in NEVER.get(kind, set()) and TOLD[kind](path)


def is_other_json(path: Path) -> bool:
    """Tell a small file of JSON that is no record: settings or metrics that lie beside them.

    Parameters
    ----------
    path : Path
        File.

    Returns
    -------
    bool
        False where its first block is not all of it, or it cannot be read: who reads it says why.
    """
    from loadpath.decode.blocks import BLOCK_BYTES, first_block

    if not path.name.lower().endswith((".json", ".json.gz")):
        return False
    head = first_block(path)
    is_whole = 0 < len(head) < BLOCK_BYTES and head.lstrip()[:1] != b"["
    return (
        is_whole and b'"traceEvents"' not in head and not any(is_record(path, k) for k in IN_JSON)
    )


def is_other_record(path: Path) -> bool:
    """Tell a record of JSON that is no dump, although it is named so.

    Parameters
    ----------
    path : Path
        File.

    Returns
    -------
    bool
        True for traces, logs of the Inspector, execution traces and stage logs.
    """
    from loadpath.decode.blocks import first_block

    kinds: tuple[Kind, ...] = ("log", "dump", "execution", "stages")
    return b'"traceEvents"' in first_block(path) or any(is_record(path, k) for k in kinds)


IN_JSON: tuple[Kind, ...] = ("log", "dump", "execution")


def _is_compressed(path: Path) -> bool:
    from loadpath.ingest.compressed import is_compressed

    return is_compressed(path)


def _is_schedule(path: Path) -> bool:
    return path.name.lower().endswith((".goal", ".goal.gz"))


def _is_otf2(path: Path) -> bool:
    return path.suffix.lower() == ".otf2"


def _is_nsys(path: Path) -> bool:
    from loadpath.ingest.nsys import is_nsys

    return is_nsys(path)


def _is_log(path: Path) -> bool:
    from loadpath.ingest.nccl_inspector import is_inspector

    return is_inspector(path)


def _is_dump(path: Path) -> bool:
    from loadpath.ingest.flight_recorder import is_flight_recorder

    return is_flight_recorder(path)


def _is_execution(path: Path) -> bool:
    from loadpath.ingest.execution_trace import is_execution_trace

    return is_execution_trace(path)


def _is_stages(path: Path) -> bool:
    from loadpath.ingest.stage_log import is_stage_log

    return is_stage_log(path)


TOLD: dict[Kind, Callable[[Path], bool]] = {
    "compressed": _is_compressed,
    "schedule": _is_schedule,
    "otf2": _is_otf2,
    "nsys": _is_nsys,
    "log": _is_log,
    "dump": _is_dump,
    "execution": _is_execution,
    "stages": _is_stages,
}
