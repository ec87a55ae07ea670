"""Program of a job as Kineto sees it: every rank with its host thread, kernels and streams."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from loadpath.testing.program import (
    Draft,
    Program,
    Task,
    add_task,
    finish_program,
    wait_until,
)
from loadpath.testing.schedule import Pass, pipeline_order
from loadpath.testing.shape import Shape, rank_of, recorded_ranks
from loadpath.units import NS_PER_S

__all__ = ["device_program"]

PREPARE_NS, LAUNCH_NS, GAP_NS, LATENCY_NS = 8_000, 10_000, 4_000, 6_000
"""Host call up to its launch, launch and return, python between calls, launch to device."""

LOAD_NS, AWAIT_NS, COPY_NS = 300_000, 2_000, 20_000
"""Fetching a batch, telling one stream to wait for another, copying the batch to the device."""

BOUND_RATIO = 0.3
"""Kernel time over host time of a launch-bound job."""

P2P = ("forward-send", "forward-recv", "backward-send", "backward-recv")

CALLS = {"send": "c10d::send", "recv": "c10d::recv_"}
"""What asks for an end of a transfer."""

LAYER = {
    "forward": (
        ("aten::native_layer_norm", 0.06),
        ("aten::mm", 0.55),
        ("aten::gelu", 0.09),
        ("aten::addmm", 0.30),
    ),
    "backward": (
        ("aten::mm", 0.80),
        ("aten::mm", 0.80),
        ("aten::gelu_backward", 0.20),
        ("aten::native_layer_norm_backward", 0.20),
    ),
}
"""Kernels of a layer and their work in units of its forward pass."""


@dataclass(slots=True)
class _Rank:
    """Where the writing of one rank's program stands: last task of each lane, number of calls."""

    draft: Draft
    shape: Shape
    rank: int
    stage: int
    replica: int
    peer: int
    kernel_ns: float
    step: int = 0
    last: dict[str, int] = field(default_factory=dict)
    awaited: list[int] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)


class _End(NamedTuple):
    """One end of a transfer: of which pass, ``send`` or ``recv``, and the stage at the other end."""

    unit: Pass
    verb: str
    stage: int


def device_program(shape: Shape, stage_work: Sequence[float]) -> Program:
    """Write the program of all ranks, host threads and streams; steps follow each other.

    Parameters
    ----------
    shape : Shape
        Size and habits of the job.
    stage_work : sequence of float
        Work of each stage relative to ``shape.forward_s``.

    Returns
    -------
    Program
        Tasks of all ranks.
    """
    draft = Draft()
    for number, stage, replica, peer in recorded_ranks(shape):
        kernel_ns = _forward_ns(shape) * stage_work[stage] / shape.layers
        rank = _Rank(draft, shape, number, stage, replica, peer, kernel_ns)
        for step in range(shape.steps):
            rank.step = step
            _write_step(rank)
    return finish_program(draft)


def _forward_ns(shape: Shape) -> float:
    # Forward time of a stage; so short in a launch-bound job that the host sets the pace.
    n_calls = shape.layers * len(LAYER["forward"])
    host_ns = (PREPARE_NS + LAUNCH_NS + GAP_NS) * n_calls
    return BOUND_RATIO * host_ns if shape.launch_bound else NS_PER_S * shape.forward_s


def _write_step(rank: _Rank) -> None:
    """Fetch a batch, run the pipeline, reduce gradients, optimise, wait for the device."""
    shape = rank.shape
    _host(rank, "input", "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__", LOAD_NS)
    _launch(rank, _task(rank, "compute", "copy", name="aten::copy_", work_ns=COPY_NS))
    order = pipeline_order(rank.stage, shape.pp, shape.microbatches)
    passes = _pass_by_pass if shape.p2p == "streams" else _in_batches
    reduced = passes(rank, order)
    if reduced:
        _await(rank, reduced)
    if shape.pp > 1:
        norm_ns = 0.1 * rank.kernel_ns * shape.layers
        _launch(
            rank, _task(rank, "compute", "compute", name="aten::_foreach_norm", work_ns=norm_ns)
        )
        _await(rank, [_collective(rank, "world", 0.1)])
    optimise_ns = 0.5 * rank.kernel_ns * shape.layers
    _launch(
        rank, _task(rank, "compute", "compute", name="aten::_fused_adamw_", work_ns=optimise_ns)
    )
    sync = _host(rank, "sync", "cudaDeviceSynchronize", AWAIT_NS)
    wait_until(rank.draft, sync, [task for lane, task in rank.last.items() if lane != "host"])


def _pass_by_pass(rank: _Rank, order: list[Pass]) -> list[int]:
    # Receive, compute, send, each on its own; the gradient reductions begun are returned.
    reduced: list[int] = []
    for unit in order:
        for end in _taken(rank, unit):
            _await(rank, [_launch(rank, _transfer(rank, end))])
        reduced += _compute(rank, unit)
        for end in _given(rank, unit):
            _launch(rank, _transfer(rank, end))
    return reduced


def _in_batches(rank: _Rank, order: list[Pass]) -> list[int]:
    # What a pass gives and what the next one takes are one batch, which all after it waits for.
    _launch_batch(rank, _taken(rank, order[0]))
    reduced: list[int] = []
    for unit, then in zip(order, [*order[1:], None], strict=True):
        reduced += _compute(rank, unit)
        _launch_batch(rank, _given(rank, unit) + (_taken(rank, then) if then else []))
    return reduced


