"""Does a stage log name the stage and the rank of a hidden fault? Fifty real data-parallel runs.

    python benchmarks/stage_suspects.py --torch PYTHON FOLDER

`PYTHON` has PyTorch; four processes on this machine run the trials, one after the other, over gloo. In
each trial one rank, drawn at random, spends longer in one stage (input, forward, backward, optimizer),
by sleeping (input) or by computing. What was planted is written beside the logs and read last.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FAULTS = ("input", "forward", "backward", "optimizer")
RANKS, WIDTH, BATCH, DEPTH = 4, 256, 32, 3


def compute(seconds):
    """Keep a processor busy for so much of its own time."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def draw(seed):
    """Choose what to plant."""
    chance = random.Random(seed)
    fault, rank = chance.choice(FAULTS), chance.randrange(RANKS)
    return {"fault": fault, "rank": rank, "ms": chance.uniform(5, 20)}


def make_training(own):
    """Model and optimizer of one rank; `own` says how long it is to be slow, by stage."""
    import torch
    from torch import nn

    class Slow(torch.autograd.Function):
        @staticmethod
        def forward(_context, batch):
            compute(own.get("forward", 0.0))
            return batch.clone()

        @staticmethod
        def backward(_context, gradient):
            compute(own.get("backward", 0.0))
            return gradient

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(DEPTH)))
            self.head = nn.Linear(WIDTH, WIDTH)

        def forward(self, batch):
            return self.head(Slow.apply(self.layers(batch)))

    class Descent(torch.optim.SGD):
        def step(self, closure=None):
            compute(own.get("optimizer", 0.0))
            return super().step(closure)

    model = nn.parallel.DistributedDataParallel(Block())
    return model, Descent(model.parameters(), lr=1e-3)


def run_trial(rank, folder, seed, steps):
    """Train for some steps, and log their stages."""
    import torch

    import loadpath

    planted = draw(seed)
    mine = planted["rank"] == rank
    own = {planted["fault"]: planted["ms"] / 1e3} if mine else {}
    model, optimizer = make_training(own)

    def batches():
        for _ in range(steps):
            time.sleep(own.get("input", 0.0))
            yield torch.randn(BATCH, WIDTH)

    options = {"level": "stages", "model": model, "optimizer": optimizer}
    with loadpath.record(folder / "log", **options) as recorder:
        for batch in recorder.batches(batches()):
            model(batch).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            recorder.step()
    if rank == 0:
        (folder / "truth.json").write_text(json.dumps(planted))


def work(rank, options, store):
    """Run all trials as one rank."""
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=RANKS)
    for seed in range(options.seed, options.seed + options.trials):
        run_trial(rank, options.folder / f"trial-{seed}", seed, options.steps)
        dist.barrier()
    dist.destroy_process_group()


def record(options):
    import torch.multiprocessing as mp

    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, args=(options, f"{folder}/store"), nprocs=RANKS)


def judge(folder):
    """Place of the planted fault among the suspects (-1: not there), and the verdict's ranks."""
    from loadpath import run_audit

    document = run_audit(folder / "log", brief=False).document
    truth = json.loads((folder / "truth.json").read_text())
    named = [(s["stage"], s["rank"]) for s in document["frontier"]["suspects"]]
    wanted = (truth["fault"], truth["rank"])
    place = named.index(wanted) if wanted in named else -1
    return truth, place, document["verdict"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--torch", help="a Python that has PyTorch")
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.torch is None:
        record(options)
        return
    words = [word for word in sys.argv if word not in {"--torch", options.torch}]
    subprocess.run([options.torch, *words], check=True)
    places, right = [], 0
    for seed in range(options.seed, options.seed + options.trials):
        truth, place, verdict = judge(options.folder / f"trial-{seed}")
        places.append(place)
        right += verdict["ranks"] == [truth["rank"]]
        said = f"{verdict['kind']} {verdict['ranks']}"
        print(f"{seed} {truth['fault']} {truth['rank']} {truth['ms']:.1f} ms: {place}, {said}")
    first, among = places.count(0), places.count(0) + places.count(1)
    print(f"{len(places)} runs: first {first}, among the first two {among}, verdict {right}")


if __name__ == "__main__":
    main()
