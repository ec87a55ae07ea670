import numpy as np
import pytest
from tests.couple.simulated.recorded import any_costs, any_schedule, recording_of

from loadpath.couple.graph import EdgeKind
from loadpath.couple.loggops import LogGOPS, read_loggops
from loadpath.couple.simulated import couple_simulated
from loadpath.errors import UsageError
from loadpath.ingest.goal.text import read_text
from loadpath.replay import op_end_ns, replay
from loadpath.replay.simulation import Noise, drawn_noise, simulate_schedule
from loadpath.testing.schedules import all_to_all, stencil

# rank 0: calc, then a message to rank 1, which has nothing else to do
ONE_MESSAGE = """num_ranks 2
rank 0 {
a: calc 1000
b: send 11b to 1
b requires a
}
rank 1 {
a: recv 11b from 0
b: calc 300
b requires a
}
"""


def coupled(text, noise=None, **costs):
    """Job and simulation of a schedule that ends; None where it stalls."""
    schedule, model = read_text("a.goal", text.encode()), LogGOPS(**costs)
    run = simulate_schedule(schedule, model, noise(schedule, model) if noise else Noise())
    if not run.served.done.all():
        return None
    return couple_simulated(recording_of(schedule), schedule, run.served, model), run


def ends(job):
    return (job.op["start_ns"] + job.op["duration_ns"]).to_numpy()


def row(job, name):
    return job.op.with_row_index("id").row(by_predicate=job.op["name"] == name, named=True)


def test_a_message_is_sent_carried_and_received():
    job, _ = coupled(ONE_MESSAGE)
    spans = {
        name: (rank, start, start + length)
        for name, rank, start, length in job.op.select(
            "name", "rank", "start_ns", "duration_ns"
        ).iter_rows()
        if name != "calc"
    }
    assert spans == {
        "send": (0, 1000, 2500),
        "gap": (0, 1000, 2000),
        "inject": (0, 2000, 2060),
        "transit": (1, 2500, 5000),
        "arrival": (0, 5000, 5000),
        "stream": (1, 0, 5060),
        "receive": (1, 5060, 6560),
        "post": (1, 0, 0),
    }


def test_the_receiver_waits_until_the_message_is_there():
    job, _ = coupled(ONE_MESSAGE)
    stream = int(np.flatnonzero(job.op["name"] == "stream")[0])
    assert (job.wait_ns[stream], job.work_ns[stream]) == (5000, 60)


def test_the_sender_of_a_long_message_waits_for_its_receive():
    late = ONE_MESSAGE.replace("a: recv", "z: calc 9000\na: recv") + ""
    late = late.replace("a: recv 11b from 0\n", "a: recv 11b from 0\na requires z\n")
    job, run = coupled(late, S=10)
    release = int(np.flatnonzero(job.op["name"] == "release")[0])
    # the message is served at 9000, after the computation, when its receive is posted too
    assert job.wait_ns[release] == 9000 - 2500
    assert run.finish_ns.tolist() == [9000, 9000 + 1560 + 300]


def test_order_that_the_schedule_does_not_ask_for_is_incidental():
    text = "num_ranks 1\nrank 0 {\na: calc 5\nb: calc 6\nc: calc 7\nc requires b\n}\n"
    job, _ = coupled(text)
    kinds = job.graph.first_kind[job.graph.first > 0].tolist()
    assert [kinds.count(kind) for kind in (EdgeKind.INCIDENTAL, EdgeKind.DATA)] == [1, 1]
    assert dict(job.caveat.select("code", "n").iter_rows())["service_order"] == 1


@pytest.mark.parametrize("block", range(6))
def test_replay_is_equal_to_the_simulation_of_any_schedule(block):
    n_ended = 0
    for seed in range(40 * block, 40 * block + 40):

        def noise(schedule, model, seed=seed):
            rng = np.random.default_rng(seed)
            return drawn_noise(schedule, model, 3000.0, period_ns=4000.0, rng=rng)

        answer = coupled(any_schedule(seed), noise if seed % 4 == 1 else None, **any_costs(seed))
        if answer is None:
            continue
        job, run = answer
        n_ended += 1
        assert np.array_equal(op_end_ns(job.graph, replay(job.graph, job.work_ns)), ends(job)), seed
        assert not job.lag_ns.any(), seed
        assert not job.negative_lag_ns.any(), seed
        on_processor = job.op["lane"].to_numpy() < 1 + read_text(
            "a", any_schedule(seed).encode()
        ).cpu.max(initial=0)
        assert ends(job)[on_processor].max(initial=0) == run.makespan_ns, seed
    assert n_ended > 20


