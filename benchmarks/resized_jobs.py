"""Real jobs at several sizes: what traces of one size foretell of the others, beside what these took.

    python benchmarks/resized_jobs.py --torch PYTHON --keep FOLDER

`PYTHON` has PyTorch. Processes train replicas of a model (with `--parallel pp` stages of one, which divide `--depth`)
over gloo on this machine, and each is traced by PyTorch's profiler. Its layers wait for a time that follows the samples,
as for a device, with a few percent of noise of each rank's own; what the processes share (processors, links of the
machine) is real. Weak scaling keeps the samples of a replica, strong scaling those of a step; stages share out layers. A
job at each size is recorded `--repeats` times; the middle recording of size `--from` is audited and asked for all sizes.

The name of the machine is taken off traces of replicas: on one machine further ones do reach each other as the recorded
ones do, where a forecast would else put them on other hosts. A recording's step is the mean of its steps but the last, a
job's the median of its recordings. Other load of the machine meets the jobs unequally: run it on a quiet one, or let the
ranks, which mostly wait, go before all else (`--first`).
"""

import argparse
import gzip
import json
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

SAMPLES, MICROBATCHES, WARM = 32, 8, 6
"""Samples of a replica where nothing is shared out, passes of a pipeline, steps before those that are traced."""
RAMP_MS = 0.2
"""Of each pass of a layer, whatever its samples."""


def device_of(options, rank):
    """Give a layer that hands on what it gets, after its passes took their time elsewhere."""
    import torch

    chance = random.Random(1000 * options.seed + rank)

    def elapse(samples, share):
        usual = RAMP_MS + share * options.layer_ms * samples / SAMPLES
        time.sleep(usual * chance.lognormvariate(0, options.noise) / 1e3)

    class Elsewhere(torch.autograd.Function):
        @staticmethod
        def forward(_context, batch):
            elapse(len(batch), 1 / 3)
            return batch.clone()

        @staticmethod
        def backward(_context, gradient):
            elapse(len(gradient), 2 / 3)
            return gradient

    class Device(torch.nn.Module):
        def forward(self, batch):
            return Elsewhere.apply(batch)

    return Device()


def layers_of(options, rank, n_layer):
    """Give layers that compute a little here and wait as for a device."""
    import torch

    layers = []
    for _ in range(n_layer):
        layers += [torch.nn.Linear(options.width, options.width), device_of(options, rank)]
    return torch.nn.Sequential(*layers)


def replica(rank, options):
    """Give a step of a replica: gradients are all-reduced."""
    import torch

    model = torch.nn.parallel.DistributedDataParallel(layers_of(options, rank, options.depth))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    batch = torch.ones(options.batch, options.width)

    def step():
        model(batch).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def stage(rank, options):
    """Give a step of a stage: one microbatch forward, one backward in turn."""
    import torch
    from torch.distributed.pipelining import PipelineStage, Schedule1F1B

    net = layers_of(options, rank, options.depth // options.ranks)
    shape = (options.batch // MICROBATCHES, options.width)
    part = PipelineStage(
        net, rank, options.ranks, torch.device("cpu"),
        input_args=(torch.zeros(shape, requires_grad=rank > 0),),
        output_args=(torch.zeros(shape, requires_grad=True),),
    )  # fmt: skip
    schedule = Schedule1F1B(part, MICROBATCHES, loss_fn=torch.nn.functional.mse_loss)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4)
    batch = torch.ones(options.batch, options.width)

    def step():
        inputs = (batch,) if part.is_first else ()
        schedule.step(*inputs, target=batch if part.is_last else None)
        optimizer.step()
        optimizer.zero_grad()

    return step


def work(rank, options):
    """Be one rank: train, and trace the last steps."""
    import torch
    import torch.distributed as dist
    from torch.profiler import ProfilerActivity, profile, schedule

    if options.first:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    torch.set_num_threads(1)
    torch.manual_seed(rank)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    where = Path(options.keep)
    dist.init_process_group(
        "gloo", init_method=f"file://{where}/store", rank=rank, world_size=options.ranks
    )
    step = (replica if options.parallel == "ddp" else stage)(rank, options)
    phases = schedule(wait=WARM - 2, warmup=2, active=options.steps, repeat=1)
    # Whom a stage sends to is told by the inputs of its calls.
    told = {"schedule": phases, "record_shapes": options.parallel == "pp"}
    with profile(activities=[ProfilerActivity.CPU], **told) as profiler:
        for _ in range(WARM + options.steps):
            step()
            profiler.step()
    profiler.export_chrome_trace(f"{where}/raw{rank}.json")
    dist.destroy_process_group()


def record(options, ranks, batch, repeat):
    """Record one job; give the folder of its traces."""
    folder = Path(options.keep) / f"{options.parallel}-{ranks}-ranks-{batch}-samples-{repeat}"
    traces = folder / "traces"
    if traces.is_dir():
        return traces
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "store").unlink(missing_ok=True)
    job = {"--ranks": ranks, "--batch": batch, "--seed": options.seed + repeat, "--keep": folder}
    job |= {f"--{n.replace('_', '-')}": getattr(options, n) for n in MODEL}
    words = [str(word) for pair in job.items() for word in pair] + ["--first"] * options.first
    done = subprocess.run([options.torch, __file__, *words], capture_output=True, check=False)
    if done.returncode:
        sys.exit(done.stderr.decode()[-2000:])
    traces.mkdir()
    for raw in sorted(folder.glob("raw*.json")):
        told = json.loads(raw.read_text(encoding="utf-8"))
        if options.parallel == "ddp":
            told.pop("host_name", None)
        name = raw.name.replace("raw", "rank") + ".gz"
        (traces / name).write_bytes(gzip.compress(json.dumps(told).encode()))
        raw.unlink()
    return traces


