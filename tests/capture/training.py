"""A job over gloo, data parallel or (``--tensor``) tensor and data parallel; run by an interpreter that has PyTorch.

It knows nothing of loadpath unless ``--record`` names a folder. Work is an op that sleeps, so that ranks need
no processor each; the fault is more of it (`rank`) or a pause between two calls (`host`).
"""

import argparse
import contextlib
import json
import os
import signal
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

WORK_S = 0.01


def work_op():
    """Define an op that takes a given time, as one recorded call."""
    library = torch.library.Library("training", "FRAGMENT")
    library.define("work(Tensor batch, float seconds) -> Tensor")

    def work(batch, seconds):
        time.sleep(seconds)
        return batch.clone()

    library.impl("work", work, "CPU")
    return torch.ops.training.work, library


class Sum(torch.autograd.Function):  # type: ignore[misc]  # PyTorch is not here
    """Add up over a group: what `forward` holds parts of, or the gradients of what all share."""

    @staticmethod
    def forward(ctx, part, group, when):
        ctx.group, ctx.when = group, when
        return summed(part, group) if when == "forward" else part.clone()

    @staticmethod
    def backward(ctx, gradient):
        own = summed(gradient, ctx.group) if ctx.when == "backward" else gradient.clone()
        return own, None, None


def summed(part, group):
    total = part.clone()
    dist.all_reduce(total, group=group)
    return total


class SplitLayer(nn.Module):  # type: ignore[misc]  # PyTorch is not here
    """A layer whose width is split over the ranks of a group."""

    def __init__(self, width, group):
        super().__init__()
        self.group = group
        self.wide = nn.Linear(width, 4 * width // group.size())
        self.narrow = nn.Linear(4 * width // group.size(), width, bias=False)

    def forward(self, batch):
        part = self.narrow(self.wide(Sum.apply(batch, self.group, "backward")).relu())
        return Sum.apply(part, self.group, "forward")


def parallel_model(rank, options):
    """Neighbours share each layer; those that hold the same part have a replica each."""
    n, size = options.ranks, options.tensor
    if size == 1:
        return nn.parallel.DistributedDataParallel(nn.Sequential(*(nn.Linear(64, 64),) * 3))
    rows = [range(first, first + size) for first in range(0, n, size)]
    columns = [range(first, n, size) for first in range(size)]
    groups = [(ranks, dist.new_group(list(ranks))) for ranks in (*rows, *columns)]
    tensor, data = (group for ranks, group in groups if rank in ranks)
    model = nn.Sequential(*(SplitLayer(64, tensor) for _ in range(3)))
    return nn.parallel.DistributedDataParallel(model, process_group=data)


def recorder(rank, options):
    if not options.record:
        return contextlib.nullcontext()
    import loadpath  # noqa: PLC0415 - an unmodified job does without

    return loadpath.record(options.record, every=options.every, active=options.active, rank=rank)


def train(rank, options, store):
    torch.set_num_threads(1)
    os.environ["RANK"] = str(rank)
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=options.ranks
    )
    model = parallel_model(rank, options)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    work, _library = work_op()
    late = {options.fault: options.ms / 1e3} if rank == options.place else {}
    begin, goes_on = time.time(), torch.ones(1)
    with recorder(rank, options) as recorded:
        while goes_on.item():
            time.sleep(late.get("host", 0.0))
            batch = work(torch.ones(8, 64), WORK_S + late.get("rank", 0.0))
            model(batch).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            options.n_step += 1
            if options.pids and options.n_step == 3:
                (options.pids / str(rank)).write_text(str(os.getpid()))
            if options.n_step == options.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if recorded:
                recorded.step()
            is_time = options.seconds and time.time() - begin > options.seconds
            if options.n_step % options.together == 0:
                goes_on = torch.tensor([float(not is_time and options.n_step != options.steps)])
                dist.all_reduce(goes_on, op=dist.ReduceOp.MIN)
    if options.say:
        said = {"steps": options.n_step, "step_s": (time.time() - begin) / options.n_step}
        (options.say / f"said_{rank}.json").write_text(json.dumps(said))
    dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fault", choices=("none", "rank", "host"), default="none")
    parser.add_argument("--place", type=int, default=1)
    parser.add_argument("--ms", type=float, default=60.0)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--tensor", type=int, default=1, help="ranks that share each layer")
    parser.add_argument("--together", type=int, default=1, help="steps after which all ranks meet")
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--every", type=int, default=12)
    parser.add_argument("--active", type=int, default=8)
    parser.add_argument("--kill-at", type=int, default=0, help="step in which all ranks are killed")
    parser.add_argument("--pids", type=Path, help="folder that gets the number of each that trains")
    parser.add_argument("--say", type=Path, help="folder that gets what steps took")
    parser.add_argument("--store", help="file in which ranks meet that Slurm started")
    options = parser.parse_args()
    options.n_step = 0
    if options.store:
        train(int(os.environ["SLURM_PROCID"]), options, options.store)
        return
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(train, args=(options, f"{folder}/store"), nprocs=options.ranks)


if __name__ == "__main__":
    main()
