"""Monte Carlo over noise: 1,024 scenarios of a job of 1 M nodes, beside the memory bandwidth.

    python benchmarks/noise_replay.py [--nodes 1000000] [--scenarios 1024] [--repeats 3]

Prints the table of docs/benchmarks.md, section Noise scenarios. The job is that of replay_speed.py in
ten steps; a rank's step is replaced by another of its ten, all its ops together.
"""

import argparse
import os
import sys
import time

import numpy as np
from replay_speed import N_STEP, NODES_PER_OP, bandwidth, job

from loadpath.couple.graph import build_graph
from loadpath.replay import replay, step_time_ns
from loadpath.replay.noise import Quiet, block_noise, draw_noise_ns, replay_noise


def noisy_job(n_rank, n_node):
    """The job without noise, and residuals of a tenth of each op's work."""
    n_turn = round(n_node / NODES_PER_OP / n_rank)
    graph = build_graph(job(n_rank, n_turn))
    rng = np.random.default_rng(2)
    work = rng.gamma(2, 50_000, graph.n_op)
    turn, rank = np.divmod(np.arange(graph.n_op), n_rank)
    step, within = np.divmod(turn, max(1, n_turn // N_STEP))
    noise = block_noise(
        work * rng.normal(0, 0.1, graph.n_op),
        within * n_rank + rank,
        step,
        share=rank,
        block_length=1,
    )
    return Quiet(graph, replay(graph, work), work), noise


def worst_error(quiet, noise):
    """Largest relative error of a step time in four scenarios, against their exact replays."""
    found = replay_noise(quiet, noise, np.random.default_rng(1), n_scenario=32)[:, :4]
    drawn = draw_noise_ns(noise, np.random.default_rng(1).spawn(1)[0], 32)[:, :4]
    changed = np.maximum(quiet.work_ns[:, None] + drawn, 0)
    exact = [step_time_ns(quiet.graph, replay(quiet.graph, column)) for column in changed.T]
    return np.abs(found / np.transpose(exact) - 1).max()


def report(n_rank, args, limit):
    """Print the rows of one job."""
    quiet, noise = noisy_job(n_rank, args.nodes)
    graph, error = quiet.graph, worst_error(quiet, noise)
    n_byte = 32 * graph.n_node + 8 * graph.overflow_pred.size + 4 * noise.residual_ns.size
    for n_thread in (1, os.cpu_count() or 1):
        wall_s, processor_s = measured(quiet, noise, args, n_thread)
        rate = args.scenarios * graph.n_node / 1e6
        share = n_byte * args.scenarios / 32 / processor_s / limit
        print(
            f"| {n_rank:,} | {graph.n_node / 1e6:.2f} M | {n_thread} | {wall_s:.2f} | "
            f"{rate / wall_s:,.0f} | {rate / processor_s:,.0f} | {share:.0%} | {error:.0e} |",
            flush=True,
        )


def measured(quiet, noise, args, n_thread):
    """Least wall and processor seconds of a few runs, after one that warms up."""
    best = [float("inf")] * 2
    for run in range(args.repeats + 1):
        begin = time.perf_counter(), time.process_time()
        replay_noise(
            quiet,
            noise,
            np.random.default_rng(1),
            n_scenario=args.scenarios,
            n_thread=n_thread,
            progress=lambda text: print(f"\r{text}", end="", file=sys.stderr),
        )
        end = time.perf_counter(), time.process_time()
        best = [min(b, e - s) for b, s, e in zip(best, begin, end, strict=True)] if run else best
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1_000_000)
    parser.add_argument("--scenarios", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    limit = bandwidth(args.repeats)
    print(
        f"{os.cpu_count()} processors; one core adds arrays at {limit / 1e9:.1f} GB/s; "
        f"{args.scenarios:,} scenarios.\n\n| ranks | nodes | threads | wall s | M node-scenarios/s | "
        "per processor-second | share of bandwidth | error |\n|---:|---:|---:|---:|---:|---:|---:|---:|"
    )
    for n_rank in (256, 16384):
        report(n_rank, args, limit)


if __name__ == "__main__":
    main()