def recorded(options, ranks, batch):
    """Record a job; give the mean step of each recording in s, and its traces, from the fastest on."""
    import loadpath as lp

    found = []
    for repeat in range(options.repeats):
        traces = record(options, ranks, batch, repeat)
        audit = lp.run_audit(traces, brief=False)
        # In the last step the first ranks to end write their traces, which takes processors from the others.
        steps = audit.tables["step_time"].sort("step")["measured_s"].to_list()[:-1]
        found.append((statistics.fmean(steps), traces))
    return sorted(found)


def say(options):
    """Record all jobs, foretell them from one, and print both."""
    own = options.origin
    source = recorded(options, own, SAMPLES)[options.repeats // 2][1]
    print(
        "asked   ranks  measured ms (least, most)   foretold ms (90 % band)        error  in band"
    )
    for goal in ("weak", "strong") if options.parallel == "ddp" else ("stages",):
        for ranks in options.sizes:
            if goal == "strong":
                batch, how = SAMPLES * own // ranks, {"goal": goal, "samples": SAMPLES * own}
            else:
                batch, how = SAMPLES, {"goal": "weak"}
            how |= {"data_parallel": True} if goal != "stages" else {"pipeline": ranks}
            times = [time_s for time_s, _ in recorded(options, ranks, batch)]
            say_one(f"{goal:7} {ranks:5}", times, source, how | {"sizes": [ranks]})


def say_one(label, times, source, how):
    """Foretell one job, and print it beside what it took."""
    import loadpath as lp

    told = lp.run_forecast(source, **how)
    band = told.document["points"][0]["step_s"]
    middle = statistics.median(times)
    inside = "yes" if band["low"] <= middle <= band["high"] else "no"
    print(
        f"{label}  {1e3 * middle:8.2f} ({1e3 * min(times):.2f}, {1e3 * max(times):.2f})   "
        f"{1e3 * band['median']:8.2f} ({1e3 * band['low']:.2f}, {1e3 * band['high']:.2f})   "
        f"{100 * (band['median'] / middle - 1):+6.2f} %  {inside}"
    )


MODEL = ("parallel", "width", "depth", "layer_ms", "noise", "steps")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", help="a Python that has PyTorch")
    parser.add_argument(
        "--keep", required=True, help="folder of the recordings; those in it are used"
    )
    parser.add_argument("--parallel", choices=("ddp", "pp"), default="ddp")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--from", type=int, default=2, dest="origin")
    parser.add_argument(
        "--first", action="store_true", help="ranks go before all else (Linux, superuser)"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--layer-ms", type=float, default=100.0)
    parser.add_argument("--noise", type=float, default=0.05)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ranks", type=int, default=0)
    parser.add_argument("--batch", type=int, default=SAMPLES)
    options = parser.parse_args()
    if options.ranks:
        import torch.multiprocessing as mp

        mp.spawn(work, args=(options,), nprocs=options.ranks)
        return
    if options.torch is None:
        sys.exit("resized_jobs: give a Python that has PyTorch (--torch).")
    say(options)


if __name__ == "__main__":
    main()
