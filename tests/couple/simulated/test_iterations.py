"""Steps of a schedule."""

import numpy as np
import pytest
from tests.couple.simulated.recorded import recording_of

from loadpath.couple.loggops import LogGOPS
from loadpath.couple.simulated import couple_simulated
from loadpath.couple.simulated.iterations import find_iterations
from loadpath.ingest.goal.text import read_text
from loadpath.replay import op_end_ns, replay, step_time_ns
from loadpath.replay.simulation import simulate_schedule
from loadpath.testing.schedules import all_to_all, dissemination, ring, stencil


def iterations(text):
    return find_iterations(read_text("a.goal", text.encode())).tolist()


def bulk_synchronous(n_rank, n_step, *, chained=True):
    """Each rank computes, then all send to rank 0, which answers."""
    text = f"num_ranks {n_rank}\n"
    for rank in range(n_rank):
        text += f"rank {rank} {{\n"
        for k in range(n_step):
            text += f"c{k}: calc {100_000 + 30_000 * (rank == 1) + k}\n"
            text += f"c{k} requires e{k - 1}\n" if k and chained else ""
            others = range(1, n_rank) if rank == 0 else [0]
            ways = ("recv", "send") if rank == 0 else ("send", "recv")
            before = f"c{k}"
            for way in ways:
                word = "from" if way == "recv" else "to"
                for other in others:
                    text += f"{way}{k}_{other}: {way} 8b {word} {other} tag {k}\n"
                    text += f"{way}{k}_{other} requires {before}\n"
                    before = f"{way}{k}_{other}"
            text += f"e{k}: calc 0\ne{k} requires {before}\n"
        text += "}\n"
    return text


def test_iterations_of_all_ranks_are_counted_whatever_tags_and_lengths_are():
    assert np.bincount(iterations(bulk_synchronous(3, 5))).tolist() == [14] * 5
    assert set(iterations(stencil(4, 7, 1000, jitter=0.3))) == set(range(7))


@pytest.mark.parametrize(
    "text",
    [
        bulk_synchronous(2, 2),
        bulk_synchronous(2, 5, chained=False),
        bulk_synchronous(2, 5).replace("recv4_1: recv 8b", "recv4_1: recv 9b"),
        stencil(4, 7, 1000).replace("rank 1 {\n", "rank 1 {\nfirst: calc 70\n"),
        dissemination(8, 8),
        ring(4, 8),
        all_to_all(4, 8),
        "num_ranks 2\nrank 0 {\n}\nrank 1 {\n}\n",
        "num_ranks 1\nrank 0 {\n" + "calc 5\n" * 9 + "}\n",
    ],
    ids=[
        "two",
        "unchained",
        "unlike",
        "prologue",
        "barrier",
        "ring",
        "all-to-all",
        "empty",
        "alone",
    ],
)
def test_a_schedule_without_a_list_that_all_ranks_repeat_is_one_step(text):
    assert set(iterations(text)) <= {0}


def test_steps_of_a_simulated_job_add_up_to_its_makespan():
    schedule = read_text("a.goal", bulk_synchronous(4, 6).encode())
    run = simulate_schedule(schedule)
    job = couple_simulated(recording_of(schedule), schedule, run.served, LogGOPS())
    timeline = replay(job.graph, job.work_ns)
    ends = (job.op["start_ns"] + job.op["duration_ns"]).to_numpy()
    assert np.array_equal(op_end_ns(job.graph, timeline), ends)
    assert step_time_ns(job.graph, timeline).sum() == run.makespan_ns
    assert job.graph.step.tolist() == list(range(6))
    assert job.step.height == 4 * 6
    assert dict(job.caveat.select("code", "n").iter_rows())["iterations"] == 6
