"""Record a real PyTorch job of four processes that stands still, by its flight recorders alone.

Ranks all-reduce in pairs and all together, over gloo on this machine; at the sixth step rank 2 is
stopped by a signal, stays away, or asks for another collective or size, and a watchdog thread of every
rank then writes its dump (a stopped process writes none)::

    python3 -m venv VENV && VENV/bin/pip install torch==2.13.0
    VENV/bin/python examples/record_hang.py --fault stopped OUT

Faults: `stopped` (SIGSTOP), `away` (it never comes), `order` (a broadcast where its peers
all-reduce), `size` (it adds up half as many numbers), `none` (all ranks end).
"""

import argparse
import contextlib
import os
import signal
import tempfile
import threading
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch._C._distributed_c10d import _dump_fr_trace, _dump_fr_trace_json

RANKS, STEPS, FAULTY_STEP, CULPRIT = 4, 10, 5, 2
FAULTS = ("stopped", "away", "order", "size", "none")


def write_dump(options: argparse.Namespace, rank: int) -> None:
    """Write what this rank's flight recorder holds, as a watchdog would."""
    # gloo ends a process that is sent more than it asked for: it dumps before its peers come
    is_late = options.fault == "size" and rank != CULPRIT
    time.sleep(options.after * (3 if is_late else 1))
    if options.form == "pickle":
        (options.out / f"_dump_{rank}").write_bytes(_dump_fr_trace(includeStackTraces=False))
    else:
        (options.out / f"fr_rank{rank}.json").write_bytes(_dump_fr_trace_json())


def misbehave(options: argparse.Namespace, tensor: torch.Tensor) -> None:
    """Do what the culprit does instead of its part."""
    if options.fault == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif options.fault == "away":
        time.sleep(10 * options.after)
    elif options.fault == "order":
        dist.broadcast(tensor, src=0)
    elif options.fault == "size":
        dist.all_reduce(tensor[: tensor.numel() // 2])


def train(rank: int, options: argparse.Namespace, pair: dist.ProcessGroup) -> None:
    """Add up in the pair and among all, step by step."""
    tensor = torch.ones(1000)
    for step in range(STEPS):
        dist.all_reduce(tensor, group=pair)
        if (rank, step) == (CULPRIT, FAULTY_STEP):
            misbehave(options, tensor)
        elif options.fault == "size" and step == FAULTY_STEP:
            time.sleep(2 * options.after)
        dist.all_reduce(tensor)


def work(rank: int, options: argparse.Namespace, store: str) -> None:
    """Run one rank."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=RANKS)
    pairs = [dist.new_group([0, 1]), dist.new_group([2, 3])]
    threading.Thread(target=write_dump, args=(options, rank), daemon=True).start()
    # sizes that differ break gloo's connections: a watchdog dumps then, too
    with contextlib.suppress(RuntimeError):
        train(rank, options, pairs[rank // 2])
    time.sleep(4 * options.after)


def main() -> None:
    """Start the ranks, wait for their dumps, and end them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--fault", choices=FAULTS, default="stopped")
    parser.add_argument("--after", type=float, default=10.0, help="seconds until ranks dump")
    parser.add_argument("--form", choices=("json", "pickle"), default="json")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    os.environ["TORCH_FR_BUFFER_SIZE"] = "200"
    silent = {CULPRIT} if options.fault == "stopped" else set()
    with tempfile.TemporaryDirectory() as folder:
        arguments = [(rank, options, f"{folder}/store") for rank in range(RANKS)]
        context = mp.get_context("spawn")
        ranks = [context.Process(target=work, args=each) for each in arguments]
        for process in ranks:
            process.start()
        wanted = RANKS - len(silent)
        while len(list(options.out.iterdir())) < wanted and any(p.is_alive() for p in ranks):
            time.sleep(0.5)
        time.sleep(1.0)
        for process in ranks:
            process.kill()


if __name__ == "__main__":
    main()
