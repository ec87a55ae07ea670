"""Record a real data-parallel job on CPUs: one Kineto trace per rank, with or without a fault.

The job is a small multi-layer perceptron under DistributedDataParallel over gloo, all ranks on
this machine. It is the only part of the repository that needs PyTorch::

    python3 -m venv VENV && VENV/bin/pip install torch==2.13.0
    VENV/bin/python examples/record_gloo.py --fault input --rank 1 --ms 40 OUT

Faults: `input` makes the batches of one rank arrive late (its data set sleeps), `rank` makes one
op of one rank compute longer (`example::augment`, on all ranks, spins longer on that one).
"""

import argparse
import functools
import gzip
import os
import re
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.profiler import ProfilerActivity, profile, schedule
from torch.utils.data import DataLoader, Dataset

BATCH = 32
WARM_UP = 3


@torch.library.custom_op("example::augment", mutates_args=())
def augment(batch: torch.Tensor, spin_s: float) -> torch.Tensor:
    """Keep a CPU busy for a given time, as one recorded op.

    Returns
    -------
    torch.Tensor
        The batch, copied.
    """
    until = time.perf_counter() + spin_s
    while time.perf_counter() < until:
        pass
    return batch.clone()


class Batches(Dataset):
    """Random batches that take `delay_s` each to make."""

    def __init__(self, n_batches: int, width: int, delay_s: float) -> None:
        self.n_batches, self.width, self.delay_s = n_batches, width, delay_s

    def __len__(self) -> int:
        return self.n_batches

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        if not 0 <= index < self.n_batches:
            raise IndexError(index)
        time.sleep(self.delay_s)
        return torch.randn(BATCH, self.width), torch.randn(BATCH, self.width)


def model(width: int, depth: int) -> nn.Module:
    """Make a perceptron with `depth` hidden layers.

    Returns
    -------
    torch.nn.Module
        Layers of equal `width`.
    """
    layers = [layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(width, width))


def train(options: argparse.Namespace, rank: int, recorder: profile) -> None:
    """Run all steps of one rank; `recorder` marks their borders."""
    faulty = rank == options.rank
    delay_s = options.ms / 1e3 if faulty and options.fault == "input" else 0.0
    spin_s = options.ms / 1e3 if faulty and options.fault == "rank" else 0.001
    net = DistributedDataParallel(model(options.width, options.depth), bucket_cap_mb=1)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, foreach=True)
    batches = Batches(WARM_UP + options.steps, options.width, delay_s)
    for features, targets in DataLoader(batches, batch_size=None):
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.mse_loss(net(augment(features, spin_s)), targets)
        loss.backward()
        optimizer.step()
        recorder.step()


def publish(raw: Path, target: Path) -> None:
    """Compress a trace; leave out indentation and the names of this machine and its folders."""
    text = raw.read_text(encoding="utf-8")
    text = re.sub(r"\n\s*", "\n", text)
    text = re.sub(r'"host_name": "[^"]*"', '"host_name": "host0"', text)
    name = target.name.removesuffix(".gz")
    text = re.sub(r'"traceName": "[^"]*"', f'"traceName": "{name}"', text)
    target.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def run_rank(rank: int, options: argparse.Namespace, meeting: str) -> None:
    """Join the job as one rank, train under the profiler and write its trace."""
    torch.set_num_threads(1)
    torch.manual_seed(rank)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group(
        "gloo", init_method=f"file://{meeting}/store", rank=rank, world_size=options.ranks
    )
    raw = Path(meeting) / f"rank{rank}.json"
    with profile(
        activities=[ProfilerActivity.CPU],
        schedule=schedule(wait=1, warmup=WARM_UP - 1, active=options.steps, repeat=1),
        on_trace_ready=functools.partial(export, path=raw),
        record_shapes=True,
    ) as recorder:
        train(options, rank, recorder)
    publish(raw, options.out / f"rank{rank}.json.gz")
    dist.destroy_process_group()


def export(recorder: profile, path: Path) -> None:
    """Write the trace as Kineto JSON, once all ranks have done their last step."""
    recorder.export_chrome_trace(str(path))
    dist.barrier()


def main() -> None:
    """Start the ranks and wait for them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for rank0.json.gz, rank1.json.gz, ...")
    parser.add_argument("--fault", choices=("rank", "input", "none"), default="none")
    parser.add_argument("--rank", type=int, default=1, help="rank that carries the fault")
    parser.add_argument("--ms", type=float, default=40.0, help="size of the fault per step")
    parser.add_argument("--steps", type=int, default=10, help="recorded steps")
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--depth", type=int, default=3)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as meeting:
        mp.spawn(run_rank, args=(options, meeting), nprocs=options.ranks)
    print(f"{options.ranks} traces of {options.steps} steps in {options.out}")


if __name__ == "__main__":
    main()
