"""Execution of a pipeline job at the level of microbatches, and its recording as an op table."""

import csv
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from held_out_jobs.machine import Loop, Meeting, Stream, Thread, Work
from held_out_jobs.plan import Plan, hosts_of, lengths_of, rank_at
from held_out_jobs.rank_program import schedule

__all__ = ["Worker", "execute", "makespan_s", "step_s", "write"]

FORWARD_NS = 80e6
P2P = ("forward-send", "forward-recv", "backward-send", "backward-recv")
COLUMNS = (
    "dp_rank",
    "stage",
    "rank",
    "step",
    "optype",
    "start_ts",
    "duration",
    "seq_id",
    "mc",
    "mb_id",
)
TRANSFER_NS = {"pp": 3e6, "dp": 30e6, "world": 2e6, "embedding": 4e6}


@dataclass(slots=True)
class Worker:
    """One worker while it runs: its streams, and the rows it records."""

    plan: Plan
    loop: Loop
    meetings: dict[Any, Meeting]
    stage: int
    replica: int
    draws: Iterator[float]
    streams: dict[str, Stream] = field(default_factory=dict)
    rows: list[tuple[int, str, int, int, int, Work]] = field(default_factory=list)
    step: int = 0
    now: int = 0

    @property
    def rank(self) -> int:
        """Recorded rank."""
        return rank_at(self.plan, self.stage, self.replica, 0)


def execute(plan: Plan) -> list[Worker]:
    """Run a job; every worker returns with its rows."""
    loop, meetings = Loop(), {}
    workers = []
    for stage in range(plan.pp):
        for replica in range(plan.dp):
            draws = _draws([plan.seed, 2, stage, replica])
            workers.append(Worker(plan, loop, meetings, stage, replica, draws))
    for worker in workers:
        Thread(loop, 0, _train(worker))
    loop.run()
    return workers


def makespan_s(workers: list[Worker]) -> float:
    """Earliest start to latest end of the whole job, in s."""
    works = [row[-1] for worker in workers for row in worker.rows]
    return (max(w.end for w in works) - min(w.start for w in works)) / 1e9


def step_s(workers: list[Worker]) -> float:
    """Mean over steps of earliest start to latest end, in s."""
    works: dict[int, list[Work]] = {}
    for row in (row for worker in workers for row in worker.rows):
        works.setdefault(row[0], []).append(row[-1])
    lengths = [max(w.end for w in of) - min(w.start for w in of) for of in works.values()]
    return float(np.mean(lengths)) / 1e9


def write(plan: Plan, workers: list[Worker], folder: Path) -> Path:
    """Write ``trace-job.csv``, ``meta-job.yaml`` and ``hosts.csv``; each step begins at 0."""
    folder.mkdir(parents=True, exist_ok=True)
    names = hosts_of(plan)
    lines = "".join(f"{w.rank},{names[w.rank]}\n" for w in workers)
    (folder / "hosts.csv").write_text("rank,host\n" + lines, encoding="utf-8")
    sizes = {"dp_size": plan.dp, "dsp_size": 1, "pp_size": plan.pp, "tp_size": plan.tp,
             "vpp_size": 1, "world_size": plan.n_rank}  # fmt: skip
    layout = "".join(f"{key}: {value}\n" for key, value in sizes.items())
    (folder / "meta-job.yaml").write_text("trial_name: job\nrun_id: 0\n" + layout, encoding="utf-8")
    zero = [
        min(r[-1].start for w in workers for r in w.rows if r[0] == s) for s in range(plan.steps)
    ]
    path = folder / "trace-job.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(COLUMNS)
        for worker in workers:
            for step, name, sequence, chunk, microbatch, work in worker.rows:
                start = np.float32((work.start - zero[step]) / 1e9)
                length = np.float32((work.end - work.start) / 1e9)
                out.writerow([worker.replica, worker.stage, worker.rank, 10 + 7 * step, name,
                              start, length, sequence, chunk, microbatch])  # fmt: skip
    return path


def _draws(seed: list[int]) -> Iterator[float]:
    rng = np.random.default_rng(seed)
    while True:
        yield from rng.normal(size=1024).tolist()


def _run(
    worker: Worker,
    name: str,
    places: tuple[int, int, int],
    *,
    after: list[Work | None],
    length: float = 0.0,
    meeting: Meeting | None = None,
) -> Work:
    stream = "compute" if meeting is None else name if name in P2P else "dp"
    lane = worker.streams.setdefault(stream, Stream(worker.loop, 0))
    for awaited in after:
        if awaited is not None:
            lane.push(Work("wait", worker.now, awaited=awaited))
    work = Work("kernel", worker.now, int(length), meeting)
    lane.push(work)
    worker.rows.append((worker.step, name, *places, work))
    return work


