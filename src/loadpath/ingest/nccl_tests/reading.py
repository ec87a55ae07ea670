"""What nccl-tests left behind, recognised by content: log, JSON output, table of times, link summary."""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import polars as pl

from loadpath.decode.blocks import first_block, read_blocks
from loadpath.errors import InputError
from loadpath.ingest.nccl_tests.log import Row, parse_log
from loadpath.ingest.nccl_tests.output import is_output, parse_output
from loadpath.ingest.nccl_tests.sheet import (
    SUMMARY_COLUMNS,
    TIMES_COLUMNS,
    parse_summary,
    parse_times,
)
from loadpath.tables import caveat_table
from loadpath.tables.measured import COLLECTIVE_POINT, LINK_POINT

__all__ = ["CollectiveRecord", "is_nccl_tests", "read_nccl_tests"]

MAX_TEXT_BYTES, MOST_LINES, LONGEST_LINE = 256 << 20, 1_000_000, 1 << 16
"""What goes beyond is no log: what came before is kept."""
EMPTY_LINES = re.compile(rb"(?:\r?\n){2,}+")
HEAD_BYTES = 1 << 16
MARKS = ("# nThread", "out-of-place", "Collective test starting", "# nccl-tests")
TEXTS = {
    "damaged_row": "rows of the table that are damaged or lack values; dropped",
    "run_unknown": "rows of which neither the collective nor all ranks are named; dropped",
    "contradicted_row": "times that size, bandwidths and ranks of their row contradict; dropped",
    "host_times": "times of the host that asks (-C 1), not of the collective; dropped",
    "wrong_results": "times of collectives that gave wrong values; kept, and not fitted to",
    "nccl_tests_cut": "the file is damaged or ends early; what came before is kept",
}
REMEDY = "Give a log of nccl-tests as it was printed (docs/formats/nccl_tests.md)."


class CollectiveRecord(NamedTuple):
    """Measured collectives of one file.

    Attributes
    ----------
    points : polars.DataFrame
        Table `COLLECTIVE_POINT`.
    links : polars.DataFrame
        Table `LINK_POINT`; empty but for a link summary.
    caveat : polars.DataFrame
        Table `CAVEAT`: what was dropped, and how much of it.
    """

    points: pl.DataFrame
    links: pl.DataFrame
    caveat: pl.DataFrame


def is_nccl_tests(path: Path) -> bool:
    """Tell a file of nccl-tests by its first 64 KiB.

    Parameters
    ----------
    path : Path
        File, gzipped or not.

    Returns
    -------
    bool
        False too for a file that cannot be read: another reader says why.
    """
    head = first_block(path)[:HEAD_BYTES].decode("utf-8", errors="replace")
    marked = any(mark in head for mark in MARKS)
    return is_output(path) or _is_summary(head) or _is_times(head) or marked


def read_nccl_tests(path: Path) -> CollectiveRecord:
    """Read one file of measured collectives.

    Parameters
    ----------
    path : Path
        Log of nccl-tests (lines of several processes, tagged or mixed, are fine), its JSON output,
        table of times or summary of links; gzipped or not.

    Returns
    -------
    CollectiveRecord
        All that was sound; what was not is counted in the caveats.

    Raises
    ------
    InputError
        If it cannot be opened or holds no sound time and no link.
    """
    rows, links, dropped = _parsed(path)
    if not rows and links.is_empty():
        lost = [f"{TEXTS[code]} ({n})" for code, n in dropped.items() if n]
        raise InputError(path.name, ["no measured collective in it", *lost], REMEDY)
    doubts = caveat_table(
        (code, f"{path.name}: {TEXTS[code]}", n) for code, n in sorted(dropped.items())
    )
    return CollectiveRecord(_points(rows), links, doubts)


def _parsed(path: Path) -> tuple[list[Row], pl.DataFrame, Counter[str]]:
    """Return times, links, and what was dropped."""
    links = LINK_POINT.empty()
    if is_output(path):
        rows, dropped = parse_output(path)
        return rows, links, dropped
    text, n_cut = _text(path)
    if _is_summary(text):
        links, dropped = parse_summary(text, path.name)
        rows = []
    elif _is_times(text):
        rows, dropped = parse_times(text, path.name)
    else:
        rows, dropped = parse_log(text.splitlines())
    dropped["nccl_tests_cut"] = n_cut
    return rows, links, dropped


def _text(path: Path) -> tuple[str, int]:
    """Return the text of the file without empty lines, and whether it was cut; what is sound is kept."""
    text = bytearray()
    n_cut = n_line = 0
    try:
        for block in read_blocks(path):
            lines = EMPTY_LINES.sub(b"\n", block)
            n_line += lines.count(b"\n")
            text += lines
            n_rest = len(text) - text.rfind(b"\n")
            if n_rest > LONGEST_LINE:
                del text[-n_rest:]
            if n_rest > LONGEST_LINE or len(text) > MAX_TEXT_BYTES or n_line > MOST_LINES:
                n_cut = 1
                break
    except InputError:
        if not text:
            raise
        n_cut = 1
    return text.decode("utf-8", errors="replace"), n_cut


def _points(rows: list[Row]) -> pl.DataFrame:
    return COLLECTIVE_POINT.validate(
        pl.DataFrame(rows, schema=COLLECTIVE_POINT.schema, orient="row")
    )


def _is_summary(text: str) -> bool:
    return set(SUMMARY_COLUMNS) <= set(text.partition("\n")[0].strip().split(","))


def _is_times(text: str) -> bool:
    return set(TIMES_COLUMNS) <= set(text.partition("\n")[0].strip().split(","))
