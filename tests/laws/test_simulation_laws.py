"""The event loop against the model as its paper tells it: one heap, every event tried by itself."""

import heapq
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadpath.couple.loggops import LogGOPS
from loadpath.ingest.goal.text import read_text
from loadpath.replay.simulation import Noise, simulate_schedule
from loadpath.tables.schedule import ANY, CALC, RECV, SEND
from loadpath.testing.schedules import all_to_all, recursive_doubling, ring, stencil


class Told:
    """State of a simulation that is told event by event."""

    def __init__(self, schedule, model, extra):
        self.s, self.extra, self.n_op = schedule, extra, schedule.n_op
        self.latency, self.o, self.g, self.wire, self.own, self.eager = model.costs
        self.host = schedule.rank.tolist()
        self.busy, self.sending, self.receiving = {}, {}, {}
        self.posted: list[list[int]] = [[] for _ in range(schedule.n_rank)]
        self.unexpected: list[list[int]] = [[] for _ in range(schedule.n_rank)]
        self.unmet = np.bincount(schedule.edge_target, minlength=self.n_op)
        self.heap, self.number = [], count()
        self.order, self.start = [], np.full(2 * self.n_op, -1)
        self.match, self.done = np.full(self.n_op, -1), np.zeros(self.n_op, bool)

    def free(self, held, rank, port):
        return held.get((rank, int(port)), 0)

    def hold(self, held, rank, port, until):
        held[rank, int(port)] = until

    def run(self):
        first = [v for v in range(self.n_op) if self.unmet[v] == 0]
        for v in sorted(first, key=lambda v: (self.host[v], self.s.kind[v])):
            heapq.heappush(self.heap, (0, next(self.number), v))
        while self.heap:
            t, n, x = heapq.heappop(self.heap)
            free = self.needs(x)
            if free > t:
                heapq.heappush(self.heap, (free, n, x))
                continue
            self.order.append(x)
            self.start[x] = t
            self.release(self.serve(x, t), x if x < self.n_op else None)
        return self

    def needs(self, x):
        v = x % self.n_op
        rank, cpu, nic = self.host[v], self.s.cpu[v], self.s.nic[v]
        if x >= self.n_op:
            to = int(self.s.peer[v])
            return max(self.free(self.busy, to, cpu), self.free(self.receiving, to, nic))
        if self.s.kind[v] == RECV:
            return -1
        taken = self.free(self.busy, rank, cpu)
        return max(taken, self.free(self.sending, rank, nic)) if self.s.kind[v] == SEND else taken

    def serve(self, x, t):
        """Do what an event does; ops that end, the send of a long message before its receive."""
        v = x % self.n_op
        rank, cpu, nic, size = self.host[v], self.s.cpu[v], self.s.nic[v], int(self.s.size[v])
        b = max(size - 1, 0)
        wire, own = b * self.wire // 1000, b * self.own // 1000
        late = int(self.extra[x]) if self.extra.size and self.s.kind[v] != RECV else 0
        if x >= self.n_op:
            to = int(self.s.peer[v])
            self.hold(self.busy, to, cpu, t + self.o + late + max(own, wire))
            self.hold(self.receiving, to, nic, t + self.g + wire)
            return self.meet(self.posted[to], self.unexpected[to], v, t, takes=lambda r: (r, v))
        if self.s.kind[v] == CALC:
            self.hold(self.busy, rank, cpu, t + size + late)
            return [v]
        if self.s.kind[v] == SEND:
            self.hold(self.busy, rank, cpu, t + self.o + own + late)
            self.hold(self.sending, rank, nic, t + self.g + wire)
            there = t + self.o + self.latency
            heapq.heappush(self.heap, (there, next(self.number), self.n_op + v))
            return [v] if size <= self.eager else []
        return self.meet(self.unexpected[rank], self.posted[rank], v, t, takes=lambda m: (v, m))

    def meet(self, others, own, v, t, takes):
        for k, other in enumerate(others):
            recv, send = takes(other)
            if self.s.peer[recv] in {ANY, self.host[send]} and self.s.tag[recv] in {
                ANY,
                self.s.tag[send],
            }:
                del others[k]
                self.match[recv] = send
                if self.s.size[send] <= self.eager:
                    return [recv]
                rank, cpu, nic = self.host[send], self.s.cpu[v], self.s.nic[v]
                self.hold(self.busy, rank, cpu, max(self.free(self.busy, rank, cpu), t))
                self.hold(self.sending, rank, nic, max(self.free(self.sending, rank, nic), t))
                return [send, recv]
        own.append(v)
        return []

    def release(self, ended, started):
        after = []
        if started is not None:
            after += self.met(started, on_start=True)
        for v in ended:
            self.done[v] = True
            after += self.met(v, on_start=False)
        for d in sorted(after, key=lambda d: (self.host[d], self.s.kind[d])):
            due = self.free(self.busy, self.host[d], self.s.cpu[d])
            if self.s.kind[d] == SEND:
                due = max(due, self.free(self.sending, self.host[d], self.s.nic[d]))
            heapq.heappush(self.heap, (due, next(self.number), d))

    def met(self, v, on_start):
        mine = (self.s.edge_source == v) & (self.s.edge_on_start == on_start)
        for d in self.s.edge_target[mine].tolist():
            self.unmet[d] -= 1
            if self.unmet[d] == 0:
                yield d


