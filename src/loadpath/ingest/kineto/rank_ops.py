"""One trace to rows of the op table: lanes, kinds, steps, nesting."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadpath.decode.kinds import CATEGORIES, ON_DEVICE, STEP_MARK, kind_of
from loadpath.decode.nesting import enclosing
from loadpath.ingest.kineto.columns import NO_TIME, Columns
from loadpath.ingest.kineto.communications import Communication, collective_of, without_impossible
from loadpath.ingest.kineto.groups import RecordedGroup
from loadpath.ingest.kineto.lanes import BACKEND, is_nccl, number_lanes
from loadpath.ingest.kineto.synchronisations import Synchronisation
from loadpath.ingest.kineto.trace import Trace
from loadpath.tables import OP_KINDS

__all__ = ["RankOps", "rank_ops"]

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

MAX_DURATION_NS = 10**16
MAX_TIME_NS = 1 << 62
MAX_NUMBER = 1 << 31
NO_CORRELATION = 0
"""What CUPTI writes where it does not know the call."""
SORTED = ("start_ns", "duration_ns", "bytes", "correlation", "name", "external")
N_CATEGORY = len(CATEGORIES)
CPU_OP, ANNOTATION, RUNTIME, KERNEL, SYNC = (
    CATEGORIES.index(name) for name in ("cpu_op", "annotation", "runtime", "kernel", "sync")
)
DEVICE = tuple(CATEGORIES.index(name) for name in ON_DEVICE)


@dataclass(frozen=True, slots=True)
class RankOps:
    """Ops, lanes and steps of one trace, sorted by lane, start, and longest first.

    Attributes
    ----------
    rank, world_size, base_ns, host, device
        As in `Trace`.
    start_ns, duration_ns, bytes, correlation : (n,) arrays of int64
        As in table `OP`, on the common epoch.
    step : (n,) array of int64
        Step, -1 outside all steps.
    lane, parent : (n,) arrays of int32
        Lane, and enclosing row (-1 none).
    name, collective : (n,) arrays of int32
        Codes into `names` and `collectives`.
    external : (n,) array of int32
        Number of the operator (``External id``), -1 for none.
    kind : (n,) array of uint8
        Place in `OP_KINDS`.
    names, collectives : tuple of str
        What codes stand for.
    lanes : tuple of (str, str)
        Kind and name of each lane.
    steps : (n_step, 3) array of int64
        Step number, start and end in ns.
    said : dict of int to Communication
        What ops say about communications, by row.
    asked : tuple of (Synchronisation, int, int, int, int)
        Recorded synchronisations: facts, lane (-1 unknown), lane waited for, start and duration in
        ns.
    groups : tuple of RecordedGroup
        As in `Trace`.
    is_marked : bool
        The trace has step marks.
    doubts : tuple of (str, str, int)
        Code, text and count of everything dropped.
    """

    rank: int
    world_size: int
    base_ns: int
    host: str
    device: str
    start_ns: Int64Array
    duration_ns: Int64Array
    bytes: Int64Array
    correlation: Int64Array
    step: Int64Array
    lane: Int32Array
    parent: Int32Array
    name: Int32Array
    collective: Int32Array
    external: Int32Array
    kind: NDArray[np.uint8]
    names: tuple[str, ...]
    collectives: tuple[str, ...]
    lanes: tuple[tuple[str, str], ...]
    steps: Int64Array
    said: dict[int, Communication]
    asked: tuple[tuple[Synchronisation, int, int, int, int], ...]
    groups: tuple[RecordedGroup, ...]
    is_marked: bool
    doubts: tuple[tuple[str, str, int], ...]


def rank_ops(trace: Trace) -> RankOps:
    """Turn one trace into ops; its columns are given up on the way, to save memory.

    Parameters
    ----------
    trace : Trace
        Spans as recorded; without columns afterwards.

    Returns
    -------
    RankOps
        Its ops.
    """
    columns = trace.columns
    columns.external = _numbers(columns.external)
    is_mark, number = _marks(trace)
    lane_of, lanes = number_lanes(trace, is_mark)
    row, doubts = _sound_rows(trace, lane_of)
    said, impossible = _said(columns, row)
    asked = _asked(trace, lane_of)
    copied = {name: _sorted(columns, name, row) for name in SORTED}
    copied["start_ns"] += trace.base_ns
    copied["correlation"][copied["correlation"] == NO_CORRELATION] = -1
    copied["lane"] = lane_of[_sorted(columns, "lane", row)]
    what = (copied["name"], _sorted(columns, "category", row))
    steps = _steps(number[row], copied["start_ns"], copied["duration_ns"])
    collective, collectives = _collectives(trace, what, said)
    return RankOps(
        rank=trace.rank,
        world_size=trace.world_size,
        base_ns=trace.base_ns,
        host=trace.host,
        device=trace.device,
        **copied,
        step=_step_of(steps, copied, np.isin(what[1], DEVICE)),
        parent=enclosing(
            copied["lane"], copied["start_ns"], copied["start_ns"] + copied["duration_ns"]
        ),
        collective=collective,
        kind=_kinds(trace, what, lanes, copied["lane"]),
        names=trace.names,
        collectives=collectives,
        lanes=lanes,
        steps=steps,
        said=said,
        asked=asked,
        groups=trace.groups,
        is_marked=bool((number[row] >= 0).any()),
        doubts=(*trace.doubts, *doubts, _odd_marks(trace), impossible),
    )


def _numbers(external: Any) -> Any:
    """Keep numbers of operators that can be meant, in half the memory."""
    sound = (external >= 0) & (external < MAX_NUMBER)
    return np.where(sound, external, -1).astype(np.int32)


def _sorted(columns: Columns, name: str, row: Int64Array) -> Any:
    """Rows of a column in order; the column as recorded is given up."""
    values = getattr(columns, name)[row]
    setattr(columns, name, None)
    return values


def _marks(trace: Trace) -> tuple[BoolArray, Int64Array]:
    """Tell which spans mark steps, and of which number; -1 for all others."""
    category = trace.columns.category
    can_mark = (category == ANNOTATION) | (category == CPU_OP)
    number = np.where(can_mark, _step_numbers(trace.names)[trace.columns.name], -1)
    return number >= 0, number


def _step_numbers(names: tuple[str, ...]) -> Int64Array:
    found = (STEP_MARK.match(name) for name in names)
    return np.array([int(match[1]) if match else -1 for match in found], np.int64)


def _odd_marks(trace: Trace) -> tuple[str, str, int]:
    odd = [n for n in trace.names if n.startswith("ProfilerStep#") and not STEP_MARK.match(n)]
    return "odd_step_marks", "step marks whose number is unusable", len(odd)


def _kinds(
    trace: Trace, what: tuple[Int32Array, NDArray[np.int8]],
    lanes: tuple[tuple[str, str], ...], lane: Int32Array
) -> NDArray[np.uint8]:  # fmt: skip
    """Kind by name and category; communication by its kernel, or its thread."""
    name, category = what
    pair = name.astype(np.int64) * N_CATEGORY + category
    code = np.zeros(len(trace.names) * N_CATEGORY, np.uint8)
    code[pair] = 1
    for value in np.flatnonzero(code).tolist():
        text, read = trace.names[value // N_CATEGORY], CATEGORIES[value % N_CATEGORY]
        code[value] = OP_KINDS.index(kind_of(text, read))
    kind: NDArray[np.uint8] = code[pair]
    threads = np.array([k == "communication" for k, _ in lanes], np.bool_)
    talks = (category == KERNEL) & is_nccl(trace.names)[name]
    kind[talks | (threads[lane] & (category == ANNOTATION))] = OP_KINDS.index("communicate")
    return kind


def _collectives(
    trace: Trace, what: tuple[Int32Array, NDArray[np.int8]], said: dict[int, Communication]
) -> tuple[Int32Array, tuple[str, ...]]:
    """Name collectives, by the span or by what its arguments say."""
    name, category = what
    nccl = is_nccl(trace.names)
    codes = {"": 0}
    by_name = np.zeros(len(trace.names), np.int32)
    for i, text in enumerate(trace.names):
        if nccl[i] or text.startswith((*BACKEND, "c10d::")):
            by_name[i] = codes.setdefault(collective_of(text), len(codes))
    collective = by_name[name]
    for row, fact in said.items():
        if fact.collective and category[row] != RUNTIME:
            collective[row] = codes.setdefault(fact.collective, len(codes))
    return collective, tuple(codes)


def _said(
    columns: Columns, row: Int64Array
) -> tuple[dict[int, Communication], tuple[str, str, int]]:
    """Collect what sorted rows say, and count what of it was impossible."""
    told = np.fromiter(columns.said, np.int64, len(columns.said))
    back = np.full(columns.start_ns.size, -1, np.int32)
    back[row] = np.arange(row.size)
    facts = {i: without_impossible(columns.said[i]) for i in told.tolist()}
    n_impossible = sum(fact is not columns.said[i] for i, fact in facts.items())
    placed = sorted((int(back[i]), i) for i in facts)
    doubt = (
        "impossible_group",
        "ranks, sizes or payloads that no job has are ignored",
        n_impossible,
    )
    return {place: facts[i] for place, i in placed if place >= 0}, doubt


def _asked(
    trace: Trace, lane_of: Int32Array
) -> tuple[tuple[Synchronisation, int, int, int, int], ...]:
    columns = trace.columns
    stream = {key[1:]: int(lane_of[i]) for i, key in enumerate(trace.lanes) if key[0]}
    rows = []
    for row, fact in sorted(columns.asked.items()):
        start, duration = int(columns.start_ns[row]), int(columns.duration_ns[row])
        lane = stream.get((fact.device, fact.stream), -1)
        source = stream.get((fact.device, fact.source), -1)
        rows.append((fact, lane, source, start + trace.base_ns, duration))
    return tuple(rows)


def _sound_rows(
    trace: Trace, lane_of: Int32Array
) -> tuple[Int64Array, tuple[tuple[str, str, int], ...]]:
    """Rows with sound times, sorted by lane, start and longest first."""
    columns = trace.columns
    start, duration = columns.start_ns, columns.duration_ns
    bad = (start == NO_TIME) | (duration == NO_TIME) | (duration > MAX_DURATION_NS)
    latest = np.where(bad, 0, start).astype(np.float64) + trace.base_ns
    bad |= (np.abs(latest) > MAX_TIME_NS) | (latest + duration > MAX_TIME_NS)
    negative = ~bad & (duration < 0)
    sound = np.flatnonzero(~bad & ~negative & (columns.category != SYNC))
    order = np.lexsort((-duration[sound], start[sound], lane_of[columns.lane[sound]]))
    doubts = (
        ("bad_times", "events dropped, their times are no times", int(bad.sum())),
        ("negative_durations", "events dropped, they end too early", int(negative.sum())),
    )
    return sound[order], doubts


def _steps(number: Int64Array, start: Int64Array, duration: Int64Array) -> Int64Array:
    """Take steps from marks; the whole trace is one step where it has none."""
    mark = np.flatnonzero(number >= 0)
    if not mark.size:
        whole = [[0, int(start.min()), int((start + duration).max())]] if start.size else []
        return np.array(whole, np.int64).reshape(-1, 3)
    mark = mark[np.argsort(start[mark], kind="stable")]
    _, first = np.unique(number[mark], return_index=True)
    mark = mark[np.sort(first)]
    return np.stack([number[mark], start[mark], start[mark] + duration[mark]], axis=1)


def _step_of(steps: Int64Array, ops: dict[str, Any], on_device: BoolArray) -> Int64Array:
    """Step by start on the host; a device op belongs to the step of the call that launched it."""
    start, correlation = ops["start_ns"], ops["correlation"]
    if not steps.size:
        return np.full(start.size, -1, np.int64)
    place = np.searchsorted(steps[:, 1], start, "right") - 1
    step = np.where((place < 0) | (start >= steps[-1, 2]), -1, steps[place, 0])
    call = np.flatnonzero(~on_device & (correlation >= 0))
    launched = np.flatnonzero(on_device & (correlation >= 0))
    call = call[np.argsort(correlation[call], kind="stable")]
    if call.size and launched.size:
        found = np.searchsorted(correlation[call], correlation[launched])
        found = np.minimum(found, call.size - 1)
        same = correlation[call[found]] == correlation[launched]
        step[launched[same]] = step[call[found[same]]]
    return step
