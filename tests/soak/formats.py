"""The formats that are soaked: a small sound record of each, by the name of its file, and how it is read."""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from tests.audit.stage_logs import stage_log
from tests.couple.logged.written import inspector_lines, play
from tests.ingest.execution_trace.test_chakra import NODES
from tests.ingest.execution_trace.test_nodes import new, old
from tests.ingest.execution_trace.written import chakra, jsonized
from tests.ingest.goal.binary_form import binary
from tests.ingest.nccl_output import output
from tests.ingest.nsys.written import write_export

from loadpath.audit.compression import compress_job
from loadpath.audit.dumps import recording_of_dumps
from loadpath.audit.hang import diagnose_dumps
from loadpath.audit.pipeline import couple_recording, couple_sources
from loadpath.audit.reading import with_flights, with_handshakes, with_power
from loadpath.audit.settings import Settings
from loadpath.audit.sources import load_recording
from loadpath.couple.steps import as_runs, lay_out
from loadpath.ingest.compressed.reading import read_compressed
from loadpath.ingest.execution_trace import read_execution_traces
from loadpath.ingest.flight_recorder import read_flight_recorders
from loadpath.ingest.goal.text import read_text
from loadpath.ingest.kineto import read_kineto
from loadpath.ingest.nccl_tests import read_nccl_tests
from loadpath.ingest.nsys import read_nsys
from loadpath.ingest.op_table import read_op_table
from loadpath.ingest.request_trace import read_requests
from loadpath.ingest.run_table import read_runs
from loadpath.ingest.stage_log import read_stage_logs
from loadpath.testing import make_job, write_kineto, write_op_table
from loadpath.testing.schedules import stencil

EXAMPLES = Path(__file__).parents[2] / "examples"
MANY_NODES = [(number, *node[1:]) for number, node in enumerate(10 * NODES, 1)]
DEVICE = "#  Rank {0:2d} Group  0 Pid {0} on {1} device  0 [0000:1b:00] NVIDIA H100 80GB HBM3\n"
RUN = (
    "# Collective test starting: all_reduce_perf\n# nThread 1 nGpus 1 minBytes 33554432\n"
    + "".join(DEVICE.format(rank, f"node{rank // 4}") for rank in range(8))
    + "#       size         count      type   redop    root     time   algbw   busbw  #wrong\n"
    + 5
    * "    33554432       4194304    double     sum      -1   183.55  182.81  319.92       0"
    "   182.78  183.58  321.26       0\n"
)
MEASURED = {
    "run.log": RUN,
    "run.json": json.dumps(output(), separators=(",", ":")),
    "tagged.log": "".join(f"[1,0]<stdout>:{line}\n" for line in RUN.splitlines()),
    "times.csv": "time_stats.all_reduce.median,num_workers,size,collective,devices_per_node\n"
    + 5 * "0.347,16,67108864,all_reduce,8\n",
    "links.csv": "file,test,N,G,nodes,minBytes,maxBytes,avg_bus_bw_GBs,peak_busbw_GBs\n"
    + 5 * 'a.log,alltoall_perf,2,1,"a,b",4,8,41.5,43.73\n',
    "requests.csv": "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    + 5 * "2023-11-16 18:15:46.6805900,374,44\n",
    "runs.csv": "n,step_s,microbatches,global_batch,power_w\n8,4.5,16,256,5600\n16,2.5,8,256,\n",
}


def sound_records(folder):
    """Make a small sound record of each format; returns bytes by file name."""
    text = trace_text(folder / "kineto")
    table = write_op_table(make_job(1, pp=2, dp=2, steps=2, microbatches=2), folder)
    write_export(folder / "export.sqlite", json.loads(text)["traceEvents"])
    schedule = stencil(3, 4, 1000).encode()
    nodes = [form(*node[:5]) for form in (old, new) for node in MANY_NODES]
    stages = stage_log("forward", steps=6)
    return {
        "rank0.json": text,
        "rank0.json.gz": gzip.compress(text, mtime=0),
        "trace-a.parquet": table.read_bytes(),
        "trace-a.csv": pl.read_parquet(table).write_csv().encode(),
        "text.goal": schedule,
        "binary.goal": binary(read_text("text.goal", schedule)),
        "fr_rank0.json": (EXAMPLES / "hang-stopped" / "fr_rank0.json").read_bytes(),
        "_dump_0": (EXAMPLES / "hang-order" / "_dump_0").read_bytes(),
        "beside_rank0.json": (EXAMPLES / "hang-stopped" / "fr_rank0.json").read_bytes(),
        **{f"inspector-{age}.log": inspector_log(age) for age in ("4.0", "4.3", "plain")},
        "inspector-array.json": b"[%b]" % inspector_log("4.1").replace(b"\n", b",\n"),
        "et_rank_0.json": json.dumps({"schema": "1.1.0", "pid": 1, "nodes": nodes}).encode(),
        "job.0.et": chakra(MANY_NODES),
        "chakra_rank_0.json": jsonized(MANY_NODES),
        "a_rank0.sqlite": (folder / "export.sqlite").read_bytes(),
        "stages.csv": stages.write_csv().encode(),
        "stages.jsonl": stages.write_ndjson().encode(),
        "job.lpz": compressed(EXAMPLES / "tp-host"),
        "clock_handshake.csv": handshakes(),
        "power_rank0.csv": power(),
        **{name: text.encode() for name, text in MEASURED.items()},
    }


