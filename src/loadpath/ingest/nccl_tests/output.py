"""JSON output of nccl-tests (``-J FILE``, since October 2025; versions 1 to 3 of the file): one run."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from loadpath.decode import Chunk, Envelope, array_chunks, first_block, read_blocks
from loadpath.ingest.nccl_tests.log import COLLECTIVE_BY_TEST, LONGEST_US, TEST, Row, agrees

__all__ = ["is_output", "parse_output"]

HEAD_BYTES = 4096
HEAD = re.compile(rb'\s*\{\s*"version"\s*:\s*\d+\s*,\s*"start_time"\s*:[^{}\[]*"args"\s*:\s*\[')
BAD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
MOST_RANKS = 1 << 24
MOST_BYTES = 1 << 62
MOST_ROWS = 1 << 20
"""What goes beyond is no output: what came before is kept."""


class _Device(msgspec.Struct, frozen=True):
    rank: int
    hostname: str
    group: int = 0


class _Config(msgspec.Struct, frozen=True):
    devices: list[_Device]
    nthreads: int = 1
    ngpus: int = 1


class _Head(msgspec.Struct, frozen=True):
    args: list[str]
    config: _Config


class _Timing(msgspec.Struct, frozen=True):
    alg_bw: float | str
    bus_bw: float | str
    time: float | str | None = None
    cpu_time: float | str | None = None
    nwrong: float | str | None = None


class _Result(msgspec.Struct, frozen=True):
    size: int
    out_of_place: _Timing | None = None
    in_place: _Timing | None = None


def is_output(path: Path) -> bool:
    """Tell JSON output of nccl-tests by its first keys.

    Parameters
    ----------
    path : Path
        File, gzipped or not.

    Returns
    -------
    bool
        False too for a file that cannot be read: another reader says why.
    """
    return HEAD.match(first_block(path, HEAD_BYTES)) is not None


def parse_output(path: Path) -> tuple[list[Row], Counter[str]]:
    """Read the times of a run from its JSON output; variables of its environment are not kept.

    Parameters
    ----------
    path : Path
        File for which `is_output` holds.

    Returns
    -------
    list of Row
        Times in the order of the file.
    Counter
        What was dropped, by caveat code.
    """
    dropped: Counter[str] = Counter()
    results: list[_Result] = []
    envelope = Envelope(found=False, text=b"")
    for part in array_chunks(read_blocks(path), "results"):
        if isinstance(part, Envelope):
            envelope = part
            continue
        for found in _results(part):
            dropped["damaged_row"] += found is None
            results += [found] if found else []
        if len(results) > MOST_ROWS:
            dropped["nccl_tests_cut"] = 1
            break
    dropped["nccl_tests_cut"] |= bool(envelope.damage)
    run = _run(envelope.text)
    if run is None:
        return [], dropped + Counter(run_unknown=len(results))
    return [row for result in results for row in _rows(result, run, dropped)], dropped


def _results(chunk: Chunk) -> Iterator[_Result | None]:
    """Results of a chunk, None for what is none."""
    for piece in chunk.pieces():
        try:
            yield msgspec.json.decode(piece, type=_Result)
        except BAD:
            yield None


def _run(text: bytes) -> tuple[str, int, int] | None:
    """Tell collective, ranks and nodes of the run; None where they are not told."""
    try:
        head = msgspec.json.decode(text, type=_Head)
    except BAD:
        return None
    test = TEST.search(head.args[0]) if head.args else None
    devices, per_process = head.config.devices, head.config.nthreads * head.config.ngpus
    # a process with several devices lists its first alone
    ranks = [device.rank for device in devices]
    is_first = ranks == list(range(0, len(ranks) * per_process, max(1, per_process)))
    if not test or not 0 < len(ranks) * per_process <= MOST_RANKS:
        return None
    if not is_first and ranks != list(range(len(ranks))):
        return None
    together = [device.hostname for device in devices if device.group == devices[0].group]
    n_rank = len(together) * (per_process if is_first else 1)
    return COLLECTIVE_BY_TEST[test[1]], n_rank, len(set(together))


def _rows(result: _Result, run: tuple[str, int, int], dropped: Counter[str]) -> Iterator[Row]:
    collective, n_rank, n_node = run
    for in_place, timing in enumerate((result.out_of_place, result.in_place)):
        if timing is None:
            continue
        if timing.cpu_time is not None:
            dropped["host_times"] += 1
            continue
        told = _number(timing.time), _number(timing.alg_bw), _number(timing.bus_bw)
        if not 0 < result.size < MOST_BYTES or not agrees(result.size, told, collective, n_rank):
            dropped["contradicted_row"] += 1
            continue
        wrong = None if _number(timing.nwrong) < 0 else round(_number(timing.nwrong))
        dropped["wrong_results"] += bool(wrong)
        ns = round(told[0] * 1000)
        yield Row(collective, result.size, n_rank, n_node, ns, bool(in_place), wrong)


def _number(value: Any) -> float:
    """Read a number; -1 for what is none, such as the text "nan"."""
    return float(value) if isinstance(value, (int, float)) and abs(value) < LONGEST_US else -1.0
