"""Replay beside a SimPy model of the same job: an event simulation, which knows no graph."""

import numpy as np
import simpy
from tests.replay.graphs import couple

from loadpath.replay import op_end_ns, op_ready_ns, replay

N_RANK, N_ROUND = 5, 12


def bulk_synchronous_ends(compute, transfer):
    """Return the end of each rank's communication in each round, as SimPy has it."""
    world = simpy.Environment()
    meetings = [[world.event() for _ in range(N_RANK)] for _ in range(N_ROUND)]
    ends = np.zeros((N_ROUND, N_RANK), int)

    def rank(r):
        for k in range(N_ROUND):
            yield world.timeout(compute[k, r])
            meetings[k][r].succeed()
            yield simpy.AllOf(world, meetings[k])
            yield world.timeout(transfer[k, r])
            ends[k, r] = world.now

    for r in range(N_RANK):
        world.process(rank(r))
    world.run()
    return ends


def test_bulk_synchronous_job_ends_when_simpy_says():
    rng = np.random.default_rng(5)
    compute = rng.integers(50, 150, (N_ROUND, N_RANK))
    transfer = rng.integers(5, 15, (N_ROUND, N_RANK))
    # ops: rounds x (compute, communicate) x ranks
    op = np.arange(N_ROUND * 2 * N_RANK).reshape(N_ROUND * 2, N_RANK)
    edges = [(a, b) for a, b in zip(op[:-1].flat, op[1:].flat, strict=True)]
    graph = couple(op.size, edges, [tuple(row) for row in op[1::2]])
    work = np.stack([compute, transfer], axis=1).reshape(-1)
    timeline = replay(graph, work)
    assert np.array_equal(
        op_end_ns(graph, timeline)[op[1::2]], bulk_synchronous_ends(compute, transfer)
    )
    ready = op_ready_ns(graph, timeline, work)[op[1::2]]
    assert np.all(ready == ready[:, :1])


def test_pipeline_of_bounded_stages_ends_when_simpy_says():
    rng = np.random.default_rng(6)
    n_stage, n_batch = 4, 20
    work = rng.integers(10, 100, (n_batch, n_stage))
    world = simpy.Environment()
    stages = [simpy.Resource(world) for _ in range(n_stage)]
    ends = np.zeros((n_batch, n_stage), int)

    def microbatch(k, before):
        for s, stage in enumerate(stages):
            with stage.request() as free:
                yield free
                if k:
                    yield before[s]
                yield world.timeout(work[k, s])
                ends[k, s] = world.now
                done[k][s].succeed()

    done = [[world.event() for _ in range(n_stage)] for _ in range(n_batch)]
    for k in range(n_batch):
        world.process(microbatch(k, done[k - 1]))
    world.run()

    op = np.arange(n_batch * n_stage).reshape(n_batch, n_stage)
    edges = [*zip(op[:-1].flat, op[1:].flat, strict=True)]
    edges += zip(op[:, :-1].flat, op[:, 1:].flat, strict=True)
    graph = couple(op.size, edges)
    assert np.array_equal(op_end_ns(graph, replay(graph, work.reshape(-1)))[op], ends)
