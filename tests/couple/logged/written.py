"""Logs of communications of a job whose truth is known, as the Inspector and PyTorch write them."""

import json
from typing import NamedTuple

import numpy as np

EPOCH_S = 1_750_000_000


class Logged(NamedTuple):
    """One communication of one rank: group, number, bytes, arrival and end in s."""

    group: str
    number: int
    bytes: int
    arrive: float
    end: float


class Job(NamedTuple):
    """Communications by rank, ranks by group, and what a step takes."""

    calls: list[list[Logged]]
    groups: dict[str, list[int]]
    step_s: float


def play(*, n=8, steps=20, slow=None, by=0.3, when=None, tensor=1, overlap=0.0, world=True, seed=0):
    """Play a job: each step three blocks of work that end in an all-reduce, then one of all ranks.

    A slow rank works `by` longer, in the steps of `when` if given. With `tensor` ranks a group the
    blocks meet within it; `overlap` lets a group of two run beside the blocks for that long.
    """
    draw = np.random.default_rng(seed)
    now, count = np.zeros(n), dict[str, int]()
    calls: list[list[Logged]] = [[] for _ in range(n)]
    size = tensor if tensor > 1 else n
    groups = {f"0x{k}": list(range(k, k + size)) for k in range(0, n, size)}
    every = {"0xall": list(range(n))} if world else {}

    def meet(group, ranks, moved, took, work):
        arrive = {r: now[r] + work[r] for r in ranks}
        end = max(arrive.values()) + took
        count[group] = count.get(group, -1) + 1
        for r in ranks:
            calls[r].append(Logged(group, count[group], moved, arrive[r], end))
            now[r] = end

    for step in range(steps):
        for block in range(3):
            work = 0.05 * (1 + 0.02 * draw.standard_normal(n))
            if slow is not None and (when is None or step in when):
                work[slow] *= 1 + by
            if overlap and block == 0:
                for r in range(n):
                    pair = f"0xpair{r % (n // 2)}"
                    calls[r].append(Logged(pair, step, 1 << 26, now[r], now[r] + 0.05 + overlap))
            for group, ranks in groups.items():
                meet(group, ranks, 1 << 22, 0.004, work)
        for group, ranks in every.items():
            meet(group, ranks, 1 << 20, 0.001, 0.01 * (1 + 0.02 * draw.standard_normal(n)))
    pairs = {f"0xpair{r}": [r, r + n // 2] for r in range(n // 2)} if overlap else {}
    return Job(calls, groups | every | pairs, float(now.max()) / steps)


def inspector_lines(job, rank, *, age="4.0", skew_s=0.0, poll_s=0.0):
    """Lines of one process: verbose of either age, or (age "plain") without times of kernels."""
    process = {"hostname": f"node{rank // 4}", "pid": 1000 + rank}
    lines = []

    def us(time):
        return round((EPOCH_S + time + skew_s) * 1e6)

    for call in job.calls[rank]:
        ranks = job.groups[call.group]
        header = {"id": call.group, "comm_name": "unknown", "rank": ranks.index(rank),
                  "n_ranks": len(ranks), "nnodes": 2}  # fmt: skip
        written = us((call.end // poll_s + 1) * poll_s) if poll_s else us(call.end) + 500
        times = {"kernel_start_ts": us(call.arrive), "kernel_stop_ts": us(call.end)}
        told = {"coll": "AllReduce", "coll_sn": call.number, "coll_msg_size_bytes": call.bytes,
                "coll_exec_time_us": round((call.end - call.arrive) * 1e6),
                "coll_timing_source": "kernel_gpu", "coll_algobw_gbs": 1.0}  # fmt: skip
        if age == "4.0":
            told["event_trace_ts"] = {
                "coll_start_ts": 1,
                "kernel_events": [{"channel_id": 0} | times],
            }
        elif age == "4.3":
            told["events"] = [{"event_type": "KernelCh", "event_trace_ts": times},
                              {"event_type": "ProxyOp", "proxy_id": 1}]  # fmt: skip
        meta = {
            "inspector_output_format_version": f"v{age}",
            "dump_timestamp_us": written,
        } | process
        if age == "4.3":
            lines.append({"header": header, "metadata": meta, "dump_stats": {"coll_records": 1}})
            lines.append({"coll_perf": told})
        else:
            lines.append({"header": header, "metadata": meta, "coll_perf": told})
    return [json.dumps(line) for line in lines]


def write_inspector(job, folder, *, skew_s=0.005, seed=1, **how):
    """Write a log per process; clocks are up to `skew_s` apart."""
    draw = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for rank in range(len(job.calls)):
        lines = inspector_lines(job, rank, skew_s=draw.uniform(-skew_s, skew_s), **how)
        path = folder / f"node{rank // 4}-pid{1000 + rank}.log"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_dumps(job, folder, *, poll_s=0.1, timed=True, keep=2000, seed=2):
    """Write a flight recorder's dump of each rank; what ended is seen at polls, `keep` entries stay."""
    draw = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for rank, calls in enumerate(job.calls):
        skew_s = draw.uniform(-0.005, 0.005)

        def ns(time, skew_s=skew_s):
            return int((EPOCH_S + time + skew_s) * 1e9)

        entries = [
            {
                "record_id": i, "pg_id": 0, "process_group": [call.group, "some group"],
                "collective_seq_id": call.number + 1, "p2p_seq_id": 0, "op_id": call.number + 1,
                "profiling_name": "nccl:all_reduce", "time_created_ns": ns(call.arrive) - 2_000_000,
                "input_sizes": [[call.bytes // 4]], "input_dtypes": ["Float"],
                "output_sizes": [[call.bytes // 4]], "output_dtypes": ["Float"],
                "state": "completed", "retired": True, "is_p2p": False, "timeout_ms": 600_000,
                "time_discovered_started_ns": ns((call.arrive // poll_s + 1) * poll_s),
                "time_discovered_completed_ns": ns((call.end // poll_s + 1) * poll_s),
            }
            | ({"duration_ms": (call.end - call.arrive) * 1e3} if timed else {})
            for i, call in enumerate(calls)
        ]  # fmt: skip
        config = {name: {"name": name, "desc": "some group", "ranks": str(ranks)}
                  for name, ranks in job.groups.items() if rank in ranks}  # fmt: skip
        status = {
            "0": {"last_enqueued_collective": len(calls), "last_completed_collective": len(calls)}
        }
        dump = {
            "version": "2.10",
            "entries": entries[-keep:],
            "pg_config": config,
            "pg_status": status,
        }
        (folder / f"fr_rank{rank}.json").write_text(json.dumps(dump), encoding="utf-8")
    return folder
