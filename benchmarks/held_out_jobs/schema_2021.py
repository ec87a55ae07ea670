"""Traces as PyTorch 1.9 wrote them: little is named, and whole microseconds."""

import gzip
import json
from pathlib import Path
from typing import Any

__all__ = ["rewrite"]

CATEGORIES = {
    "cpu_op": "Operator",
    "user_annotation": "Operator",
    "cuda_runtime": "Runtime",
    "kernel": "Kernel",
    "gpu_memcpy": "Memcpy",
    "gpu_memset": "Memset",
}
KERNELS = {
    "sendrecv": "ncclKernel_SendRecv_RING_SIMPLE_Sum_int8_t(ncclWorkElem)",
    "allreduce": "ncclKernel_AllReduce_RING_LL_Sum_float(ncclWorkElem)",
}
CALLS = ("nccl:", "c10d::", "record_param_comms")


def rewrite(folder: Path, *, calls: bool = True) -> None:
    """Rewrite traces without groups, numbers, sizes or ranks, which then stand in file names alone.

    With `calls` False no operator tells of a communication either: only kernels do.
    """
    for path in sorted(folder.iterdir()):
        trace = json.loads(gzip.decompress(path.read_bytes()))
        events = [_event(event) for event in trace["traceEvents"] if event["cat"] in CATEGORIES]
        kept = [event for event in events if calls or not event["name"].startswith(CALLS)]
        text = json.dumps({"schemaVersion": 1, "traceEvents": kept})
        path.unlink()
        rank = trace["distributedInfo"]["rank"]
        (folder / f"rank-{rank}.json.gz").write_bytes(gzip.compress(text.encode(), 1, mtime=0))


def _event(event: dict[str, Any]) -> dict[str, Any]:
    category, old = CATEGORIES[event["cat"]], event["args"]
    start = round(event["ts"])
    args: dict[str, Any]
    if category in {"Kernel", "Memcpy", "Memset"}:
        stream = old.get("stream", event["tid"])
        args = {"queued": 0, "device": old.get("device", 0), "context": 1, "stream": stream,
                "correlation": old["correlation"], "external id": 0}  # fmt: skip
    elif category == "Runtime":
        args = {"cbid": 211, "correlation": old.get("correlation", 0), "external id": 0}
    else:
        args = {
            "Device": event["pid"],
            "External id": old.get("External id", 0),
            "Trace iteration": 0,
        }
    name = event["name"]
    nccl = "nccl" in name.lower() and category == "Kernel"
    return {
        "ph": "X", "cat": category, "pid": event["pid"],
        "name": next(KERNELS[word] for word in KERNELS if word in name.lower()) if nccl else name,
        "tid": f"stream {args['stream']}" if "stream" in args else str(event["tid"]),
        "ts": start, "dur": max(round(event["ts"] + event["dur"]) - start, 0), "args": args,
    }  # fmt: skip