def _taken(rank: _Rank, unit: Pass) -> list[_End]:
    stage = rank.stage - _ahead(unit)
    return [_End(unit, "recv", stage)] if 0 <= stage < rank.shape.pp else []


def _given(rank: _Rank, unit: Pass) -> list[_End]:
    stage = rank.stage + _ahead(unit)
    return [_End(unit, "send", stage)] if 0 <= stage < rank.shape.pp else []


def _ahead(unit: Pass) -> int:
    return 1 if unit.direction == "forward" else -1


def _compute(rank: _Rank, unit: Pass) -> list[int]:
    # Compute layer by layer; the last backward pass reduces gradients.
    shape = rank.shape
    ends = unit.direction == "backward" and unit.microbatch == shape.microbatches - 1
    reduce = ends and shape.dp > 1
    reduced: list[int] = []
    for _ in range(shape.layers):
        for name, work in LAYER[unit.direction]:
            task = _task(rank, "compute", "compute", name=name, work_ns=work * rank.kernel_ns)
            _launch(rank, task._replace(microbatch=unit.microbatch))
        if shape.tp > 1:
            group = f"tensor/{rank.stage}/{rank.replica}"
            _await(rank, [_collective(rank, group, 0.5)])
        if reduce and shape.overlap:
            reduced.append(_reduce(rank))
    if reduce and not shape.overlap:
        reduced = [_reduce(rank) for _ in range(shape.layers)]
    return reduced


def _reduce(rank: _Rank) -> int:
    return _collective(rank, f"data/{rank.stage}/{rank.peer}", 2.0)


def _collective(rank: _Rank, communicator: str, factor: float) -> int:
    # All-reduce of a process group, after what its stream and the compute stream hold.
    lane = communicator.split("/", maxsplit=1)[0]
    sequence = rank.calls.get(communicator, 0)
    rank.calls[communicator] = sequence + 1
    task = _task(
        rank, lane, "all_reduce", name="c10d::allreduce_", work_ns=factor * _transfer_ns(rank)
    )
    key = f"{communicator}/{sequence}"
    return _launch(rank, task._replace(group=key, communicator=communicator, sequence=sequence))


def _transfer(rank: _Rank, end: _End) -> Task:
    # Point-to-point transfer with the same peer of another stage.
    communicator = f"pipeline/{rank.replica}/{rank.peer}"
    unit = end.unit
    source = rank.stage if end.verb == "send" else end.stage
    sequence = rank.calls.get(communicator, 0)
    rank.calls[communicator] = sequence + 1
    name, lane = CALLS[end.verb], f"{unit.direction}-{end.verb}"
    task = _task(rank, lane, "p2p", name=name, work_ns=_transfer_ns(rank))
    return task._replace(
        group=f"{communicator}/{rank.step}/{unit.direction}/{source}/{unit.microbatch}",
        communicator=communicator,
        sequence=sequence,
        microbatch=unit.microbatch,
        peer=rank_of(rank.shape, end.stage, rank.replica, rank.peer),
    )


def _transfer_ns(rank: _Rank) -> float:
    return _forward_ns(rank.shape) * rank.shape.transfer_ratio


def _launch(rank: _Rank, task: Task) -> int:
    # Launch a device task from the host; it starts in order of its stream. An event of the compute
    # stream stands behind what that stream was told to wait for, so all lanes wait for it.
    prepared = _host(rank, "host", task.name, PREPARE_NS)
    launch = _host(rank, "launch", task.name, LAUNCH_NS, gap_ns=0)
    needs = {rank.last.get(task.lane, -1), rank.last.get("compute", -1), *rank.awaited}
    if task.lane == "compute":
        rank.awaited = []
    number = add_task(rank.draft, task._replace(launcher=launch), sorted(needs))
    rank.draft.edges.append((prepared, number, LATENCY_NS))
    rank.last[task.lane] = number
    return number


def _launch_batch(rank: _Rank, ends: list[_End]) -> None:
    """Ask for transfers one by one, launch them at once, and let the compute stream wait for all."""
    if not ends:
        return
    asked = [_host(rank, "ask", CALLS[end.verb], PREPARE_NS) for end in ends]
    launch = _host(rank, "launch-batch", "nccl:coalesced", LAUNCH_NS, gap_ns=0)
    before = {rank.last.get(lane, -1) for lane in (*P2P, "compute")} | set(rank.awaited)
    numbers = []
    for end in ends:
        task = _transfer(rank, end)._replace(launcher=launch)
        numbers.append(add_task(rank.draft, task, sorted(before)))
        rank.draft.edges.append((asked[-1], numbers[-1], LATENCY_NS))
        rank.last[task.lane] = numbers[-1]
    _await(rank, numbers[:1])
    rank.awaited += numbers[1:]


def _await(rank: _Rank, communications: list[int]) -> None:
    """Tell the compute stream to wait for communications."""
    for communication in communications:
        _host(rank, "await", "cudaStreamWaitEvent", AWAIT_NS, launcher=communication)
    rank.awaited += communications


def _host(
    rank: _Rank, kind: str, name: str, work_ns: float, *, gap_ns: int = GAP_NS, launcher: int = -1
) -> int:
    # Next call of the host thread.
    task = _task(rank, "host", kind, name=name, work_ns=work_ns)._replace(launcher=launcher)
    number = add_task(rank.draft, task, (rank.last.get("host", -1),), gap_ns)
    rank.last["host"] = number
    return number


def _task(rank: _Rank, lane: str, kind: str, *, name: str, work_ns: float) -> Task:
    return Task(rank.rank, rank.stage, rank.replica, lane, rank.step, kind, name, work_ns)
