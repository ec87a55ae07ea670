"""What recording costs a real job: blocks of steps with and without, in turn, in one run.

    python benchmarks/record_overhead.py --torch PYTHON --level stages
    python benchmarks/record_overhead.py --torch PYTHON --level traces --steps 510 --ranks 1 --width 256

`PYTHON` has PyTorch. Processes train a model over gloo. A block of 510 steps holds one window. The cost of a pair of blocks is the relative
difference of their mean steps; the interval is that of the mean over pairs drawn anew (95 %).
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DEPTH = 6
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


def block(training, options, folder):
    """Mean step of a block, by each clock; recorded if there is a folder."""
    import torch

    import loadpath

    clocks = {name: clock() for name, clock in CLOCKS.items()}
    if folder is None:
        for _ in range(options.steps):
            step(torch, training, options)
    else:
        stages = (
            dict(zip(("model", "optimizer"), training, strict=True))
            if options.level == "stages"
            else {}
        )
        with loadpath.record(folder, level=options.level, **stages) as recorder:
            for _ in range(options.steps):
                step(torch, training, options)
                recorder.step()
    return {name: (clock() - clocks[name]) / options.steps for name, clock in CLOCKS.items()}


def step(torch, training, options):
    model, optimizer = training
    model(torch.ones(options.batch, options.width)).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def work(rank, options, place):
    """Be one rank; rank 0 says what it measured."""
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{place}/store", rank=rank, world_size=options.ranks
    )
    layers = (torch.nn.Linear(options.width, options.width) for _ in range(DEPTH))
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Sequential(*layers))
    training = model, torch.optim.SGD(model.parameters(), lr=1e-4)
    block(training, options, None)
    pairs = []
    for k in range(options.pairs):
        folders = [None, Path(place) / f"recording-{k}"]
        pair = {}
        for folder in folders if k % 2 else reversed(folders):
            dist.barrier()
            pair["without" if folder is None else "with"] = block(training, options, folder)
        pairs.append(pair)
    if rank == 0:
        sys.stdout.write(json.dumps(pairs) + "\n")
    dist.destroy_process_group()


def record(options):
    import torch.multiprocessing as mp

    with tempfile.TemporaryDirectory() as place:
        mp.spawn(work, args=(options, place), nprocs=options.ranks)


def interval(costs):
    """Mean of the costs, and the 95 % interval of the means of draws."""
    draws = random.Random(0)
    means = sorted(statistics.mean(draws.choices(costs, k=len(costs))) for _ in range(10_000))
    return statistics.mean(costs), means[250], means[9_750]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", help="a Python that has PyTorch")
    parser.add_argument("--level", choices=("stages", "traces"), default="stages")
    parser.add_argument("--steps", type=int, default=100, help="of a block")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--pairs", type=int, default=12, help="of blocks")
    options = parser.parse_args()
    if options.torch is None:
        record(options)
        return
    words = [word for word in sys.argv if word not in {"--torch", options.torch}]
    done = subprocess.run([options.torch, *words], check=True, stdout=subprocess.PIPE, text=True)
    pairs = json.loads(next(s for s in done.stdout.splitlines() if s.startswith("[{")))
    for clock in CLOCKS:
        costs = [p["with"][clock] / p["without"][clock] - 1 for p in pairs]
        step_ms = 1e3 * statistics.mean(p["without"][clock] for p in pairs)
        mean, low, high = (100 * value for value in interval(costs))
        print(f"{clock}: step {step_ms:.2f} ms, {mean:+.2f} % ({low:+.2f} to {high:+.2f})")
        costs = [1e3 * options.steps * (p["with"][clock] - p["without"][clock]) for p in pairs]
        mean, low, high = interval(costs)
        print(f"    a block: {mean:+.2f} ms ({low:+.2f} to {high:+.2f})")


if __name__ == "__main__":
    main()
