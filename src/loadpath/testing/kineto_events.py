"""Events of one rank's Kineto trace: host calls, launches, kernels, collectives, waits."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loadpath.testing.shape import Shape, rank_of
from loadpath.testing.synthesis import step_number

__all__ = ["STREAMS", "Tracer", "members_of", "rank_events"]

Event = dict[str, Any]
Row = Mapping[str, Any]

STREAMS = {
    "compute": 7,
    "tensor": 16,
    "data": 20,
    "world": 24,
    "forward-send": 28,
    "forward-recv": 32,
    "backward-send": 36,
    "backward-recv": 40,
    "pipeline": 44,
}
"""Number of the device stream of each lane."""

OUTER = {"aten::mm": "aten::matmul", "aten::addmm": "aten::linear", "aten::copy_": "aten::to"}
"""Calls that wrap another one."""

KERNELS = {
    "aten::mm": "nvjet_hsh_256x128_64x4_1x2_h_bz_TNT",
    "aten::addmm": "ampere_bf16_s16816gemm_bf16_128x256_ldg8_f2f_stages_64x3_tn",
    "aten::gelu": "void at::native::vectorized_elementwise_kernel<4, at::native::GeluCUDAKernel>",
    "aten::gelu_backward": "void at::native::vectorized_elementwise_kernel<4, "
    "at::native::GeluBackwardCUDAKernel>",
    "aten::native_layer_norm": "void at::native::vectorized_layer_norm_kernel<c10::BFloat16, "
    "float>",
    "aten::native_layer_norm_backward": "void at::native::layer_norm_grad_input_kernel"
    "<c10::BFloat16, float>",
    "aten::_fused_adamw_": "void at::native::multi_tensor_apply_kernel<FusedAdamMathFunctor>",
    "aten::_foreach_norm": "void at::native::multi_tensor_apply_kernel<LpNormFunctor>",
    "aten::copy_": "Memcpy HtoD (Pinned -> Device)",
    "c10d::allreduce_": "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)",
    "c10d::send": "ncclDevKernel_SendRecv(ncclDevKernelArgsStorage<4096ul>)",
    "c10d::recv_": "ncclDevKernel_SendRecv(ncclDevKernelArgsStorage<4096ul>)",
}
"""What a call runs on the device."""

COLLECTIVES = {"c10d::allreduce_": "allreduce", "c10d::send": "send", "c10d::recv_": "recv"}
GROUP_NAMES = {"world": 0, "tensor": 100, "data": 200, "pipeline": 300}
DESCRIPTIONS = {
    "world": "default_pg",
    "tensor": "TENSOR_MODEL_PARALLEL_GROUP",
    "data": "DATA_PARALLEL_GROUP",
    "pipeline": "PIPELINE_MODEL_PARALLEL_GROUP",
}


@dataclass(slots=True)
class Tracer:
    """Recorder of one rank, with its running numbers.

    Attributes
    ----------
    shape : Shape
        Shape of the job.
    rank, process : int
        Rank and process id.
    sync_events : bool
        Whether waits of streams are recorded on the device.
    external, correlation : int
        Last numbers given away.
    recorded : dict
        Correlation and stream of the event recorded after each communication.
    """

    shape: Shape
    rank: int
    process: int
    sync_events: bool
    external: int = 0
    correlation: int = 50_000
    recorded: dict[int, tuple[int, int]] = field(default_factory=dict)


def members_of(shape: Shape, communicator: str) -> tuple[str, str, list[int]]:
    """Return name, description and ranks of a process group.

    Parameters
    ----------
    shape : Shape
        Shape of the job.
    communicator : str
        Kind and coordinates, such as ``data/STAGE/PEER``.

    Returns
    -------
    tuple of str, str, list of int
        As recorded.
    """
    kind, *coordinates = communicator.split("/")
    first, second = [int(value) for value in coordinates] or [0, 0]
    members = {
        "world": range(shape.pp * shape.dp * shape.tp),
        "tensor": (rank_of(shape, first, second, peer) for peer in range(shape.tp)),
        "data": (rank_of(shape, first, replica, second) for replica in range(shape.dp)),
        "pipeline": (rank_of(shape, stage, first, second) for stage in range(shape.pp)),
    }[kind]
    width = {"tensor": shape.dp, "data": shape.tp, "pipeline": shape.tp}.get(kind, 1)
    name = str(GROUP_NAMES[kind] + first * width + second)
    return name, DESCRIPTIONS[kind], list(members)


def rank_events(tracer: Tracer, rows: Sequence[Row]) -> list[Event]:
    """Record all events of one rank.

    Parameters
    ----------
    tracer : Tracer
        The recorder; its numbers move on.
    rows : sequence of mapping
        Executed tasks of the rank, in order of id: ``id``, labels, ``start_ns``, ``end_ns``.

    Returns
    -------
    list of dict
        Trace events: step marks, then tasks in program order.
    """
    by_id = {row["id"]: row for row in rows}
    kernels: dict[int, list[Row]] = {}
    for row in rows:
        if row["lane"] != "host":
            kernels.setdefault(row["launcher"], []).append(row)
    events = list(_step_marks(tracer, rows))
    for row in rows:
        if row["kind"] == "launch":
            prepare = by_id[row["id"] - 1]
            events += _launched(tracer, prepare, row, kernels[row["id"]][0])
        elif row["kind"] == "launch-batch":
            asked = [by_id[row["id"] - k] for k in range(len(kernels[row["id"]]), 0, -1)]
            events += _launched_at_once(tracer, asked, row, kernels[row["id"]])
        elif row["kind"] == "await":
            events += _awaited(tracer, row, by_id[row["launcher"]])
        elif row["kind"] == "sync":
            events.append(_runtime(tracer, row["name"], row["start_ns"], row["end_ns"]))
        elif row["kind"] == "input":
            events.append(
                _host(tracer, "user_annotation", row["name"], (row["start_ns"], row["end_ns"]))
            )
    return events


def _step_marks(tracer: Tracer, rows: Sequence[Row]) -> Iterator[Event]:
    on_host = [row for row in rows if row["lane"] == "host"]
    for step in sorted({row["step"] for row in on_host}):
        mine = [row for row in on_host if row["step"] == step]
        name = f"ProfilerStep#{step_number(tracer.shape, step)}"
        yield _host(tracer, "user_annotation", name, (mine[0]["start_ns"], mine[-1]["end_ns"]))


def _launched(tracer: Tracer, prepare: Row, launch: Row, kernel: Row) -> Iterator[Event]:
    # One call from python down to the device.
    name, begin, end = launch["name"], prepare["start_ns"], launch["end_ns"]
    early = _between(begin, launch["start_ns"])
    late = _between(launch["start_ns"], end)
    if name in OUTER:
        yield _host(tracer, "cpu_op", OUTER[name], (begin, end))
        yield _host(tracer, "cpu_op", name, (early(0.2), late(0.9)))
    else:
        yield _host(tracer, "cpu_op", name, (begin, end))
    details: Event = {}
    if name in COLLECTIVES:
        details = _details(tracer.shape, kernel)
        yield _host(tracer, "cpu_op", "record_param_comms", (early(0.2), late(0.95)), **details)
        yield _host(tracer, "user_annotation", _annotation(kernel), (early(0.4), late(0.9)))
        yield _runtime(tracer, "cudaEventRecord", early(0.5), early(0.6))
        compute = (tracer.correlation, STREAMS["compute"])
        yield _runtime(tracer, "cudaStreamWaitEvent", early(0.7), early(0.8))
        if tracer.sync_events:
            lane = STREAMS[kernel["lane"]]
            yield _stream_wait(tracer, lane, compute, max(kernel["start_ns"], early(0.8)))
    made = _runtime(tracer, _launch_call(name), late(0.0), late(0.5))
    yield made
    yield from _flow(tracer, made, kernel)
    yield _device(tracer, kernel, details)
    if name in COLLECTIVES:
        yield _runtime(tracer, "cudaEventRecord", late(0.6), late(0.7))
        tracer.recorded[kernel["id"]] = (tracer.correlation, STREAMS[kernel["lane"]])


def _launched_at_once(
    tracer: Tracer, asked: Sequence[Row], launch: Row, transfers: Sequence[Row]
) -> Iterator[Event]:
    # A group of sends and receives: their calls launch nothing, its end launches one kernel.
    for call, transfer in zip(asked, transfers, strict=True):
        span = (call["start_ns"], call["end_ns"])
        inside = _between(*span)
        details = _details(tracer.shape, transfer)
        yield _host(tracer, "cpu_op", call["name"], span)
        yield _host(tracer, "cpu_op", "record_param_comms", (inside(0.2), inside(0.9)), **details)
    span = (launch["start_ns"], launch["end_ns"])
    inside = _between(*span)
    yield _host(tracer, "user_annotation", launch["name"], span)
    yield _runtime(tracer, "cudaEventRecord", inside(0.1), inside(0.2))
    compute = (tracer.correlation, STREAMS["compute"])
    yield _runtime(tracer, "cudaStreamWaitEvent", inside(0.3), inside(0.4))
    ends = {"start_ns": min(row["start_ns"] for row in transfers),
            "end_ns": max(row["end_ns"] for row in transfers)}  # fmt: skip
    kernel = {**transfers[0], **ends, "lane": "pipeline"}
    if tracer.sync_events:
        began = max(kernel["start_ns"], inside(0.4))
        yield _stream_wait(tracer, STREAMS["pipeline"], compute, began)
    made = _runtime(tracer, "cudaLaunchKernelExC", inside(0.5), inside(0.7))
    yield made
    yield from _flow(tracer, made, kernel)
    yield _device(tracer, kernel, {})
    yield _runtime(tracer, "cudaEventRecord", inside(0.8), inside(0.9))
    for row in transfers:
        tracer.recorded[row["id"]] = (tracer.correlation, STREAMS["pipeline"])


def _between(start_ns: int, end_ns: int) -> Callable[[float], int]:
    # Place inside a span, by its fraction.
    return lambda fraction: start_ns + round(fraction * (end_ns - start_ns))


def _annotation(kernel: Row) -> str:
    arrow = {"c10d::send": "nccl:send {}->{}", "c10d::recv_": "nccl:recv {}<-{}"}
    return arrow.get(kernel["name"], "nccl:all_reduce").format(kernel["rank"], kernel["peer"])


def _launch_call(name: str) -> str:
    if name in COLLECTIVES:
        return "cudaLaunchKernelExC"
    return "cudaMemcpyAsync" if name == "aten::copy_" else "cudaLaunchKernel"


def _awaited(tracer: Tracer, row: Row, communication: Row) -> Iterator[Event]:
    # The compute stream is told to wait for a communication.
    yield _runtime(tracer, row["name"], row["start_ns"], row["end_ns"])
    if tracer.sync_events:
        source = tracer.recorded[communication["id"]]
        yield _stream_wait(tracer, STREAMS["compute"], source, communication["end_ns"])


def _stream_wait(tracer: Tracer, stream: int, source: tuple[int, int], time_ns: int) -> Event:
    args = {
        "cuda_sync_kind": "Stream Wait Event",
        "stream": stream,
        "correlation": tracer.correlation,
        "device": 0,
        "context": 1,
        "wait_on_stream": source[1],
        "wait_on_cuda_event_record_corr_id": source[0],
        "wait_on_cuda_event_id": source[0] % 64,
    }
    return _event(
        "cuda_sync", "Stream Wait Event", (0, stream), span_ns=(time_ns, time_ns), args=args
    )


def _device(tracer: Tracer, kernel: Row, details: Event) -> Event:
    stream = STREAMS[kernel["lane"]]
    category = "gpu_memcpy" if kernel["kind"] == "copy" else "kernel"
    args = {
        "External id": tracer.external,
        "device": 0,
        "context": 1,
        "stream": stream,
        "correlation": tracer.correlation,
    }
    span = (kernel["start_ns"], kernel["end_ns"])
    return _event(category, KERNELS[kernel["name"]], (0, stream), span_ns=span, args=args | details)


def _flow(tracer: Tracer, made: Event, kernel: Row) -> Iterator[Event]:
    # Arrow from a launch call to what it launched.
    label = {"cat": "ac2g", "name": "ac2g", "id": tracer.correlation}
    yield {"ph": "s", "pid": made["pid"], "tid": made["tid"], "ts": made["ts"], **label}
    stream = STREAMS[kernel["lane"]]
    ts = kernel["start_ns"] / 1000
    yield {"ph": "f", "bp": "e", "pid": 0, "tid": stream, "ts": ts, **label}


def _details(shape: Shape, kernel: Row) -> Event:
    # Arguments of a communication as recent profilers write them.
    name, description, members = members_of(shape, kernel["communicator"])
    n_elements = max(1, round(kernel["work_ns"] * 100))
    end = {"c10d::send": "Dst Rank", "c10d::recv_": "Src Rank"}.get(kernel["name"])
    return {
        "Collective name": COLLECTIVES[kernel["name"]],
        "In msg nelems": n_elements,
        "Out msg nelems": n_elements,
        "Group size": len(members),
        "dtype": "BFloat16",
        "In split size": "[]",
        "Out split size": "[]",
        "Process Group Name": name,
        "Process Group Description": description,
        "Process Group Ranks": str(members),
        "Seq": kernel["sequence"] + 1,
        **({end: kernel["peer"]} if end else {}),
    }


def _host(
    tracer: Tracer, category: str, name: str, span_ns: tuple[int, int], **details: object
) -> Event:
    tracer.external += 1
    args = {"External id": tracer.external, "Record function id": 0, **details}
    thread = (tracer.process, tracer.process)
    return _event(category, name, thread, span_ns=span_ns, args=args)


def _runtime(tracer: Tracer, name: str, start_ns: int, end_ns: int) -> Event:
    tracer.correlation += 1
    args = {"External id": tracer.external, "cbid": 211, "correlation": tracer.correlation}
    thread = (tracer.process, tracer.process)
    return _event("cuda_runtime", name, thread, span_ns=(start_ns, end_ns), args=args)


def _event(
    category: str, name: str, lane: tuple[int, int], *, span_ns: tuple[int, int], args: Event
) -> Event:
    start_ns, end_ns = span_ns
    return {
        "ph": "X",
        "cat": category,
        "name": name,
        "pid": lane[0],
        "tid": lane[1],
        "ts": start_ns / 1000,
        "dur": max(end_ns - start_ns, 0) / 1000,
        "args": args,
    }
