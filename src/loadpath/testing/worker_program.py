"""Program of a job as an op table sees it: one worker per stage and replica, no host."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from loadpath.testing.program import Draft, Program, Task, add_task, finish_program
from loadpath.testing.schedule import Pass, pipeline_order
from loadpath.testing.shape import Shape, rank_of
from loadpath.units import NS_PER_S

__all__ = ["worker_program"]

TRANSFER_FACTOR = {
    "params-all-gather": 4.0,
    "grads-reduce-scatter": 6.0,
    "separate-grads-all-reduce": 1.0,
    "layernorm-grads-all-reduce": 0.2,
    "embedding-grads-all-reduce": 2.0,
    "optimizer-clip-main-grad": 0.3,
}
"""Length of each collective in units of one pipeline transfer."""

P2P = ("forward-send", "forward-recv", "backward-send", "backward-recv")


@dataclass(frozen=True, slots=True)
class _Worker:
    """One stage of one replica in one step, and the work of that stage."""

    shape: Shape
    step: int
    stage: int
    replica: int
    work: float

    def task(self, name: str, work_s: float, **labels: Any) -> Task:
        # Task of this worker, on the lane named after it unless said otherwise.
        rank = rank_of(self.shape, self.stage, self.replica)
        task = Task(rank, self.stage, self.replica, name, self.step, name, name, NS_PER_S * work_s)
        return task._replace(**labels)

    def transfer_s(self, name: str) -> float:
        # Mean transfer of a communication.
        unit = self.shape.forward_s * self.shape.transfer_ratio
        return unit * TRANSFER_FACTOR.get(name, 1.0)


def worker_program(shape: Shape, stage_work: Sequence[float]) -> Program:
    """Write the program of a pipeline and data-parallel job; every step begins at 0.

    Parameters
    ----------
    shape : Shape
        Size and habits of the job.
    stage_work : sequence of float
        Work of each stage relative to ``shape.forward_s``.

    Returns
    -------
    Program
        Tasks of all workers and steps.
    """
    draft = Draft()
    for step in range(shape.steps):
        for stage in range(shape.pp):
            for replica in range(shape.dp):
                _write_step(draft, _Worker(shape, step, stage, replica, stage_work[stage]))
    return finish_program(draft)


def _write_step(draft: Draft, worker: _Worker) -> None:
    shape = worker.shape
    order = pipeline_order(worker.stage, shape.pp, shape.microbatches, shape.vpp)
    gathered = _write_gathers(draft, worker)
    computed = _write_passes(draft, worker, order, gathered)
    p2p = _write_transfers if shape.p2p == "streams" else _write_batches
    p2p(draft, worker, order, computed)
    _write_end(draft, worker, order, computed)


def _write_gathers(draft: Draft, worker: _Worker) -> list[int]:
    # Parameters of each chunk are gathered, one chunk after the other.
    gathered: list[int] = []
    for chunk in range(worker.shape.vpp) if worker.shape.dp > 1 else ():
        task = _collective(worker, "params-all-gather", f"{worker.stage}/{chunk}", chunk)
        gathered.append(add_task(draft, task, gathered[-1:], _lag(worker)))
    return gathered


def _write_passes(
    draft: Draft, worker: _Worker, order: list[Pass], gathered: list[int]
) -> list[int]:
    # The chain of computations; the first forward of a chunk needs its parameters.
    count = {"forward": 0, "backward": 0}
    seen: set[int] = set()
    computed: list[int] = []
    for direction, chunk, microbatch in order:
        work_s = worker.shape.forward_s * worker.work / worker.shape.vpp
        task = worker.task(
            f"{direction}-compute",
            work_s * (1.0 if direction == "forward" else 2.0),
            lane="compute",
            kind="compute",
            sequence=count[direction],
            chunk=chunk,
            microbatch=microbatch,
            model_chunk=chunk * worker.shape.pp + worker.stage,
        )
        needs = computed[-1:] + (gathered[chunk : chunk + 1] if chunk not in seen else [])
        computed.append(add_task(draft, task, needs, _lag(worker)))
        count[direction] += 1
        seen.add(chunk)
    return computed


def _write_transfers(draft: Draft, worker: _Worker, order: list[Pass], computed: list[int]) -> None:
    """Four streams: a receive is posted after the previous computation of its direction."""
    n_warm_up = [unit.direction for unit in order].index("backward")
    early = computed[n_warm_up - 2] if n_warm_up >= 2 else -1
    for name in P2P:
        direction, verb = name.split("-")
        passes = [(u, c) for u, c in zip(order, computed, strict=True) if u.direction == direction]
        last, previous = -1, -1
        for sequence, (unit, compute) in enumerate(passes):
            if _recorded(worker, name, unit):
                needs = {last, compute if verb == "send" else previous}
                if sequence == 0 and direction == "backward":
                    needs.add(early)
                task = _transfer(worker, name, unit, sequence)
                last = add_task(draft, task, sorted(needs), _lag(worker))
                if verb == "recv":
                    draft.edges.append((last, compute, _lag(worker)))
            previous = compute


def _write_batches(draft: Draft, worker: _Worker, order: list[Pass], computed: list[int]) -> None:
    """Post what a computation sends and what the next one receives at once, and await it."""
    count = dict.fromkeys(P2P, 0)
    around = [(None, -1), *zip(order, computed, strict=True), (None, -1)]
    for (done, source), (coming, target) in pairwise(around):
        for unit, verb in ((done, "send"), (coming, "recv")):
            name = f"{unit.direction}-{verb}" if unit else ""
            if unit and _recorded(worker, name, unit):
                task = _transfer(worker, name, unit, count[name])
                posted = add_task(draft, task, (source,), _lag(worker))
                count[name] += 1
                if target >= 0:
                    draft.edges.append((posted, target, _lag(worker)))


def _write_end(draft: Draft, worker: _Worker, order: list[Pass], computed: list[int]) -> None:
    """Write what follows the last computation: gradients, clipping, optimiser."""
    shape, stage = worker.shape, worker.stage
    ends_pipe = stage in {0, shape.pp - 1}
    lag = _lag(worker)
    garbage = add_task(draft, worker.task("gc", 0.0, kind="compute"), computed[-1:], lag)
    overlapped = shape.overlap and shape.dp > 1
    reduced = _write_overlapped(draft, worker, order, computed) if overlapped else -1
    layernorm = worker.task(
        "layernorm-grads-all-reduce", worker.transfer_s("layernorm-grads-all-reduce")
    )
    chain = [layernorm]
    if ends_pipe:
        pair = f"{worker.replica}" if shape.pp > 1 else f"{worker.replica}/{stage}"
        chain.append(_collective(worker, "embedding-grads-all-reduce", pair))
    if overlapped:
        chain.append(_collective(worker, "separate-grads-all-reduce", f"{stage}"))
    elif shape.dp > 1:
        chain += [_reduce_scatter(worker, k) for k in range(shape.vpp)]
    chain.append(_collective(worker, "optimizer-clip-main-grad", ""))
    chain.append(worker.task("optimizer", 0.5 * shape.forward_s, kind="compute"))
    last = add_task(draft, chain[0], (garbage, reduced), lag)
    for task in chain[1:]:
        last = add_task(draft, task, (last,), lag)


def _write_overlapped(draft: Draft, worker: _Worker, order: list[Pass], computed: list[int]) -> int:
    # Gradients of a chunk are reduced after its last backward; the last reduction is returned.
    last_backward = {
        unit.chunk: task
        for unit, task in zip(order, computed, strict=True)
        if unit.direction == "backward"
    }
    reduced = -1
    for k in range(worker.shape.vpp):
        task = _reduce_scatter(worker, k)
        reduced = add_task(draft, task, (reduced, last_backward[task.chunk]), _lag(worker))
    return reduced


def _reduce_scatter(worker: _Worker, k: int) -> Task:
    # The k-th reduction: the last chunk finishes its backward first.
    chunk = worker.shape.vpp - 1 - k
    task = _collective(worker, "grads-reduce-scatter", f"{worker.stage}/{chunk}", chunk)
    return task._replace(sequence=k)


def _collective(worker: _Worker, name: str, group: str, chunk: int = -1) -> Task:
    return worker.task(
        name,
        worker.transfer_s(name),
        lane="data-parallel",
        group=f"{worker.step}/{name}/{group}",
        sequence=max(chunk, 0),
        chunk=chunk,
    )


def _transfer(worker: _Worker, name: str, unit: Pass, sequence: int) -> Task:
    # A send or receive; at the ends of an interleaved pipeline it moves nothing.
    here = unit.chunk * worker.shape.pp + worker.stage
    beyond = _neighbour(worker, name, unit)
    moves = 0 <= beyond < worker.shape.pp * worker.shape.vpp
    source = here if name.endswith("send") else beyond
    key = f"{worker.step}/{unit.direction}/{worker.replica}/{source}/{unit.microbatch}"
    return worker.task(
        name,
        worker.transfer_s(name) if moves else 0.0,
        kind="p2p" if moves else "idle-p2p",
        group=key if moves else "",
        sequence=sequence,
        microbatch=unit.microbatch,
    )


def _recorded(worker: _Worker, name: str, unit: Pass) -> bool:
    # Whether the recorder writes this transfer: interleaved schedules also log the empty ones.
    beyond = _neighbour(worker, name, unit)
    return worker.shape.vpp > 1 or 0 <= beyond < worker.shape.pp


def _neighbour(worker: _Worker, name: str, unit: Pass) -> int:
    # Chunk of the whole model at the other end of a transfer.
    ahead = name in {"forward-send", "backward-recv"}
    return unit.chunk * worker.shape.pp + worker.stage + (1 if ahead else -1)


def _lag(worker: _Worker) -> int:
    return round(NS_PER_S * worker.shape.lag_s)