def small_job():
    return make_job(1, recorder="kineto", dp=2, steps=2)


def trace_text(folder):
    """Write the traces of a small job; returns the text of the first."""
    raw = min(Path(write_kineto(small_job(), folder)).glob("*.json*")).read_bytes()
    return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw


@cache
def small_recording():
    """Traces beside which other records lie."""
    with TemporaryDirectory() as folder:
        traces = sorted(Path(write_kineto(small_job(), folder)).glob("*.json*"))
        return read_kineto(traces)


def inspector_log(age):
    job = play(n=4, steps=4, slow=1)
    return "\n".join(
        line for rank in range(4) for line in inspector_lines(job, rank, age=age)
    ).encode()


def compressed(source):
    job = lay_out(as_runs(couple_sources([source], Settings(), lambda _: None)))
    return compress_job(job, levels=("kind",))[0].content


def handshakes():
    """Sixteen exchanges of ranks 0 and 1 in the time of the traces."""
    begin = int(small_recording().step["start_ns"].min())
    lines = ["rank,peer,sent_ns,arrived_ns,returned_ns,received_ns"]
    for k in range(16):
        sent = begin + 1_000_000 * k
        lines.append(f"1,0,{sent},{sent + 20_000 + k},{sent + 25_000},{sent + 45_000 - k}")
    return ("\n".join(lines) + "\n").encode()


def power():
    begin = int(small_recording().step["start_ns"].min())
    rows = (f"0,{begin + 20_000_000 * k},{400_000 + 1000 * k}" for k in range(20))
    return ("\n".join(["rank,time_ns,power_mw", *rows]) + "\n").encode()


def read_dumps(path):
    flights = read_flight_recorders([path])
    document, _, _ = diagnose_dumps(flights, recording_of_dumps(flights), Settings(), [path.name])
    assert document["verdict"]["kind"] in {"hang", "not_assessable"}


def read_beside(path):
    couple_recording(with_flights(small_recording(), [path], Settings()))


def read_ops(recording):
    """Look at the ops that a reader made; returns how many there are."""
    op = recording.op
    assert op["duration_ns"].min() is None or op["duration_ns"].min() >= 0
    assert op["parent"].max() is None or op["parent"].max() < op.height
    return op.height


def read_schedule(path):
    job = couple_sources([path], Settings(), lambda _: None).job
    read_ops(replace(load_recording(path), op=job.op))


def read_executions(path):
    found = read_execution_traces([path])
    assert (found.node["node"] >= 0).all()
    assert all(len(text) < 4000 for text in found.caveat["text"])
    couple_recording(replace(small_recording(), execution=found.node))


def read_stages(path):
    job = couple_recording(read_stage_logs([path])).job
    assert (job.work_ns >= 0).all()


def read_measured(path):
    points = read_nccl_tests(path).points
    assert points.filter((points["duration_ns"] <= 0) | (points["n_rank"] < 1)).is_empty()


def read_request_trace(path):
    requests = read_requests(path)
    wrong = (requests["arrival_ns"] < 0) | (requests["prompt_tokens"] < 1)
    assert requests.filter(wrong).is_empty()


def read_run_table(path):
    table = read_runs(path)
    assert table.filter(table["step_s"] <= 0).is_empty()


READERS: dict[str, Callable[[Path], object]] = {
    **dict.fromkeys(("rank0.json", "rank0.json.gz"), lambda path: read_ops(read_kineto([path]))),
    **dict.fromkeys(("trace-a.parquet", "trace-a.csv"), lambda path: read_ops(read_op_table(path))),
    **dict.fromkeys(("text.goal", "binary.goal"), read_schedule),
    **dict.fromkeys(("fr_rank0.json", "_dump_0"), read_dumps),
    "beside_rank0.json": read_beside,
    **dict.fromkeys(
        ("inspector-4.0.log", "inspector-4.3.log", "inspector-plain.log", "inspector-array.json"),
        lambda path: couple_sources([path], Settings(), lambda _: None),
    ),
    **dict.fromkeys(("et_rank_0.json", "job.0.et", "chakra_rank_0.json"), read_executions),
    "a_rank0.sqlite": lambda path: read_ops(read_nsys([path])),
    **dict.fromkeys(("stages.csv", "stages.jsonl"), read_stages),
    "job.lpz": lambda path: couple_recording(read_compressed(path)),
    "clock_handshake.csv": lambda path: couple_recording(
        with_handshakes(small_recording(), [path])
    ),
    "power_rank0.csv": lambda path: couple_recording(with_power(small_recording(), [path])),
    **dict.fromkeys(("run.log", "run.json", "tagged.log", "times.csv", "links.csv"), read_measured),
    "requests.csv": read_request_trace,
    "runs.csv": read_run_table,
}
"""How a record is read, and coupled where it can be, by the name of its file."""