def test_requirements_across_processors_that_were_not_kept_are_counted():
    text = "num_ranks 1\nrank 0 {\na: calc 500 cpu 0\nb: calc 5 cpu 1\nb requires a\n}\n"
    job, run = coupled(text)
    assert run.served.start_ns[1] == 0
    assert dict(job.caveat.select("code", "n").iter_rows())["requirement_not_kept"] == 1


def test_a_slower_computation_delays_the_replay_as_it_delays_the_simulation():
    plain, plain_run = coupled(stencil(6, 8, 50_000))
    _, slowed = coupled(stencil(6, 8, 50_000, slow={2: 1.5}))
    work = plain.work_ns.copy()
    calc = (plain.op["name"] == "calc").to_numpy() & (plain.op["rank"] == 2).to_numpy()
    work[calc] = work[calc] * 3 // 2
    replayed = op_end_ns(plain.graph, replay(plain.graph, work)).max()
    assert replayed == pytest.approx(slowed.makespan_ns, rel=0.1)
    assert replayed > 1.2 * plain_run.makespan_ns


def test_a_frozen_order_is_wrong_where_order_is_a_race():
    text = all_to_all(32, 1000)

    def noise(schedule, model):
        rng = np.random.default_rng(7)
        return drawn_noise(schedule, model, 5000.0, period_ns=1e5, rng=rng)

    job, _ = coupled(text)
    noisy_job, noisy = coupled(text, noise)
    late = noisy.served.late_ns.reshape(2, -1).sum()
    frozen = job.work_ns.copy()
    frozen[(job.op["name"] == "receive").to_numpy()] += late // int(
        (job.op["name"] == "receive").sum()
    )
    replayed = op_end_ns(job.graph, replay(job.graph, frozen)).max()
    assert abs(replayed / noisy.makespan_ns - 1) > 0.05
    assert np.array_equal(
        op_end_ns(noisy_job.graph, replay(noisy_job.graph, noisy_job.work_ns)), ends(noisy_job)
    )


def test_ranks_that_compute_equally_often_are_compared_place_by_place():
    job, _ = coupled(stencil(3, 2, 1000))
    calc = job.op.filter(name="calc").sort("rank", "position")
    assert calc["position"].to_list() == [0, 1] * 3
    assert set(calc["op_class"].cast(str)) == {"calc"}


def test_computations_of_unlike_ranks_are_compared_where_their_lengths_are_alike():
    text = "num_ranks 2\nrank 0 {\ncalc 90\ncalc 20000\n}\nrank 1 {\ncalc 110\n}\n"
    job, _ = coupled(text)
    classes = sorted(job.op["op_class"].cast(str).to_list())
    assert classes == ["calc from 20000 ns", "calc from 90 ns", "calc from 90 ns"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("L", "'L' is no parameter"),
        ("L=x", "'L=x' is no parameter"),
        ("K=3", "'K=3' is no parameter"),
        ("L=nan", "'L=nan' is no parameter"),
        ("o=1.5", "'o=1.5' is not whole"),
        ("L=-3", "L -3 is not between 0 and"),
        ("G=1e13", "G 10000000000000.0 is not between 0 and"),
    ],
)
def test_costs_that_are_none_are_refused_and_why(text, why):
    with pytest.raises(UsageError, match=why):
        read_loggops(text)


@pytest.mark.parametrize("costs", [{}, {"O": 10, "g": 100}, {"o": 0, "g": 5000}])
def test_an_empty_message_takes_no_time_for_its_bytes(costs):
    empty, one = (ONE_MESSAGE.replace("11b", size) for size in ("0b", "1b"))
    job, run = coupled(empty, **costs)
    assert run.finish_ns.tolist() == coupled(one, **costs)[1].finish_ns.tolist()
    assert np.array_equal(op_end_ns(job.graph, replay(job.graph, job.work_ns)), ends(job))
