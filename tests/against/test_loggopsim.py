"""Times of an independent simulator, LogGOPSim (spcl, 76451de), on schedules of its generator.

It was built with a stable sort of the ops that become free at once. Schedules that are not shipped
are written by `loadpath.testing.schedules`.
"""

import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tests.couple.simulated.recorded import recording_of

from loadpath.couple.loggops import LogGOPS
from loadpath.couple.simulated import couple_simulated
from loadpath.ingest.goal import read_goal
from loadpath.ingest.goal.text import read_text
from loadpath.replay import op_end_ns, replay
from loadpath.replay.simulation import simulate_schedule
from loadpath.testing.schedules import dissemination, recursive_doubling, ring

SHIPPED = {
    "d16.goal": 22000,
    "diss4096.goal.gz": 66504,
    "tiny.goal": [3000, 6860],
    "r4.goal": 9459160,
    "g4.goal": 37781700,
    "rd1024.goal.gz": 895544,
}
WRITTEN = {
    "dissemination 16": (partial(dissemination, 16, 1), 22000),
    "dissemination 1024": (partial(dissemination, 1024, 8), 55420),
    "dissemination 4096": (partial(dissemination, 4096, 8), 66504),
    "dissemination 16384": (partial(dissemination, 16384, 8), 77588),
    "recursive doubling 4": (partial(recursive_doubling, 4, 1 << 20), 9459160),
    "recursive doubling 1024": (partial(recursive_doubling, 1024, 1 << 16), 895544),
    "recursive doubling 4096": (partial(recursive_doubling, 4096, 1 << 16), 918096),
    "ring 4": (partial(ring, 4, 1 << 20), 37781700),
    "ring 256": (partial(ring, 256, 1 << 16), 203342100),
}
LARGE = {
    "recursive doubling 16384": (partial(recursive_doubling, 16384, 1 << 16), 940216),
    "ring 1024": (partial(ring, 1024, 1 << 14), 212370708),
}


def shipped(name):
    root = os.environ.get("LOADPATH_DATA")
    if root is None:
        pytest.skip("LOADPATH_DATA is not set")
    folder = Path(root) / "data" / "goal"
    assert folder.is_dir(), f"LOADPATH_DATA has no {folder}"
    return read_goal(folder / name)


@pytest.mark.parametrize("name", SHIPPED)
def test_all_hosts_of_shipped_schedules_end_at_the_same_ns(name):
    run = simulate_schedule(shipped(name))
    assert run.served.done.all()
    assert (run.finish_ns == np.array(SHIPPED[name])).all()


@pytest.mark.parametrize("name", WRITTEN)
def test_all_hosts_of_written_schedules_end_at_the_same_ns(name):
    write, expected = WRITTEN[name]
    run = simulate_schedule(read_text(name, write().encode()))
    assert set(run.finish_ns.tolist()) == {expected}


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize("name", LARGE)
def test_all_hosts_of_large_schedules_end_at_the_same_ns(name):
    write, expected = LARGE[name]
    run = simulate_schedule(read_text(name, write().encode()))
    assert set(run.finish_ns.tolist()) == {expected}


@pytest.mark.parametrize("limit", [65535, 10], ids=["eager", "rendezvous"])
@pytest.mark.parametrize("name", SHIPPED)
def test_replay_of_the_frozen_order_ends_each_op_at_the_ns_of_the_simulation(name, limit):
    schedule, model = shipped(name), LogGOPS(S=limit)
    run = simulate_schedule(schedule, model)
    job = couple_simulated(recording_of(schedule), schedule, run.served, model)
    end = op_end_ns(job.graph, replay(job.graph, job.work_ns))
    assert np.array_equal(end, (job.op["start_ns"] + job.op["duration_ns"]).to_numpy())
    finish = np.zeros(schedule.n_rank, np.int64)
    on_processor = job.op["lane"].to_numpy() == 0
    np.maximum.at(finish, job.op["rank"].to_numpy()[on_processor], end[on_processor])
    assert np.array_equal(finish, run.finish_ns)
