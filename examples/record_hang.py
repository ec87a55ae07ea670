"""Record a real PyTorch job of four processes that stands still, by its flight recorders alone.

Ranks all-reduce in pairs and all together, over gloo on this machine; at the sixth step rank 2 is
stopped by a signal, stays away, or asks for another collective, and a watchdog thread of every rank
then writes its dump (a stopped process writes none)::

    python3 -m venv VENV && VENV/bin/pip install torch==2.13.0
    VENV/bin/python examples/record_hang.py --fault stopped OUT

Faults: `stopped` (SIGSTOP), `away` (it never comes), `order` (a broadcast where its peers
all-reduce), `none` (all ranks end).
"""

import argparse
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
UNTIL_DUMP_S = 10.0


def write_dump(folder: Path, rank: int, form: str) -> None:
    """Write what this rank's flight recorder holds, as a watchdog would."""
    time.sleep(UNTIL_DUMP_S)
    if form == "pickle":
        (folder / f"_dump_{rank}").write_bytes(_dump_fr_trace(includeStackTraces=False))
    else:
        (folder / f"fr_rank{rank}.json").write_bytes(_dump_fr_trace_json())


def misbehave(fault: str, tensor: torch.Tensor) -> None:
    """Do what the culprit does instead of its part."""
    if fault == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif fault == "away":
        time.sleep(10 * UNTIL_DUMP_S)
    elif fault == "order":
        dist.broadcast(tensor, src=0)


def work(rank: int, options: argparse.Namespace, store: str) -> None:
    """Run one rank."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=RANKS)
    pairs = [dist.new_group([0, 1]), dist.new_group([2, 3])]
    dump = (options.out, rank, options.form)
    threading.Thread(target=write_dump, args=dump, daemon=True).start()
    tensor = torch.ones(1000)
    for step in range(STEPS):
        dist.all_reduce(tensor, group=pairs[rank // 2])
        if (rank, step) == (CULPRIT, FAULTY_STEP):
            misbehave(options.fault, tensor)
        dist.all_reduce(tensor)
    time.sleep(2 * UNTIL_DUMP_S)


def main() -> None:
    """Start the ranks, wait for their dumps, and end them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--fault", choices=("stopped", "away", "order", "none"), default="stopped")
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
