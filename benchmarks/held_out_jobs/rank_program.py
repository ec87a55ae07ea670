"""What one rank of a training job does: its host threads, launches, kernels and communications."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from held_out_jobs.arguments import Part, arguments
from held_out_jobs.machine import Loop, Meeting, Stream, Work
from held_out_jobs.plan import Plan, group_of, lengths_of, place_of, rank_at

__all__ = [
    "Cluster",
    "Rank",
    "Span",
    "begin_step",
    "communicate",
    "launch",
    "schedule",
    "synchronise",
    "train",
    "wait_for",
]

Event = tuple[Work, int, str]
"""A work, the call that recorded its end, and its stream."""

FORWARD = (
    ("aten::layer_norm", "aten::native_layer_norm", 0.15, "vectorized_layer_norm_kernel<c10::BFloat16>"),
    ("aten::linear", "aten::addmm", 1.00, "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64"),
    ("flash_attn::_flash_attn_forward", "", 0.90, "flash_fwd_kernel<Flash_fwd_kernel_traits<128, 128>>"),
    ("aten::linear", "aten::addmm", 0.50, "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64"),
    ("tp", "", 0.45, ""),
    ("aten::linear", "aten::addmm", 1.80, "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize256x128x64"),
    ("aten::gelu", "", 0.25, "vectorized_elementwise_kernel<4, GeluCUDAKernelImpl>"),
    ("aten::linear", "aten::addmm", 1.75, "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize256x128x64"),
    ("tp", "", 0.45, ""),
)  # fmt: skip
"""Calls of a layer: outer call, inner call, work in kernels, kernel."""
BACKWARD = tuple(
    (f"autograd::engine::evaluate_function: {outer.rsplit('::', 1)[-1]}Backward0", inner, 2.0 * work, f"{kernel}_bwd")
    if outer != "tp" else (outer, inner, work, kernel)
    for outer, inner, work, kernel in reversed(FORWARD)
)  # fmt: skip
NCCL = {
    "all_reduce": ("allreduce", "c10d::allreduce_", "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)"),
    "all_gather": ("_allgather_base", "c10d::_allgather_base_", "ncclDevKernel_AllGather_RING_LL(ncclDevKernelArgsStorage<4096ul>)"),
    "reduce_scatter": ("_reduce_scatter_base", "c10d::_reduce_scatter_base_", "ncclDevKernel_ReduceScatter_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)"),
    "all_to_all": ("all_to_allv", "c10d::alltoall_base_", "ncclDevKernel_SendRecv(ncclDevKernelArgsStorage<4096ul>)"),
    "send": ("send", "c10d::send", "ncclDevKernel_SendRecv(ncclDevKernelArgsStorage<4096ul>)"),
    "recv": ("recv", "c10d::recv_", "ncclDevKernel_SendRecv(ncclDevKernelArgsStorage<4096ul>)"),
}  # fmt: skip
"""Name in arguments, call, and kernel of each collective."""
DATA_LOADER = "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"
TRANSFER = {"tp": 0.45, "dp": 1.6, "pp": 0.5, "world": 0.15}
"""Transfer of each kind of group in kernels."""


PAUSED_RATIO = 0.004
"""Share of pieces of host work in which a pausing host pauses."""

PIECES = 200
"""A rare pause comes within so many pieces of host work from the beginning of a step."""


@dataclass(slots=True)
class Span:
    """Something to be written into a trace."""

    category: str
    name: str
    lane: int
    start: int
    end: int
    args: dict[str, Any]
    work: Work | None = None


@dataclass(slots=True)
class Cluster:
    """What ranks share: the loop, and the communications under way."""

    plan: Plan
    loop: Loop
    meetings: dict[tuple[Any, ...], Meeting] = field(default_factory=dict)

    def meeting(self, members: tuple[int, ...], what: str, number: int, mean_ns: float) -> Meeting:
        """Find or open the communication that all members name alike."""
        key = (members, what, number)
        if key not in self.meetings:
            plan, fault = self.plan, self.plan.fault
            code = sum(ord(letter) for letter in what)
            rng = np.random.default_rng([plan.seed, 7, members[0], members[-1], code, number])
            slow = fault.size if fault.kind == "link" and set(fault.link) == set(members) else 0.0
            length = mean_ns * (1 + slow) * rng.lognormal(0.0, plan.noise)
            self.meetings[key] = Meeting(len(members), int(length) + 4_000)
        return self.meetings[key]


@dataclass(slots=True)
class Rank:
    """One rank while it runs: where its host clock stands, its streams, and what it records."""

    cluster: Cluster
    rank: int
    now: int
    thread: int
    draws: Iterator[float]
    pauses: np.random.Generator
    spans: list[Span] = field(default_factory=list)
    streams: dict[str, Stream] = field(default_factory=dict)
    numbers: dict[tuple[str, tuple[int, ...]], int] = field(default_factory=dict)
    correlation: int = 1_000
    external: int = 0
    factor: float = 1.0
    step: int = 0
    pause_ns: float = 0.0
    pause_after: int = -1

    def take(self, mean_ns: float) -> int:
        """Draw how long a piece of host work lasts, and let it pass."""
        length = int(mean_ns * (0.8 + 0.2 * next(self.draws) ** 2))
        if self.pause_ns and self.pauses.random() < PAUSED_RATIO:
            length += int(self.pauses.gamma(2.0, self.pause_ns / 2.0))
        if self.pause_after == 0:
            length += int(self.cluster.plan.fault.size * 1e6)
        self.pause_after -= 1
        self.now += length
        return length

    def stream(self, name: str) -> Stream:
        """Find or make a stream."""
        if name not in self.streams:
            number = 7 if name == "compute" else 16 + 4 * len(self.streams)
            self.streams[name] = Stream(self.cluster.loop, number)
        return self.streams[name]

    def span(self, category: str, name: str, start: int, **args: Any) -> Span:
        """Record a host span that ends now."""
        self.external += 1
        made = Span(
            category, name, self.thread, start, self.now, {"External id": self.external, **args}
        )
        self.spans.append(made)
        return made

    def call(self, name: str, mean_ns: float = 1_500.0, **args: Any) -> int:
        """Make a runtime call; returns its correlation."""
        start = self.now
        self.take(mean_ns)
        self.correlation += 1
        self.span("cuda_runtime", name, start, correlation=self.correlation, cbid=211, **args)
        return self.correlation


def train(rank: Rank) -> Generator[list[Work], int, None]:
    """Run all steps of one rank."""
    plan = rank.cluster.plan
    stage, replica, _ = place_of(plan, rank.rank)
    lengths = lengths_of(plan)
    noise = np.random.default_rng([plan.seed, 3, rank.rank])
    for step in range(plan.steps):
        begin = rank.now
        begin_step(
            rank, step, plan.stage_work[stage] * float(np.exp(noise.normal(0, plan.noise / 4)))
        )
        reduced: list[Work] = []
        for direction, number in schedule(plan, stage):
            length = float(lengths[step, replica, number])
            last = direction == "backward" and number == plan.microbatches - 1
            if plan.fault.kind == "stall" and last:
                rank.now += int(plan.fault.size * 1e6)
            reduced += _microbatch(rank, direction, length, reduce=last)
        yield from _finish_step(rank, reduced, is_last=step == plan.steps - 1)
        rank.take(20_000)
        name = f"ProfilerStep#{step + 5}"
        rank.spans.append(Span("user_annotation", name, 1, begin, rank.now, {}))
        rank.take(8_000)


def begin_step(rank: Rank, step: int, factor: float) -> None:
    """Set how fast the rank is in this step, and fetch a batch."""
    plan = rank.cluster.plan
    stage, _, _ = place_of(plan, rank.rank)
    rank.step = step
    rank.factor = factor * (1 + _device_excess(plan, rank.rank, stage, step))
    rank.pause_ns = _pause_ns(plan, rank.rank, step)
    fault = plan.fault
    if fault.kind == "rare pauses" and rank.rank in fault.ranks and step in fault.steps:
        rank.pause_after = int(rank.pauses.integers(PIECES))
    _load(rank)


def _device_excess(plan: Plan, rank: int, stage: int, step: int) -> float:
    fault = plan.fault
    if fault.steps and step not in fault.steps:
        return 0.0
    slow = fault.kind in {"rank", "host"} and rank in fault.ranks
    return fault.size if slow or (fault.kind == "stage" and fault.stage == stage) else 0.0


def _pause_ns(plan: Plan, rank: int, step: int) -> float:
    fault = plan.fault
    on = not fault.steps or step in fault.steps
    return fault.size * 1e6 if fault.kind == "pauses" and rank in fault.ranks and on else 0.0


def schedule(plan: Plan, stage: int) -> list[tuple[str, int]]:
    """One forward, one backward: warm-up, steady state, cool-down."""
    ahead = min(plan.pp - stage - 1, plan.microbatches)
    order = [("forward", m) for m in range(ahead)]
    for m in range(plan.microbatches - ahead):
        order += [("forward", m + ahead), ("backward", m)]
    return order + [("backward", m) for m in range(plan.microbatches - ahead, plan.microbatches)]


def _load(rank: Rank) -> None:
    """Fetch a batch and copy it to the device."""
    fault = rank.cluster.plan.fault
    start = rank.now
    rank.take(250_000)
    if fault.kind == "input" and rank.rank in fault.ranks:
        rank.now += int(fault.size * 1e6 * (0.8 + 0.4 * rank.pauses.random()))
    rank.span("user_annotation", DATA_LOADER, start)
    launch(rank, ("aten::to", "aten::copy_", "Memcpy HtoD (Pinned -> Device)"), 0.1)


def launch(rank: Rank, calls: Sequence[str], work: float, **args: Any) -> Work:
    """Make the calls around one kernel and launch it."""
    outer, inner, name = calls
    begin = rank.now
    rank.take(5_000)
    inside = rank.now
    rank.take(4_000)
    is_copy = name.startswith("Memcpy")
    length = rank.cluster.plan.kernel_us * 1e3 * work * rank.factor
    noise = np.exp(rank.cluster.plan.noise * next(rank.draws))
    done = _enqueue(rank, "cudaMemcpyAsync" if is_copy else "cudaLaunchKernel", "compute", name,
                   length=int(length * noise) + 1_500)  # fmt: skip
    rank.take(1_500)
    if inner:
        rank.span("cpu_op", inner, inside, **args)
    rank.take(1_500)
    rank.span("cpu_op", outer, begin, **args)
    rank.take(2_000)
    return done


def _enqueue(rank: Rank, call: str, stream: str, name: str, *, length: int = 0,
            meeting: Meeting | None = None, **args: Any) -> Work:  # fmt: skip
    start = rank.now
    correlation = rank.call(call, 6_000)
    latency = 3_500 + int(700 * next(rank.draws) ** 2)
    tail = int(400 * next(rank.draws) ** 2)
    work = Work("kernel", start + latency, length, meeting, tail_ns=tail)
    lane = rank.stream(stream)
    lane.push(work)
    category = "gpu_memcpy" if name.startswith("Memcpy") else "kernel"
    facts = {"stream": lane.number, "correlation": correlation, "device": rank.rank % 8, **args}
    rank.spans.append(Span(category, name, lane.number, 0, 0, facts, work))
    return work


def _wait_event(rank: Rank, stream: str, event: Event) -> None:
    """Make a stream wait for an event of another; the profiler may write that down."""
    awaited, recorded, source = event
    start = rank.now
    correlation = rank.call("cudaStreamWaitEvent", 1_200)
    lane = rank.stream(stream)
    lane.push(Work("wait", start, awaited=awaited))
    facts = {
        "cuda_sync_kind": "Stream Wait Event", "stream": lane.number, "correlation": correlation,
        "device": rank.rank % 8, "context": 1, "wait_on_stream": rank.stream(source).number,
        "wait_on_cuda_event_record_corr_id": recorded, "wait_on_cuda_event_id": recorded % 97,
    }  # fmt: skip
    rank.spans.append(Span("cuda_sync", "Stream Wait Event", lane.number, start, rank.now, facts))


def communicate(rank: Rank, kind: str, collective: str, size: float, *, peer: int = -1) -> Event:  # fmt: skip
    """Queue a communication behind what the compute stream has been given so far."""
    plan = rank.cluster.plan
    members = group_of(plan, kind, rank.rank)
    pair = members if peer < 0 else tuple(sorted((rank.rank, peer)))
    what = collective
    if peer >= 0:
        upward = (peer > rank.rank) == (collective == "send")
        what = "up" if upward else "down"
    stream = kind if peer < 0 else f"{kind}{pair}{what}"
    number = rank.numbers[what, pair] = rank.numbers.get((what, pair), -1) + 1
    own = rank.numbers[kind, members] = rank.numbers.get((kind, members), 0) + 1
    meeting = rank.cluster.meeting(pair, what, number, plan.kernel_us * 1e3 * size)
    label, call, kernel = NCCL[collective]
    facts = arguments(plan, rank.rank, Part(kind, label, own, members, int(size * 4e6), peer))
    begin = rank.now
    rank.take(4_000)
    inside = rank.now
    rank.take(3_000)
    annotated = rank.now
    recorded = rank.call("cudaEventRecord", 1_200)
    before = rank.stream("compute").last
    if before is not None:
        _wait_event(rank, stream, (before, recorded, "compute"))
    on_kernel = facts if plan.ids in {"full", "no_seq"} else {}
    work = _enqueue(rank, "cudaLaunchKernelExC", stream, kernel, meeting=meeting, **on_kernel)
    recorded = rank.call("cudaEventRecord", 1_200)
    arrow = {"send": f"nccl:send {rank.rank}->{peer}", "recv": f"nccl:recv {rank.rank}<-{peer}"}
    rank.span("user_annotation", arrow.get(collective, f"nccl:{collective}"), annotated)
    rank.take(800)
    rank.span("cpu_op", "record_param_comms", inside, **(facts if plan.ids != "names" else {}))
    rank.take(1_500)
    to_peer = {"Concrete Inputs": ["", "", str(peer), "0"]} if peer >= 0 else {}
    rank.span("cpu_op", call, begin, **to_peer)
    rank.take(2_500)
    return work, recorded, stream


def wait_for(rank: Rank, event: Event) -> None:
    """Make the compute stream wait for a communication."""
    _wait_event(rank, "compute", event)


def _microbatch(rank: Rank, direction: str, length: float, *, reduce: bool) -> list[Event]:  # fmt: skip
    """Run one microbatch through a stage: receive, layers, send; the last backward reduces."""
    plan = rank.cluster.plan
    stage, replica, peer = place_of(plan, rank.rank)
    forward = direction == "forward"
    source, target = (stage - 1, stage + 1) if forward else (stage + 1, stage - 1)
    if 0 <= source < plan.pp:
        other = rank_at(plan, source, replica, peer)
        wait_for(rank, communicate(rank, "pp", "recv", TRANSFER["pp"] * length, peer=other))
    rank.thread = 2 if plan.second_thread and not forward else 1
    handles = []
    for _ in range(plan.layers):
        if forward and plan.sharded and plan.dp > 1:
            wait_for(rank, communicate(rank, "dp", "all_gather", TRANSFER["dp"] / 2))
        _layer(rank, FORWARD if forward else BACKWARD, length)
        if reduce and plan.dp > 1 and plan.overlap:
            handles.append(_reduce(rank))
    rank.thread = 1
    if 0 <= target < plan.pp:
        other = rank_at(plan, target, replica, peer)
        communicate(rank, "pp", "send", TRANSFER["pp"] * length, peer=other)
    if reduce and plan.dp > 1 and not plan.overlap:
        handles += [_reduce(rank) for _ in range(plan.layers)]
    return handles


def _reduce(rank: Rank) -> Event:
    plan = rank.cluster.plan
    how = "reduce_scatter" if plan.sharded else "all_reduce"
    return communicate(rank, "dp", how, TRANSFER["dp"])


def _layer(rank: Rank, rows: Sequence[Sequence[Any]], length: float) -> None:
    plan = rank.cluster.plan
    shape = {"Input Dims": [[int(4096 * length), 4096]], "Input type": ["c10::BFloat16"]}
    for row in rows:
        if row[0] == "tp":
            if plan.tp > 1:
                wait_for(rank, communicate(rank, "tp", "all_reduce", row[2] * length))
            continue
        outer, inner, work, name = row
        launch(rank, (outer, inner, name), work * length, **(shape if plan.shapes else {}))


def _finish_step(rank: Rank, handles: list[Event], *, is_last: bool) -> Generator[list[Work], int, None]:  # fmt: skip
    """Wait for gradients, clip them (which needs a number on the host), optimise."""
    plan = rank.cluster.plan
    for handle in handles:
        wait_for(rank, handle)
    if not plan.run_ahead:
        yield from _clip(rank)
    start = rank.now
    adam = ("aten::_fused_adamw_", "", "multi_tensor_apply_kernel<FusedAdamMathFunctor<float>>")
    for _ in range(plan.layers):
        launch(rank, adam, 1.2)
    rank.span("user_annotation", "Optimizer.step#AdamW.step", start)
    if is_last or not plan.run_ahead:
        last = [stream.last for stream in rank.streams.values() if stream.last is not None]
        yield from synchronise(rank, "cudaDeviceSynchronize", last)


def _clip(rank: Rank) -> Generator[list[Work], int, None]:
    """Clip gradients by a norm that the host waits for."""
    plan, norm = rank.cluster.plan, "multi_tensor_apply_kernel<LpNormFunctor<float>>"
    launch(rank, ("aten::_foreach_norm", "", norm), 0.3)
    if plan.pp > 1 or plan.tp > 1 or plan.sharded:
        wait_for(rank, communicate(rank, "world", "all_reduce", TRANSFER["world"]))
    begin = rank.now
    rank.take(4_000)
    copy = _enqueue(rank, "cudaMemcpyAsync", "compute", "Memcpy DtoH (Device -> Pageable)", length=1_800)  # fmt: skip
    yield from synchronise(rank, "cudaStreamSynchronize", [copy])
    rank.span("cpu_op", "aten::item", begin)


def synchronise(rank: Rank, name: str, works: list[Work]) -> Generator[list[Work], int, None]:
    start = rank.now
    ended = yield works
    rank.now = max(start + 2_000, ended + 3_000)
    rank.correlation += 1
    rank.span("cuda_runtime", name, start, correlation=rank.correlation, cbid=131)
    kind = "Stream Sync" if "Stream" in name else "Context Sync"
    lane = rank.stream("compute").number if "Stream" in name else -1
    facts = {"cuda_sync_kind": kind, "stream": lane, "correlation": rank.correlation, "device": rank.rank % 8,
             "wait_on_stream": lane, "wait_on_cuda_event_record_corr_id": -1, "wait_on_cuda_event_id": -1}  # fmt: skip
    rank.spans.append(Span("cuda_sync", kind, lane, start, rank.now, facts))
