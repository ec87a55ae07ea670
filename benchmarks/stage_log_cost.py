"""What a stage log costs each of its steps, without the noise of a step's work: warm, and with cold caches.

    python benchmarks/stage_log_cost.py --torch PYTHON [--source FOLDER]

`PYTHON` has PyTorch. Two processes train two models of one number over gloo, one with the log and one without, a step
of each by turns, whichever first by lot. What is timed is the passes and the optimizer of such a model, by the
processor time of the thread that trains: the difference is what the log and the hooks of PyTorch take. Before each part
of a cold step (forward, backward, optimizer, end) 16 MiB are written, as real layers do. The median over pairs of steps
and its interval (95 %, pairs drawn anew); Python calls of a step by `sys.setprofile`. `--source` measures another
version of loadpath.
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

ROOT = Path(__file__).parents[1]
PARTS = ("forward", "backward", "optimizer", "end")
LEARNING, N_DRAWN = 5, 1000
WORDS = ("steps", "cold_steps", "ranks", "thrash_mib", "seed")


def timed_step(parts, thrash):
    """Time of each part of a step, in ns, with cold caches where `thrash` writes."""
    times = []
    for part in parts:
        thrash()
        begin = time.thread_time_ns()
        part()
        times.append(time.thread_time_ns() - begin)
    return times


def python_calls(parts):
    """Count the calls of Python functions and of built-in ones in a step."""
    n = 0

    def count(_frame, event, _argument):
        nonlocal n
        n += event in {"call", "c_call"}

    sys.setprofile(count)
    for part in parts:
        part()
    sys.setprofile(None)
    return n


def trained(end, watch):
    """Parts of a step of a model of one number."""
    import torch

    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(1, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)
    end = watch(model, optimizer) if watch else end
    batch, held = torch.ones(1, 1), {}

    def forward():
        held["loss"] = model(batch).mean()

    def backward():
        held.pop("loss").backward()

    return forward, backward, optimizer.step, end


def work(rank, options, place):
    """Be one rank; rank 0 says what it measured."""
    import numpy as np
    import torch
    import torch.distributed as dist

    import loadpath as lp

    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    store = f"file://{place}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=options.ranks)

    def watch(model, optimizer):
        recorder = lp.record(place, level="stages", rank=rank, model=model, optimizer=optimizer)
        return recorder.step

    steps = {True: trained(None, watch), False: trained(lambda: None, None)}
    memory, chance = np.zeros(options.thrash_mib << 17), random.Random(options.seed)
    wipes = {"warm": lambda: None, "cold": lambda: np.add(memory, 1.0, out=memory)}
    found = {"calls": {}, "warm": [], "cold": []}
    for how, n in (("warm", options.steps), ("cold", options.cold_steps)):
        for _ in range(n):
            pair = {
                is_on: timed_step(steps[is_on], wipes[how])
                for is_on in chance.sample([True, False], 2)
            }
            found[how].append((pair[False], pair[True]))
        found["calls"] = {str(is_on): python_calls(parts) for is_on, parts in steps.items()}
    if rank == 0:
        Path(options.keep).write_text(json.dumps(found), encoding="utf-8")
    dist.destroy_process_group()


def say(found):
    """Print medians of each part, and of the step."""
    import numpy as np

    calls = found["calls"]
    print(f"Python calls a step: {calls['False']} without, {calls['True']} with the log")
    for how in ("warm", "cold"):
        without, with_log = np.array(found[how][LEARNING:], float).transpose(1, 0, 2) / 1e3
        more = with_log - without
        parts = ", ".join(
            f"{name} {us:.1f}" for name, us in zip(PARTS, np.median(more, axis=0), strict=True)
        )
        total = more.sum(axis=1)
        drawn = np.random.default_rng(0).choice(total, (N_DRAWN, total.size))
        low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
        print(
            f"{how}: {np.median(total):.1f} us a step [{low:.1f}, {high:.1f}], of {total.size} pairs; {parts}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", default=sys.executable, help="a Python that has PyTorch")
    parser.add_argument("--source", default=str(ROOT / "src"), help="folder that holds the package")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--cold-steps", type=int, default=600)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--thrash-mib", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    for hidden in ("--keep", "--rank", "--place"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rank is not None:
        work(int(options.rank), options, options.place)
        return
    with tempfile.TemporaryDirectory() as place:
        keep = Path(place) / "found.json"
        words = [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in WORDS]
        ranks = [
            subprocess.Popen(
                [
                    options.torch,
                    __file__,
                    *words,
                    f"--keep={keep}",
                    f"--rank={rank}",
                    f"--place={place}",
                ],
                env=os.environ | {"PYTHONPATH": options.source},
            )
            for rank in range(options.ranks)
        ]
        if any([process.wait() != 0 for process in ranks]):  # noqa: C419 - all are to end
            raise SystemExit("a rank ended with an error")
        say(json.loads(keep.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
