"""Record a real PyTorch job of several processes, with or without a planted fault.

A small model runs under DDP, FSDP2, tensor parallelism, a pipeline or tensor parallelism with
FSDP2 (`2d`), all ranks on this machine over gloo. `loadpath.record` leaves one window: a Kineto trace per
rank, with the flight recorder's dump beside it. PyTorch is needed beside loadpath::

    python3 -m venv VENV && VENV/bin/pip install torch==2.13.0 .
    VENV/bin/python examples/record.py --parallel fsdp2 --fault input --rank 1 --ms 40 OUT

Faults, each on one rank: `input` (its data set sleeps), `rank` (the op `example::augment` computes
longer), `host` (pauses between calls), `checkpoint` (every few steps it writes its state to a
storage that is slow). With `--device cuda` all ranks share the GPU.
"""

import argparse
import gzip
import os
import re
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from jobs import JOBS, Plan
from torch.profiler import ProfilerActivity, record_function
from torch.utils.data import DataLoader, Dataset

import loadpath
from loadpath.capture import Recorder


class Batches(Dataset):
    """Random batches that take `delay_s` each to make."""

    def __init__(self, shape: tuple[int, int], n_batches: int, delay_s: float) -> None:
        self.shape, self.n_batches, self.delay_s = shape, n_batches, delay_s

    def __len__(self) -> int:
        return self.n_batches

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        if not 0 <= index < self.n_batches:
            raise IndexError(index)
        time.sleep(self.delay_s)
        return torch.randn(self.shape), torch.randn(self.shape)


class SlowStorage:
    """A file whose bytes take `s_per_byte` each to write."""

    def __init__(self, path: Path, s_per_byte: float) -> None:
        self.file, self.s_per_byte = path.open("wb"), s_per_byte

    def write(self, data: bytes) -> int:
        time.sleep(len(data) * self.s_per_byte)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()

    def close(self) -> None:
        os.fsync(self.file.fileno())
        self.file.close()


def write_checkpoint(optimizer: torch.optim.Optimizer, path: Path, delay_s: float) -> None:
    """Write the state as users do: `torch.save`, then `fsync`, under a name of their own."""
    with record_function("save_checkpoint"):
        tensors = [
            tensor.detach() for group in optimizer.param_groups for tensor in group["params"]
        ]
        storage = SlowStorage(path, delay_s / sum(tensor.nbytes for tensor in tensors))
        torch.save(tensors, storage)
        storage.close()


def train(options: argparse.Namespace, rank: int, recorder: Recorder, folder: Path) -> None:
    """Run all steps of one rank: those before the window, and the window; `recorder` marks their borders."""
    own_s = options.ms / 1e3 if rank == options.rank else 0.0
    size = {"spin_s": "rank", "pause_s": "host"}
    faults = {key: own_s for key, fault in size.items() if fault == options.fault}
    plan = Plan(
        options.parallel,
        rank,
        options.ranks,
        options.device,
        options.width,
        options.depth,
        options.batch,
        options.microbatches,
        **faults,
    )
    step, optimizer = JOBS[options.parallel](plan)
    home = "cpu" if options.parallel == "pp" else options.device
    delay_s = own_s if options.fault == "input" else 0.0
    batches = Batches((options.batch, options.width), window_at(options) + options.steps, delay_s)
    for index, (features, targets) in enumerate(DataLoader(batches, batch_size=None)):
        step(features.to(home), targets.to(home))
        if options.fault == "checkpoint" and index % options.every == options.every - 1:
            if own_s:
                write_checkpoint(optimizer, folder / "checkpoint.pt", own_s)
            dist.barrier()
        recorder.step()


def publish(raw: Path, target: Path) -> None:
    """Copy a trace; leave out indentation and the names of this machine and its folders."""
    text = gzip.decompress(raw.read_bytes()).decode()
    text = re.sub(r"\n\s*", "\n", text)
    text = re.sub(r'"host_name": "[^"]*"', '"host_name": "host0"', text)
    name = target.name.removesuffix(".gz")
    text = re.sub(r'"traceName": "[^"]*"', f'"traceName": "{name}"', text)
    target.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def window_at(options: argparse.Namespace) -> int:
    """Step at which the one window begins; the steps before it warm up."""
    return options.steps + 2


def run_rank(rank: int, options: argparse.Namespace, meeting: str) -> None:
    """Join the job as one rank, train under the profiler and write its trace."""
    torch.set_num_threads(1)
    torch.manual_seed(rank)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    os.environ.setdefault("TORCH_FR_BUFFER_SIZE", "2000")
    dist.init_process_group(
        "gloo", init_method=f"file://{meeting}/store", rank=rank, world_size=options.ranks
    )
    folder = Path(meeting)
    with loadpath.record(
        folder / "recording",
        every=window_at(options),
        active=options.steps,
        activities=activities(options.device),
        experimental_config=torch._C._profiler._ExperimentalConfig(  # noqa: SLF001
            enable_cuda_sync_events=options.sync_events
        ),
    ) as recorder:
        train(options, rank, recorder, folder)
    (window,) = (folder / "recording").glob("window-*")
    for name in (f"rank{rank}.json.gz", f"fr_rank{rank}.json.gz"):
        if (window / name).is_file():
            publish(window / name, options.out / name)
    dist.destroy_process_group()


def activities(device: str) -> list[ProfilerActivity]:
    """Choose what to record."""
    return [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for rank0.json.gz, rank1.json.gz, ...")
    parser.add_argument("--parallel", choices=tuple(JOBS), default="ddp")
    faults = ("none", "input", "rank", "host", "checkpoint")
    parser.add_argument("--fault", choices=faults, default="none")
    parser.add_argument("--rank", type=int, default=1, help="rank that carries the fault")
    parser.add_argument("--ms", type=float, default=40.0, help="size of the fault per step")
    parser.add_argument("--every", type=int, default=3, help="steps between two checkpoints")
    parser.add_argument("--steps", type=int, default=10, help="recorded steps")
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--depth", type=int, default=2, help="blocks of a rank")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--microbatches", type=int, default=4, help="of a pipeline")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--sync-events", action="store_true", help="record cuda_sync events")
    return parser.parse_args()


def main() -> None:
    """Start the ranks and wait for them."""
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as meeting:
        mp.spawn(run_rank, args=(options, meeting), nprocs=options.ranks)
    print(f"{options.ranks} traces of {options.steps} steps in {options.out}")


if __name__ == "__main__":
    main()
