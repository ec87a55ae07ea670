"""Event simulation beside LogGOPSim, and what a frozen service order loses under noise.

Usage: python benchmarks/event_simulation.py [--peer FOLDER] [--runs 3]

FOLDER holds LogGOPSim's `txt2bin` and `LogGOPSim`, built with -O3; processor times of alternating
runs, best of `--runs`. Events are ops and messages, as LogGOPSim counts them.
"""

import argparse
import re
import resource
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from loadpath.audit.sources import load_recording
from loadpath.couple.loggops import LogGOPS
from loadpath.couple.simulated import couple_simulated
from loadpath.couple.simulated.kernels import COMPUTE, PACK, RECEIVE
from loadpath.couple.simulated.ops import split_ops
from loadpath.ingest.goal import read_goal
from loadpath.replay import op_end_ns, replay
from loadpath.replay.simulation import Noise, drawn_noise, simulate_schedule
from loadpath.tables.schedule import RECV
from loadpath.testing.schedules import all_to_all, dissemination, recursive_doubling, ring, stencil

SPEED = {
    "dissemination, 4,096 ranks": lambda: dissemination(4096, 8),
    "dissemination, 16,384 ranks": lambda: dissemination(16384, 8),
    "recursive doubling, 16,384 ranks": lambda: recursive_doubling(16384, 65536),
    "ring, 512 ranks": lambda: ring(512, 16384),
    "stencil, 1,024 ranks, 100 iterations": lambda: stencil(1024, 100, 20000, jitter=0.1),
    "all-to-all, 128 ranks": lambda: all_to_all(128, 1000),
    "all-to-all, 512 ranks": lambda: all_to_all(512, 1000),
}
RACES = {
    "stencil, 64 ranks": lambda: stencil(64, 50, 20000, jitter=0.1),
    "dissemination, 1,024 ranks": lambda: dissemination(1024, 8),
    "recursive doubling, 256 ranks": lambda: recursive_doubling(256, 65536),
    "ring, 64 ranks": lambda: ring(64, 16384),
    "all-to-all, 64 ranks": lambda: all_to_all(64, 1000),
    "all-to-all, 256 ranks": lambda: all_to_all(256, 1000),
}
PERIODS = (1e6, 1e5, 1e4)
PEER_LIMIT_S = 120


def ours(path, schedule):
    begin = time.process_time()
    schedule = read_goal(path)
    read = time.process_time()
    run = simulate_schedule(schedule)
    return run, read - begin, time.process_time() - read


def peers(folder, binary):
    """Processor seconds, last line; None where it does not end in time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [folder / "LogGOPSim", "-b", "-f", binary]
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=PEER_LIMIT_S, check=True
        )
    except subprocess.TimeoutExpired:
        return None
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    latest = re.search(r"finishing time at host \d+: (\d+)", ended.stdout)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, latest and int(
        latest[1]
    )


def speed(folder, n_run):
    print("| schedule | events | read s | simulate s | M events/s | peer s | peer M events/s |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as scratch:
        for name, write in SPEED.items():
            path, binary = Path(scratch) / "a.goal", Path(scratch) / "a.bin"
            path.write_text(write())
            ours(path, None)
            mine, theirs = [], []
            if folder:
                subprocess.run(
                    [folder / "txt2bin", "-i", path, "-o", binary], check=True, capture_output=True
                )
            for _ in range(n_run):
                run, read_s, simulate_s = ours(path, None)
                mine.append((simulate_s, read_s))
                if folder and (not theirs or theirs[-1]):
                    theirs.append(peers(folder, binary))
            simulate_s, read_s = min(mine)
            told = [answer for answer in theirs if answer]
            if told and any(answer[1] != run.makespan_ns for answer in told):
                print(f"| {name} | the peer ends at {told[0][1]}, loadpath at {run.makespan_ns} |")
                continue
            peer_s = min(answer[0] for answer in told) if told else None
            beside = (
                f"{peer_s:.2f} | {run.n_event / peer_s / 1e6:.1f}"
                if peer_s
                else f"over {PEER_LIMIT_S} | "
            )
            print(
                f"| {name} | {run.n_event:,} | {read_s:.2f} | {simulate_s:.2f} "
                f"| {run.n_event / simulate_s / 1e6:.1f} | {beside if folder else ' | '} |",
                flush=True,
            )


def race(write, path, period_ns):
    """Replay of the frozen order over simulation, each with the same noise: makespans and added times."""
    path.write_text(write())
    model, schedule = LogGOPS(), read_goal(path)
    plain = simulate_schedule(schedule, model)
    noise: Noise = drawn_noise(
        schedule, model, 5000.0, period_ns=period_ns, rng=np.random.default_rng(7)
    )
    noisy = simulate_schedule(schedule, model, noise).makespan_ns
    # noise that no event meets leaves room for that of sends, which holds their processor only
    late_ns = plain.served.late_ns.copy()
    late_ns[schedule.n_op + np.flatnonzero(schedule.kind == RECV)[0]] = 1
    served = replace(plain.served, late_ns=late_ns)
    job = couple_simulated(load_recording(path), schedule, served, model)
    ops = split_ops(schedule, served, model)
    work = job.work_ns.copy()
    for sort, shift in ((COMPUTE, 0), (PACK, 0), (RECEIVE, schedule.n_op)):
        mine = ops.sort == sort
        work[mine] += noise.extra_ns[ops.op[mine] + shift]
    frozen = int(op_end_ns(job.graph, replay(job.graph, work)).max())
    return plain.makespan_ns, noisy, frozen


def races():
    print(
        "\n| schedule | one noise event of 5 us per | simulated, of noiseless | frozen order, of simulated |"
    )
    print("|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as scratch:
        for name, write in RACES.items():
            for period_ns in PERIODS:
                plain, noisy, frozen = race(write, Path(scratch) / "a.goal", period_ns)
                grown, off = noisy / plain - 1, frozen / noisy - 1
                print(
                    f"| {name} | {period_ns / 1e3:,.0f} us | {grown:+.1%} | {off:+.1%} |",
                    flush=True,
                )


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    arguments.add_argument("--peer", type=Path)
    arguments.add_argument("--runs", type=int, default=3)
    given = arguments.parse_args()
    speed(given.peer, given.runs)
    races()