@st.composite
def schedules(draw):
    """Ops of two to four ranks, each of which may require earlier ones of its rank."""
    n_rank = draw(st.integers(2, 4))
    port = st.integers(0, draw(st.integers(0, 1)))
    small = st.sampled_from([0, 1, 7, 40])
    blocks = []
    for _ in range(n_rank):
        lines = []
        for k in range(draw(st.integers(0, 7))):
            kind, cpu, nic = draw(st.integers(0, 4)), draw(port), draw(port)
            peer, tag = draw(st.integers(0, n_rank - 1)), draw(st.integers(0, 1))
            if kind == 0:
                lines.append(f"v{k}: calc {draw(st.integers(0, 40))} cpu {cpu}")
            elif kind < 3:
                lines.append(f"v{k}: send {draw(small)}b to {peer} tag {tag} cpu {cpu} nic {nic}")
            else:
                peer, tag = (
                    draw(st.sampled_from([peer, peer, -1])),
                    draw(st.sampled_from([tag, -1])),
                )
                lines.append(f"v{k}: recv 9b from {peer} tag {tag} cpu {cpu} nic {nic}")
            for _ in range(draw(st.integers(0, 2)) if k else 0):
                word = draw(st.sampled_from(["requires", "requires", "irequires"]))
                lines.append(f"v{k} {word} v{draw(st.integers(0, k - 1))}")
        blocks.append(lines)
    text = f"num_ranks {n_rank}\n" + "".join(
        "".join(f"{line}\n" for line in (f"rank {r} {{", *lines, "}"))
        for r, lines in enumerate(blocks)
    )
    return read_text("a.goal", text.encode())


models = st.builds(
    LogGOPS,
    L=st.integers(0, 20),
    o=st.integers(0, 9),
    g=st.integers(0, 30),
    G=st.sampled_from([0, 0.5, 3]),
    O=st.sampled_from([0, 0.25, 2]),
    S=st.sampled_from([0, 7, 65535]),
)


def assert_as_told(schedule, model, extra):
    told = Told(schedule, model, extra).run()
    run = simulate_schedule(schedule, model, Noise(extra_ns=extra))
    assert run.served.order.tolist() == told.order
    assert run.served.start_ns.tolist() == told.start.tolist()
    assert run.served.match.tolist() == told.match.tolist()
    assert run.served.done.tolist() == told.done.tolist()
    finish = [0] * schedule.n_rank
    for (rank, _), until in told.busy.items():
        finish[rank] = max(finish[rank], until)
    assert run.finish_ns.tolist() == finish


@settings(deadline=None, max_examples=300, derandomize=True)
@given(schedules(), models, st.booleans(), st.integers(0, 2**32 - 1))
def test_events_are_served_when_and_after_whom_a_single_heap_serves_them(
    schedule, model, noisy, seed
):
    noise = np.random.default_rng(seed).integers(0, 9, 2 * schedule.n_op)
    assert_as_told(schedule, model, noise if noisy else noise[:0])


@pytest.mark.parametrize("limit", [10, 65535], ids=["rendezvous", "eager"])
@pytest.mark.parametrize(
    "text",
    [stencil(6, 12, 2000, jitter=0.3), all_to_all(9, 100), recursive_doubling(8, 64), ring(5, 99)],
    ids=["stencil", "all-to-all", "recursive doubling", "ring"],
)
def test_collectives_are_served_as_a_single_heap_serves_them(text, limit):
    schedule = read_text("a.goal", text.encode())
    noise = np.random.default_rng(4).integers(0, 3000, 2 * schedule.n_op)
    assert_as_told(schedule, LogGOPS(S=limit), noise)
