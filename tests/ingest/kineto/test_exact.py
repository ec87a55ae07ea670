"""What is read of recordings of five years equals another reading: json of the standard library."""

import gzip
import json
import os
import re
from collections import Counter
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import numpy as np
import pytest

from loadpath.decode.kinds import CATEGORIES, is_event, is_io_frame
from loadpath.ingest.kineto.trace import read_trace

BREADTH = (
    "hta/df_index_resolver",
    "hta/distributed_info_not_found",
    "hta/mtia_inference_rank_0",
    "hta/nccl_data",
    "hta/rank-0.Apr_03_18_51_38.1102.pt.trace",
    "hta/rank_not_found",
    "hta/sampled_rank-0",
    "hta/sampled_rank-1",
    "tb-plugin/resnet50_v100_pytorch1.9",
    "tracelens/b200_eager",
    "tracelens/h100_qwen_0.5b",
    "tracelens/mi300_resnet_act_checkpoint",
    "tracelens/vllm_cuda_graph",
)
READ_AS = {
    r"cpu_op|operator": "cpu_op",
    r"user_annotation": "annotation",
    r"(cuda|hip|mtia)_runtime|(cuda|hip)_driver|runtime": "runtime",
    r"kernel|mtia_ccp_events": "kernel",
    r"(gpu_)?memcpy": "copy",
    r"(gpu_)?memset": "set",
    r"python_function": "python",
}


def recorded(name):
    root = os.environ.get("LOADPATH_DATA")
    if root is None:
        pytest.skip("LOADPATH_DATA is not set")
    return Path(root) / "data" / "kineto-breadth" / f"{name}.json.gz"


# Category and times of a span of the standard library's reading; None where loadpath reads none.
def category(event):
    if event["ph"] != "X":
        return None
    cat = next((v for k, v in READ_AS.items() if re.fullmatch(k, event["cat"].lower())), None)
    if cat == "python" and not is_io_frame(event["name"]):
        return None
    return "sync" if cat == "kernel" and is_event(event["name"]) else cat


def whole_ns(value):
    return int((Decimal(value) * 1000).to_integral_value(rounding=ROUND_HALF_EVEN))


def external_id(event):
    args = event.get("args", {})
    return int(args.get("External id", args.get("external id", -1)))


def other_reading(path):
    document = json.loads(gzip.decompress(path.read_bytes()), parse_float=Decimal, strict=False)
    spans = [(category(e), e) for e in document["traceEvents"]]
    spans = [(cat, e) for cat, e in spans if cat is not None]
    return {
        "n": Counter(cat for cat, _ in spans),
        "ts": sum(whole_ns(e["ts"]) for _, e in spans),
        "dur": sum(whole_ns(e["dur"]) for _, e in spans),
        "external": sum(external_id(e) for _, e in spans),
        "correlation": sum(int(e.get("args", {}).get("correlation", -1)) for _, e in spans),
        "names": Counter(e["name"] for _, e in spans),
    }


def exact_sum(values):
    return sum(values.tolist())


@pytest.mark.parametrize("name", BREADTH)
def test_counts_times_and_identifiers_equal_those_of_json_with_decimals(name):
    path = recorded(name)
    trace = read_trace(path)
    assert trace is not None
    columns = trace.columns
    n_name = np.bincount(columns.name, minlength=len(trace.names))
    assert {
        "n": Counter(CATEGORIES[c] for c in columns.category.tolist()),
        "ts": exact_sum(columns.start_ns),
        "dur": exact_sum(columns.duration_ns),
        "external": exact_sum(columns.external),
        "correlation": exact_sum(columns.correlation),
        "names": Counter(dict(zip(trace.names, n_name.tolist(), strict=True))),
    } == other_reading(path)


def test_every_recording_of_the_breadth_is_compared():
    root = recorded("hta/nccl_data").parents[1]
    files = {str(path.relative_to(root)) for path in root.glob("*/*.json.gz")}
    assert files == {f"{name}.json.gz" for name in BREADTH}
