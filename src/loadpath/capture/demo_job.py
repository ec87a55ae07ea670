"""A small job of several processes with a planted fault, for ``loadpath demo``; it runs on CPUs over gloo.

    python -m loadpath.capture.demo_job OUT --fault rank --ranks 4

Ranks stand in a ring. In each step every rank works, adds a block up with each of its neighbours, and all
add up one number. Every second recorded step carries the fault: whatever else the machine does, it does to steps
with and without it alike. Work is an op that sleeps: the ranks may be more than the processors, and would else
slow each other.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loadpath.capture.pytorch import enable_flight_recorder, load_torch, process_store
from loadpath.capture.recorder import record
from loadpath.capture.slow_link import connections, pace

__all__ = ["FAULTS", "main"]

FAULTS = ("none", "rank", "host", "link")
WARM_UP, PAIRS = 6, 16
"""Steps before the first recorded one, and pairs of a step without and one with the fault."""
WORK_S, BLOCK_BYTES = 0.004, 1 << 20
Step = Callable[[], None]


def main() -> None:
    """Run the job: start its processes, or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--fault", choices=FAULTS, default="none")
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--place", type=int, default=0, help="rank, or lower end of the link")
    parser.add_argument("--ms", type=float, default=250.0, help="how much it costs a step, about")
    options = parser.parse_args()
    enable_flight_recorder()
    torch = load_torch()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as meeting:
        torch.multiprocessing.spawn(_run, args=(options, f"{meeting}/store"), nprocs=options.ranks)


def _run(rank: int, options: argparse.Namespace, store: str) -> None:
    """Be one rank."""
    torch = load_torch()
    distributed = torch.distributed
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=options.ranks
    )
    own = {"rank": 0.0, "host": 0.0}
    step = _step(rank, options.ranks, own)
    for _ in range(WARM_UP):
        step()
    plant = _planting(rank, options, own)
    every, active = 2 * PAIRS + 2, 2 * PAIRS
    times: list[float] = []
    with record(options.out / "recording", every=every, active=active, rank=rank) as recorder:
        for number in range(every + active):
            plant(options.ms / 1e3 if number >= every and (number - every) % 2 else 0.0)
            begin = time.perf_counter()
            step()
            recorder.step()
            times.append(time.perf_counter() - begin)
    if rank == 0:
        truth = _truth(options, times[every::2], times[every + 1 :: 2])
        (options.out / "truth.json").write_text(json.dumps(truth, indent=2), encoding="utf-8")
    distributed.destroy_process_group()


def _step(rank: int, n_rank: int, own: dict[str, float]) -> Step:
    """Make the step of a rank; `own` says how long its faults last, from now on."""
    torch = load_torch()
    distributed = torch.distributed
    work = _recorded_work(torch)
    block = torch.zeros(BLOCK_BYTES // 4)
    pairs = [sorted({k, (k + 1) % n_rank}) for k in range(n_rank if n_rank > 2 else 1)]
    links = [distributed.new_group(pair) for pair in pairs]
    mine = [link for link, pair in zip(links, pairs, strict=True) if rank in pair]

    def step() -> None:
        work(block, WORK_S + own["rank"])
        time.sleep(own["host"])
        work(block, WORK_S)
        for link in mine:
            distributed.all_reduce(block, group=link)
        distributed.all_reduce(torch.ones(1))

    return step


def _recorded_work(torch: Any) -> Any:
    """Define an op that takes a given time, as one recorded call."""
    library = torch.library.Library("loadpath", "FRAGMENT")
    library.define("work(Tensor block, float seconds) -> Tensor")

    def compute(block: Any, seconds: float) -> Any:
        time.sleep(seconds)
        return block.clone()

    library.impl("work", compute, "CPU")
    compute.library = library  # type: ignore[attr-defined]  # it lives as long as the op
    return torch.ops.loadpath.work


def _planting(
    rank: int, options: argparse.Namespace, own: dict[str, float]
) -> Callable[[float], None]:
    """Make what begins the fault (for so many seconds), or ends it (0), on the ranks that carry it."""
    ends = (options.place, (options.place + 1) % options.ranks)
    theirs = _ends_of_peer(rank, ends) if options.fault == "link" else ()

    def plant(seconds: float) -> None:
        if options.fault in own and rank == options.place:
            own[options.fault] = seconds
        if theirs:
            pace(theirs, round(BLOCK_BYTES / seconds) if seconds else 0)

    return plant


def _ends_of_peer(rank: int, ends: tuple[int, int]) -> tuple[str, ...]:
    """Find where the connections of the other end of a link end; none for ranks beside it."""
    store = process_store()
    store.set(f"ends_{rank}", " ".join(own for own, _ in connections()))
    if rank not in ends:
        return ()
    other = ends[1] if rank == ends[0] else ends[0]
    return tuple(store.get(f"ends_{other}").decode().split())


def _truth(
    options: argparse.Namespace, healthy: list[float], faulty: list[float]
) -> dict[str, Any]:
    """Say what was planted, and what steps took without and with it."""
    place = {"none": [], "link": [options.place, (options.place + 1) % options.ranks]}
    # medians of neighbours: other work of the machine makes single steps of either kind long
    middles = [statistics.median(times) for times in (healthy, faulty)]
    more = statistics.median(b - a for a, b in zip(healthy, faulty, strict=True))
    return {
        "fault": options.fault,
        "ranks": sorted(place.get(options.fault, [options.place])),
        "healthy_step_s": middles[0],
        "faulty_step_s": middles[1],
        "lost_s": more / 2,
        "step_s": [time for pair in zip(healthy, faulty, strict=True) for time in pair],
    }


if __name__ == "__main__":
    main()