def _meet(worker: Worker, kind: str, members: tuple[int, ...], key: Any) -> Meeting:
    """Find or open a communication; ``kind`` tells its mean transfer."""
    full = (kind, members, worker.step, key)
    if full not in worker.meetings:
        plan, fault = worker.plan, worker.plan.fault
        seed = [plan.seed, 7, members[0], members[-1], worker.step, abs(hash(key)) % 1_000_003]
        slow = fault.size if fault.kind == "link" and set(fault.link) == set(members) else 0.0
        noise = np.random.default_rng(seed).lognormal(0.0, plan.noise)
        length = int(TRANSFER_NS[kind] * (1 + slow) * noise)
        worker.meetings[full] = Meeting(len(members), length)
    return worker.meetings[full]


def _train(worker: Worker) -> Generator[list[Work], int, None]:
    plan = worker.plan
    lengths = lengths_of(plan)
    noise = np.random.default_rng([plan.seed, 3, worker.rank])
    for step in range(plan.steps):
        worker.step = step
        factor = plan.stage_work[worker.stage] * float(np.exp(noise.normal(0, plan.noise / 4)))
        last = _passes(worker, factor * _excess(worker), lengths[step, worker.replica])
        done = _tail(worker, last)
        worker.now = (yield [done]) + 5_000_000


def _excess(worker: Worker) -> float:
    fault = worker.plan.fault
    if fault.steps and worker.step not in fault.steps:
        return 1.0
    slow = fault.kind in {"rank", "host"} and worker.rank in fault.ranks
    return 1 + fault.size * (slow or (fault.kind == "stage" and fault.stage == worker.stage))


def _passes(worker: Worker, factor: float, lengths: Any) -> list[Work]:
    """Run the microbatches; returns the works that the tail follows."""
    plan = worker.plan
    order = schedule(plan, worker.stage)
    first_backward = next(i for i, (direction, _) in enumerate(order) if direction == "backward")
    gathered = None
    if plan.dp > 1:
        group = tuple(rank_at(plan, worker.stage, d, 0) for d in range(plan.dp))
        gathered = _run(worker, "params-all-gather", (0, 0, -1), after=[],
                        meeting=_meet(worker, "dp", group, 0))  # fmt: skip
    done: dict[str, Work] = {}
    computed: list[Work] = []
    for place, (direction, number) in enumerate(order):
        before = done.get(direction)
        if direction == "backward" and number == 0 and place >= 2:
            before = computed[first_backward - 2]
        received = _transfer(worker, direction, number, after=before, receives=True)
        mean = FORWARD_NS * (2.0 if direction == "backward" else 1.0)
        length = mean * factor * lengths[number] * np.exp(plan.noise * next(worker.draws))
        done[direction] = _run(worker, f"{direction}-compute", (number, 0, number),
                               after=[received, gathered], length=length)  # fmt: skip
        computed.append(done[direction])
        _transfer(worker, direction, number, after=done[direction], receives=False)
    return [done["backward"]]


def _transfer(worker: Worker, direction: str, number: int, *, after: Work | None,
              receives: bool) -> Work | None:  # fmt: skip
    plan, forward = worker.plan, direction == "forward"
    other = worker.stage + (1 if forward != receives else -1)
    if not 0 <= other < plan.pp:
        return None
    pair = tuple(sorted((worker.rank, rank_at(plan, other, worker.replica, 0))))
    name = f"{direction}-{'recv' if receives else 'send'}"
    meeting = _meet(worker, "pp", pair, 2 * number + forward)
    return _run(worker, name, (number, -1, -1), after=[after], meeting=meeting)


def _tail(worker: Worker, last: list[Work | None]) -> Work:
    """Reduce and clip gradients, then optimise."""
    plan = worker.plan
    if plan.pp > 1 and worker.stage in {0, plan.pp - 1}:
        ends = tuple(rank_at(plan, s, worker.replica, 0) for s in (0, plan.pp - 1))
        meeting = _meet(worker, "embedding", ends, 0)
        last = [
            _run(worker, "embedding-grads-all-reduce", (0, -1, -1), after=last, meeting=meeting)
        ]
    if plan.dp > 1:
        group = tuple(rank_at(plan, worker.stage, d, 0) for d in range(plan.dp))
        meeting = _meet(worker, "dp", group, 1)
        last = [_run(worker, "grads-reduce-scatter", (0, 0, -1), after=last, meeting=meeting)]
    everyone = tuple(rank_at(plan, s, d, 0) for s in range(plan.pp) for d in range(plan.dp))
    meeting = _meet(worker, "world", everyone, 0)
    clipped = _run(worker, "optimizer-clip-main-grad", (0, -1, -1), after=last, meeting=meeting)
    length = 0.3 * FORWARD_NS * np.exp(plan.noise * next(worker.draws))
    return _run(worker, "optimizer", (0, -1, -1), after=[clipped], length=length)
