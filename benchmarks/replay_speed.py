"""Replay speed on 10 M nodes, beside the memory bandwidth of the same machine.

    python benchmarks/replay_speed.py [--nodes 10000000] [--repeats 7]

Prints the tables of docs/benchmarks.md, section Replay. The job: each rank runs a chain of ops;
every eighth is a collective of eight ranks, neighbours and strided groups in turn; 3 % of the
others wait for an op of a random rank, the rest for an op of their own rank 2 to 16 ops back.
"""

import argparse
import os
import time
from functools import partial

import numpy as np

from loadpath.couple.graph import Coupling, EdgeKind, build_graph
from loadpath.replay import (
    Scenarios,
    kernels,
    last_predecessor,
    lay_out_scenarios,
    replay,
    replay_scenarios,
    slack_ns,
    step_time_ns,
)
from loadpath.replay.timeline import kernel_edges

N_STEP = 10
N_GROUP = 64
NODES_PER_OP = 1.14


def job(n_rank, n_turn, seed=1):
    """Couplings of the synthetic job; op ids are turn-major."""
    rng = np.random.default_rng(seed)
    op = np.arange(n_rank * n_turn, dtype=np.int32)
    turn, rank = np.divmod(op, n_rank)
    meets = turn % 8 == 7
    far = rng.random(op.size) < 0.03
    back = np.where(far, 1, rng.integers(2, 17, op.size))
    other = np.where(far, rng.integers(0, n_rank, op.size), rank)
    crosses = ~meets & (turn >= back)
    source = op[:-n_rank], ((turn - back) * n_rank + other)[crosses]
    target = op[n_rank:], op[crosses]
    kinds = EdgeKind.PROGRAM, EdgeKind.CROSS_STREAM
    strided = (turn // 8) % 2 == 1
    place = np.where(strided, rank % (n_rank // 8), rank // 8)
    step, within = np.divmod(turn, n_turn // N_STEP)
    begins = (within == 0) & (step < N_STEP)
    ends = (within == n_turn // N_STEP - 1) & (step < N_STEP)
    return Coupling(
        n_op=op.size,
        edge_source=np.concatenate(source).astype(np.int32),
        edge_target=np.concatenate(target).astype(np.int32),
        edge_kind=np.repeat(np.array(kinds, np.uint8), [part.size for part in target]),
        member_op=op[meets],
        member_instance=((turn // 8) * (n_rank // 8) + place)[meets].astype(np.int32),
        member_contributes=np.ones(int(meets.sum()), bool),
        member_waits=np.ones(int(meets.sum()), bool),
        begin_op=op[begins],
        begin_step=step[begins].astype(np.int64),
        end_op=op[ends],
        end_step=step[ends].astype(np.int64),
    )


def median_seconds(call, repeats, prepare=lambda: None):
    """Median time of a call, after one that warms up; preparation is not timed."""
    seconds = []
    for _ in range(repeats + 1):
        prepare()
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return float(np.median(seconds[1:]))


def bandwidth(repeats, n_byte=1 << 29):
    """Bytes a second of one core that adds an array to another in place: two reads, one write."""
    a, b = np.ones(n_byte // 8), np.ones(n_byte // 8)
    return 3 * n_byte / median_seconds(lambda: np.add(a, b, out=a), repeats)


def sweeps(graph, work):
    """The kernel alone: weights become times in place, 24 bytes a node and 4 an overflow edge."""
    weight = np.zeros(graph.n_node + 1, work.dtype)
    weight[graph.end_node + 1] = work
    entry = weight[None].copy()
    edges = kernel_edges(graph)
    return {
        "what": f"sweep, one scenario, {work.dtype}",
        "call": lambda: kernels.sweep(*edges, entry),
        "prepare": lambda: np.copyto(entry, weight),
        "n_byte": 24 * graph.n_node + 4 * graph.overflow_pred.size,
    }


def block_sweeps(graph, layout, scenarios):
    """The kernel on one block: 28 bytes a node are streamed, deviations stay in the caches."""
    stops = layout.stops
    delta, group = np.zeros(graph.n_node, np.float32), np.zeros(graph.n_node, np.int32)
    delta[graph.end_node], group[graph.end_node] = scenarios.delta_ns, scenarios.group
    scale = scenarios.scale.astype(np.float32)
    state = np.zeros((layout.n_row, kernels.BLOCK), np.float32)
    begin, end = (np.zeros((graph.step.size, kernels.BLOCK)) for _ in range(2))
    arrays = (
        *(layout.row, layout.first_row, layout.second_row, layout.overflow_row),
        *(layout.first_slack, layout.second_slack, layout.overflow_slack),
        *(stops.node, stops.start, stops.begin, stops.end, stops.rebase),
        *(delta, group, scale, layout.time_ns, state, begin, end),
    )
    return {
        "what": f"sweep, {kernels.BLOCK} scenarios",
        "call": lambda: kernels.sweep_block(*arrays),
        "prepare": lambda: state.fill(0),
        "n_scenario": kernels.BLOCK,
        "n_byte": 28 * graph.n_node + 8 * graph.overflow_pred.size,
    }


def calls(graph, work, layout, scenarios):
    """Public functions, all their work included; a layout is kept, as in an audit."""
    timeline = replay(graph, work)
    plain = {
        "`replay`, int64": lambda: replay(graph, work),
        "`step_time_ns`": lambda: step_time_ns(graph, timeline),
        "`slack_ns`": lambda: slack_ns(graph, timeline),
        "`last_predecessor`": lambda: last_predecessor(graph, timeline),
        "`lay_out_scenarios`": lambda: lay_out_scenarios(graph, timeline),
    }
    rows = [{"what": what, "call": call} for what, call in plain.items()]
    for n_block in (1, 2):
        n_scenario = n_block * kernels.BLOCK
        scale = np.tile(scenarios.scale, (1, n_block))
        wide = Scenarios(scenarios.delta_ns, scenarios.group, scale)
        options = {"layout": layout, "n_thread": n_block}
        rows.append(
            {
                "what": f"`replay_scenarios`, {n_scenario} on {n_block} core(s)",
                "call": partial(replay_scenarios, graph, timeline, wide, **options),
                "n_scenario": n_scenario,
            }
        )
    return rows


def worst_error(graph, timeline, work, scenarios):
    """Largest relative error of a step time in the first four scenarios."""
    few = Scenarios(scenarios.delta_ns, scenarios.group, scenarios.scale[:, :4])
    step = replay_scenarios(graph, timeline, few)
    exact = [
        step_time_ns(graph, replay(graph, work + few.delta_ns * column[few.group]))
        for column in few.scale.T
    ]
    return np.abs(step / np.transpose(exact) - 1).max()


def report(n_rank, args, limit):
    """Print the table of one job."""
    graph = build_graph(job(n_rank, round(args.nodes / NODES_PER_OP / n_rank)))
    rng = np.random.default_rng(2)
    work = rng.gamma(2, 50_000, graph.n_op).astype(np.int64)
    timeline = replay(graph, work)
    layout = lay_out_scenarios(graph, timeline)
    group = rng.integers(0, N_GROUP, graph.n_op).astype(np.int32)
    scenarios = Scenarios(work * -0.3, group, rng.random((N_GROUP, kernels.BLOCK)))
    error = worst_error(graph, timeline, work, scenarios)
    print(
        f"\n{n_rank:,} ranks: {graph.n_node / 1e6:.1f} M nodes, {graph.n_edge / 1e6:.1f} M edges, "
        f"{layout.n_row:,} live rows; scenarios are within {error:.0e} of exact step times.\n\n"
        "| what | ms | M node-scenarios/s | share of bandwidth |\n|---|---:|---:|---:|"
    )
    kernel_rows = (
        sweeps(graph, work),
        sweeps(graph, work * 1.0),
        block_sweeps(graph, layout, scenarios),
    )
    for row in (*kernel_rows, *calls(graph, work, layout, scenarios)):
        seconds = median_seconds(row["call"], args.repeats, row.get("prepare", lambda: None))
        rate = row.get("n_scenario", 1) * graph.n_node / seconds
        share = f"{row['n_byte'] / seconds / limit:.0%}" if "n_byte" in row else ""
        print(f"| {row['what']} | {seconds * 1e3:.0f} | {rate / 1e6:,.0f} | {share} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    limit = bandwidth(args.repeats)
    print(f"{os.cpu_count()} processors; one core adds arrays at {limit / 1e9:.1f} GB/s.")
    for n_rank in (256, 16384):
        report(n_rank, args, limit)


if __name__ == "__main__":
    main()
