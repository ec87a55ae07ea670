"""What a stage log costs a step: switched on and off every few steps of one run, in an order drawn at random.

    python benchmarks/stage_log_overhead.py --torch PYTHON --seconds 300

`PYTHON` has PyTorch. Processes train a model over gloo; blocks of 8 steps come in pairs, one with the log and one
without, whichever first by lot. What else the machine does meets both alike, and a pair tells their difference.
Its first steps, in which hooks are made and look for the last gradient, are told apart: a job has them once. The
mean over pairs leaves out a tenth at each end (`--trim`), the interval is that of such means of pairs drawn anew (95 %).

Where processors compute, their steps differ by a tenth and more from one to the next, which hides 0.2 % for hours. With
`--device-ms 20` the layers are small and the time of a step is that of a device for which the process waits, as a job on
accelerators does: a third of it in the forward pass, the rest in the backward pass, by sleeping.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DEPTH, BLOCK, FIRST = 6, 8, 3
CLOCKS = {"wall": time.perf_counter_ns, "processor": time.process_time_ns}
BOUND = 0.002
N_DRAWN = 2000


def times_of_block(train, log, watch):
    """Time of each step of a block, by each clock, in ns."""
    handles = watch() if log else []
    times = []
    for k in range(BLOCK):
        before = [clock() for clock in CLOCKS.values()]
        train()
        if log:
            log.step(k)
        times.append([clock() - b for clock, b in zip(CLOCKS.values(), before, strict=True)])
    for handle in handles:
        handle.remove()
    return [list(by_clock) for by_clock in zip(*times, strict=True)]


def device_of(milliseconds):
    """A layer that hands on what it gets, after its passes took so long elsewhere."""
    import torch

    class Elsewhere(torch.autograd.Function):
        @staticmethod
        def forward(_context, batch):
            time.sleep(milliseconds / 3e3)
            return batch.clone()

        @staticmethod
        def backward(_context, gradient):
            time.sleep(2 * milliseconds / 3e3)
            return gradient

    class Device(torch.nn.Module):
        def forward(self, batch):
            return Elsewhere.apply(batch)

    return Device()


def work(rank, options, place):
    """Be one rank; rank 0 says what it measured."""
    import torch
    import torch.distributed as dist

    from loadpath.capture.stages import StageLog, watch_training

    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group(
        "gloo", init_method=f"file://{place}/store", rank=rank, world_size=options.ranks
    )
    layers = [torch.nn.Linear(options.width, options.width) for _ in range(DEPTH)]
    if options.device_ms:
        layers.insert(DEPTH // 2, device_of(options.device_ms))
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Sequential(*layers))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    batch = torch.ones(options.batch, options.width)

    def train():
        model(batch).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    log = StageLog(Path(place), rank)
    chance, goes_on, pairs = random.Random(options.seed), torch.ones(1), []
    times_of_block(train, log, lambda: watch_training(log, model, optimizer))
    until = time.monotonic() + options.seconds
    while goes_on.item():
        pair = {}
        for is_on in chance.sample([True, False], 2):
            watch = (lambda: watch_training(log, model, optimizer)) if is_on else None
            pair[is_on] = times_of_block(train, log if is_on else None, watch)
        pairs.append((pair[False], pair[True]))
        goes_on = torch.tensor([float(time.monotonic() < until)])
        dist.broadcast(goes_on, 0)
    log.close()
    if rank == 0:
        Path(options.keep).write_text(json.dumps(pairs), encoding="utf-8")
    dist.destroy_process_group()


def trimmed(values, trim):
    """Mean of each row without the shares at both ends."""
    import numpy as np

    ordered = np.sort(values, axis=-1)
    cut = int(trim * values.shape[-1])
    return ordered[..., cut : values.shape[-1] - cut].mean(axis=-1)


def say(pairs, trim):
    """Print the cost by each clock, and whether it is proven to be within the bound."""
    import numpy as np

    pairs = np.array(pairs)
    for place, name in enumerate(CLOCKS):
        step = pairs[:, :, place, FIRST:].mean(axis=-1)
        more, usual = step[:, 1] - step[:, 0], float(np.median(step[:, 0]))
        drawn = np.random.default_rng(0).integers(more.size, size=(N_DRAWN, more.size))
        low, high = np.quantile(trimmed(more[drawn], trim), [0.025, 0.975])
        cost = {"cost": float(trimmed(more, trim)), "low": float(low), "high": float(high)}
        said = {key: round(value / 1e3, 2) for key, value in cost.items()}
        ratio = {key: round(100 * value / usual, 3) for key, value in cost.items()}
        proven = "proven" if cost["high"] <= BOUND * usual else "not proven"
        print(f"{name}: step {usual / 1e6:.2f} ms, {more.size} pairs; us a step {json.dumps(said)}")
        print(f"    % of a step {json.dumps(ratio)}: at most {100 * BOUND:.1f} % is {proven}")
        first = pairs[:, 1, place, :FIRST].sum(axis=-1) - pairs[:, 0, place, :FIRST].sum(axis=-1)
        print(f"    first {FIRST} steps together: {float(trimmed(first, trim)) / 1e3:.0f} us, once")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", help="a Python that has PyTorch")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--batch", type=int, default=192)
    parser.add_argument("--device-ms", type=float, default=0.0)
    parser.add_argument("--trim", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", help="file of what was measured (.json); read if it is there")
    options = parser.parse_args()
    if options.torch is None:
        import torch.multiprocessing as mp

        with tempfile.TemporaryDirectory() as place:
            mp.spawn(work, args=(options, place), nprocs=options.ranks)
        return
    with tempfile.TemporaryDirectory() as place:
        kept = options.keep or f"{place}/pairs.json"
        if not Path(kept).is_file():
            words = [word for word in sys.argv if word not in {"--torch", options.torch}]
            known = os.pathsep.join(p for p in sys.path if Path(p, "loadpath").is_dir())
            environment = os.environ | {"PYTHONPATH": known}
            command = [options.torch, *words, "--keep", kept]
            subprocess.run(command, check=True, env=environment)
        say(json.loads(Path(kept).read_text(encoding="utf-8")), options.trim)


if __name__ == "__main__":
    main()
