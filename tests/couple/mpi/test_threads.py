import numpy as np
import polars as pl
import pytest
from tests.ingest.otf2.written import (
    ACQUIRE,
    BEGIN,
    COLLECTIVE_END,
    CREATE,
    END,
    FORK,
    JOIN,
    OPENMP,
    RELEASE,
    TASK_CREATE,
    TEAM_BEGIN,
    TEAM_END,
    UNDEFINED,
    WAIT,
    Trace,
    task_solver,
    team_solver,
)

from loadpath.audit import run_audit
from loadpath.couple import EdgeKind
from loadpath.couple.couplings import couplings_of
from loadpath.couple.mpi import couple_mpi
from loadpath.errors import InputError
from loadpath.ingest.otf2 import read_otf2
from loadpath.replay import op_end_ns, replay


def coupled(trace, folder):
    return couple_mpi(read_otf2(trace.write(folder)))


def codes(job):
    return dict(job.caveat.select("code", "n").iter_rows())


def ops(job, **place):
    return job.op.with_row_index("id").filter(**place)


def edges(job, kind):
    found = couplings_of(job.graph)
    mine = found.edge_kind == kind
    name = job.op.select("lane", "name").rows()
    return {
        (name[a], name[b])
        for a, b in zip(found.edge_source[mine], found.edge_target[mine], strict=True)
    }


def even(rank, lane, turn):
    return 1000 + (37 * turn + 11 * rank + 5 * lane) % 23


def test_threads_of_a_team_follow_the_fork(tmp_path):
    # lane 0  = prepare = | fork | = relax === [ barrier ] | join |
    # lane 1               start  = relax = [ barrier . . ]
    job = coupled(team_solver(even, n_turn=2), tmp_path)
    forks = edges(job, EdgeKind.DATA)
    assert ((0, "parallel"), (1, "start of a thread")) in forks
    assert ((0, "parallel"), (2, "start of a thread")) in forks


def test_threads_wait_for_each_other_at_barriers(tmp_path):
    job = coupled(team_solver(lambda _rank, lane, _turn: 1000 + 400 * lane, n_turn=2), tmp_path)
    barriers = ops(job, rank=1, name="implicit barrier", step=0).filter(position=0)
    waits = dict(zip(barriers["lane"], job.wait_ns[barriers["id"]], strict=True))
    # the last thread begins 10 later than the one before, and works 400 longer
    assert waits == {0: 820, 1: 410, 2: 0}
    assert job.instance.filter(collective="barrier")["n_members"].to_list() == [3] * 8


def test_replay_of_teams_gives_their_times(tmp_path):
    job = coupled(team_solver(even, n_turn=3), tmp_path)
    end = op_end_ns(job.graph, replay(job.graph, job.work_ns))
    shift = int(job.op["start_ns"].min())
    assert np.array_equal(end + shift, (job.op["start_ns"] + job.op["duration_ns"]).to_numpy())
    assert not job.lag_ns.any()


def test_a_join_without_a_barrier_waits_for_the_last_thread(tmp_path):
    job = coupled(
        team_solver(
            lambda _rank, lane, _turn: 3000 if lane == 2 else 1000, n_turn=2, barrier=False
        ),
        tmp_path,
    )
    assert edges(job, EdgeKind.HOST_WAIT) == {
        ((lane, "outside"), (0, "parallel")) for lane in (1, 2)
    }
    waited = ops(job, rank=0, lane=0, name="parallel").with_columns(
        wait=job.wait_ns[ops(job, rank=0, lane=0, name="parallel")["id"]]
    )
    # from the end of its own share until the end of thread 2, which began 20 later
    assert waited["wait"].max() == 2020


def test_a_created_thread_follows_its_creation_and_is_waited_for(tmp_path):
    trace = Trace(2, n_thread=2)
    for rank in range(2):
        trace.enter(rank, 0, "pthread_create")
        trace.event(rank, 10, CREATE, 2 + rank, 7)
        trace.leave(rank, 12, "pthread_create")
        trace.event(rank + 2, 20, BEGIN, 2 + rank, 7)
        trace.call(rank + 2, 20, 520, "work")
        trace.event(rank + 2, 520, END, 2 + rank, 7)
        trace.call(rank, 12, 100, "own work")
        trace.enter(rank, 100, "pthread_join")
        trace.event(rank, 530, WAIT, 2 + rank, 7)
        trace.leave(rank, 531, "pthread_join")
        trace.call(rank, 531, 560, "MPI_Barrier", COLLECTIVE_END, b"\0", 0, UNDEFINED, 0, 0)
    job = coupled(trace, tmp_path)
    assert edges(job, EdgeKind.DATA) == {((0, "pthread_create"), (1, "start of a thread"))}
    assert edges(job, EdgeKind.HOST_WAIT) == {((1, "work"), (0, "pthread_join"))}
    (join, _) = ops(job, rank=0, name="pthread_join")["id"]
    assert (job.wait_ns[join], job.work_ns[join]) == (420, 10)


def test_who_takes_a_lock_waits_for_who_gave_it_back(tmp_path):
    trace = Trace(2, n_thread=2)
    for rank in range(2):
        trace.event(rank, 0, FORK, OPENMP, 2)
        for lane in range(2):
            place = rank + 2 * lane
            trace.event(place, lane, TEAM_BEGIN, 2 + rank)
            trace.enter(place, 10, "critical")
            taken = 20 if lane else 320
            trace.event(place, taken, ACQUIRE, OPENMP, 4, 2 - lane)
            trace.call(place, taken, taken + 280, "update")
            trace.event(place, taken + 280, RELEASE, OPENMP, 4, 2 - lane)
            trace.leave(place, taken + 290, "critical")
            trace.event(place, taken + 300, TEAM_END, 2 + rank)
    job = coupled(trace, tmp_path)
    assert ((1, "update"), (0, "critical")) in edges(job, EdgeKind.HOST_WAIT)
    first = ops(job, rank=0, lane=0, name="critical")["id"][0]
    assert job.wait_ns[first] == 290


def test_threads_of_a_team_that_fork_teams_of_their_own_meet_in_each(tmp_path):
    # lane 0 forks lane 1, then lane 2; the inner team of 0 and 2 ends before the outer one
    trace = Trace(2, n_thread=3)
    for rank in range(2):
        trace.event(rank, 0, FORK, OPENMP, 2)
        trace.event(rank, 1, TEAM_BEGIN, 2 + rank)
        trace.event(rank + 2, 5, TEAM_BEGIN, 2 + rank)
        trace.call(rank + 2, 5, 900, "relax")
        trace.call(rank, 1, 100, "relax")
        trace.event(rank, 100, FORK, OPENMP, 2)
        for lane, span in ((0, 200), (2, 300)):
            place = rank + 2 * lane
            trace.event(place, 110, TEAM_BEGIN, 0)
            trace.call(place, 110, 110 + span, "relax")
            trace.call(place, 110 + span, 420, "implicit barrier")
            trace.event(place, 421, TEAM_END, 0)
        trace.event(rank, 430, JOIN, OPENMP)
        trace.call(rank, 440, 910, "implicit barrier")
        trace.call(rank + 2, 900, 911, "implicit barrier")
        for place in (rank, rank + 2):
            trace.event(place, 920, TEAM_END, 2 + rank)
        trace.event(rank, 930, JOIN, OPENMP)
        trace.call(rank, 940, 990, "MPI_Barrier", COLLECTIVE_END, b"\0", 0, UNDEFINED, 0, 0)
    job = coupled(trace, tmp_path)
    met = ops(job, rank=1, name="implicit barrier")
    waits = job.wait_ns[met.sort("lane", "start_ns")["id"]]
    assert codes(job) == {}
    assert waits.tolist() == [100, 460, 0, 0]


def test_threads_that_nothing_couples_are_left_out_and_said(tmp_path):
    trace = Trace(2, n_thread=2)
    for rank in range(2):
        trace.call(rank, 0, 100, "solve")
        trace.call(rank + 2, 0, 900, "background")
        trace.call(rank, 100, 130, "MPI_Barrier", COLLECTIVE_END, b"\0", 0, UNDEFINED, 0, 0)
    job = coupled(trace, tmp_path)
    assert codes(job)["other_threads"] == 2
    assert job.op["lane"].unique().to_list() == [0]


def test_a_team_that_began_before_its_fork_is_left_out(tmp_path):
    trace = Trace(2, n_thread=2)
    for rank in range(2):
        trace.event(rank, 100, FORK, OPENMP, 2)
        for lane, begin in ((0, 110), (1, 40)):
            place = rank + 2 * lane
            trace.event(place, begin, TEAM_BEGIN, 2 + rank)
            trace.call(place, begin, 300, "relax")
            trace.event(place, 300, TEAM_END, 2 + rank)
        trace.call(rank, 300, 330, "MPI_Barrier", COLLECTIVE_END, b"\0", 0, UNDEFINED, 0, 0)
    assert codes(coupled(trace, tmp_path))["other_threads"] == 2


def test_a_barrier_that_one_thread_does_not_reach_is_said(tmp_path):
    trace = Trace(2, n_thread=2)
    for rank in range(2):
        trace.event(rank, 0, FORK, OPENMP, 2)
        for lane in range(2):
            place = rank + 2 * lane
            trace.event(place, 1, TEAM_BEGIN, 2 + rank)
            trace.call(place, 1, 300, "relax")
            if lane:
                trace.call(place, 300, 320, "explicit barrier")
            trace.event(place, 330, TEAM_END, 2 + rank)
        trace.call(rank, 340, 370, "MPI_Barrier", COLLECTIVE_END, b"\0", 0, UNDEFINED, 0, 0)
    job = coupled(trace, tmp_path)
    assert codes(job)["lone_barrier"] == 2
    assert job.instance["collective"].cast(str).to_list() == ["barrier"]


def test_a_task_begins_after_its_creation_on_another_thread(tmp_path):
    # lane 0   create 1 = create 2 = create 0 = [ taskwait = task . . . . . ]
    # lane 1  [ barrier . ] = task ==== [ barrier . . . . . . . . . . . . . . ]
    job = coupled(task_solver(lambda _rank, _turn: (100, 300, 500)), tmp_path)
    assert edges(job, EdgeKind.HOST_WAIT) == {
        ((0, "create"), (1, "implicit barrier")),
        ((0, "create"), (2, "implicit barrier")),
        ((1, "task"), (0, "taskwait")),
        ((2, "task"), (0, "taskwait")),
    }
    assert codes(job)["tasks"] == 24
    begins = ops(job, rank=0, lane=1, name="implicit barrier", step=0).filter(position=0)["id"][0]
    # from the begin of the team until the creation, 50 later; 10 more until the task begins
    assert (job.wait_ns[begins], job.work_ns[begins]) == (50, 10)


def test_who_created_tasks_waits_for_the_last_of_them(tmp_path):
    job = coupled(task_solver(lambda _rank, _turn: (100, 300, 500)), tmp_path)
    (wait,) = ops(job, rank=1, lane=0, name="taskwait", step=1).filter(pl.col("duration_ns") > 100)[
        "id"
    ]
    # its own task ends 240 after the fork, the last one 590 after it
    assert (job.wait_ns[wait], job.work_ns[wait]) == (350, 7)


def test_replay_of_tasks_gives_their_times(tmp_path):
    job = coupled(task_solver(lambda rank, turn: (100 + turn, 300 + 7 * rank, 500)), tmp_path)
    end = op_end_ns(job.graph, replay(job.graph, job.work_ns))
    shift = int(job.op["start_ns"].min())
    assert np.array_equal(end + shift, (job.op["start_ns"] + job.op["duration_ns"]).to_numpy())


def test_a_task_that_takes_longer_on_all_ranks_is_named(tmp_path):
    def spans(rank, turn):
        return tuple(
            1000 + (900 if k == 1 else 0) + (37 * turn + 11 * rank + 5 * k) % 23 for k in range(3)
        )

    done = run_audit(task_solver(spans, n_rank=3, n_turn=12).write(tmp_path))
    assert done.verdict["kind"] == "threads"
    assert done.verdict["within"]["thread"] == 1
    assert "task" in done.verdict["summary"]


def test_a_task_that_no_thread_begins_is_said(tmp_path):
    trace = task_solver(lambda _rank, _turn: (100, 300, 500))
    trace.event(0, 1 << 20, TASK_CREATE, 2, 0, 999)
    assert codes(coupled(trace, tmp_path))["lone_task"] == 1


def test_tasks_are_counted(tmp_path):
    trace = Trace(2)
    for rank in range(2):
        trace.event(rank, 5, TASK_CREATE, 2 + rank, 0, 1)
        trace.call(rank, 10, 30, "MPI_Barrier", COLLECTIVE_END, b"\0", 0, UNDEFINED, 0, 0)
    assert codes(coupled(trace, tmp_path))["tasks"] == 2


def test_collectives_of_several_threads_of_a_rank_meet_in_their_order(tmp_path):
    trace = Trace(2, n_thread=2)
    for rank in range(2):
        trace.event(rank, 0, FORK, OPENMP, 2)
        for lane in range(2):
            place = rank + 2 * lane
            trace.event(place, 1, TEAM_BEGIN, 2 + rank)
            at = 100 if lane else 200
            ended = (bytes([11]), 0, UNDEFINED, 8 << lane, 8 << lane)
            trace.call(place, at, at + 50, "MPI_Allreduce", COLLECTIVE_END, *ended)
            trace.event(place, 330, TEAM_END, 2 + rank)
    job = coupled(trace, tmp_path)
    met = job.membership.join(
        ops(job).select(pl.col("id").cast(pl.Int32).alias("op"), "lane", "bytes"), on="op"
    )
    assert sorted(met.select("instance", "lane", "bytes").rows()) == [
        (0, 1, 16),
        (0, 1, 16),
        (1, 0, 8),
        (1, 0, 8),
    ]


def test_a_slow_thread_is_named_with_its_region(tmp_path):
    def work(rank, lane, turn):
        return (1500 if (rank, lane) == (2, 1) else 1000) + (37 * turn + 11 * rank + 5 * lane) % 23

    done = run_audit(team_solver(work).write(tmp_path))
    within = done.verdict["within"]
    assert (done.verdict["kind"], done.verdict["ranks"]) == ("rank", [2])
    assert (within["thread"], within["region"]) == (1, "relax")
    assert "on thread 1 in relax" in done.verdict["summary"]
    assert done.document["replay"]["error_ratio_max"] < 0.01
    # thread 2 begins 10 later than thread 1 and is the last one then
    assert done.verdict["gain_s"] == pytest.approx(490e-9, rel=0.1)


def test_a_slow_rank_is_not_one_thread(tmp_path):
    def work(rank, lane, turn):
        return (1500 if rank == 1 else 1000) + (37 * turn + 11 * rank + 5 * lane) % 23

    done = run_audit(team_solver(work).write(tmp_path))
    assert (done.verdict["kind"], done.verdict["ranks"]) == ("rank", [1])
    assert done.verdict["within"]["thread"] is None
    assert done.verdict["within"]["region"] == "relax"


def test_work_that_threads_share_unequally_on_all_ranks_is_named(tmp_path):
    def work(rank, lane, turn):
        return (1600 if lane == 0 else 1000) + (37 * turn + 11 * rank + 5 * lane) % 23

    done = run_audit(team_solver(work).write(tmp_path))
    assert (done.verdict["kind"], done.verdict["place"]) == ("threads", "all")
    assert done.verdict["mechanism"] == "workload"
    assert done.verdict["within"]["thread"] == 0
    assert "relax in parallel" in done.verdict["summary"]
    # shared evenly, each takes 1200; thread 2 begins 20 later than thread 0
    assert done.verdict["gain_s"] == pytest.approx(380e-9, rel=0.1)


def test_threads_that_share_work_evenly_are_not_accused(tmp_path):
    assert run_audit(team_solver(even).write(tmp_path)).verdict["kind"] in {"none", "jitter"}


@pytest.mark.parametrize("mpi", [True, False])
def test_threads_of_one_rank_alone_are_compared_with_each_other(tmp_path, mpi):
    def work(_rank, lane, turn):
        return (1600 if lane == 0 else 1000) + (37 * turn + 5 * lane) % 23

    done = run_audit(team_solver(work, n_rank=1, mpi=mpi).write(tmp_path))
    assert done.verdict["kind"] == "threads"
    assert (done.verdict["within"]["thread"], done.verdict["within"]["region"]) == (0, "relax")
    assert "12" in str(
        dict(done.table("caveat").select("code", "n").iter_rows())["steps_from_pattern"]
    )
    # shared evenly, each takes 1200; thread 2 begins 20 later than thread 0
    assert done.verdict["gain_s"] == pytest.approx(380e-9, rel=0.1)
    assert "one_rank" in done.table("caveat")["code"].to_list()


def test_one_process_whose_threads_share_evenly_is_not_accused(tmp_path):
    done = run_audit(team_solver(even, n_rank=1, mpi=False).write(tmp_path))
    assert done.verdict["kind"] in {"none", "jitter"}


def test_created_threads_of_one_process_are_compared_with_each_other(tmp_path):
    trace, now = Trace(1, n_thread=3, mpi=False), 0
    for turn in range(12):
        trace.enter(0, now, "iteration")
        ends = [now + 25 + span + 7 * turn % 11 for span in (1000, 1600)]
        for lane, end in enumerate(ends, 1):
            number, begin = 2 * turn + lane, now + 25
            trace.event(0, now + 10 * lane, CREATE, 2, number)
            trace.event(lane, begin, BEGIN, 2, number)
            trace.call(lane, begin, end, "work")
            trace.event(lane, end, END, 2, number)
        trace.enter(0, now + 40, "pthread_join")
        for lane, end in enumerate(ends, 1):
            trace.event(0, end + 5, WAIT, 2, 2 * turn + lane)
        trace.leave(0, end + 15, "pthread_join")
        now = end + 20
        trace.leave(0, now, "iteration")
    done = run_audit(trace.write(tmp_path))
    assert done.verdict["kind"] == "threads", done.verdict["summary"]
    assert done.verdict["within"]["thread"] == 2


def test_one_thread_alone_is_compared_with_nobody(tmp_path):
    trace = Trace(1, mpi=False)
    for turn in range(4):
        trace.call(0, 100 * turn, 100 * turn + 90, "solve")
    done = run_audit(trace.write(tmp_path))
    assert done.verdict["kind"] == "not_assessable"
    assert "one rank is recorded" in done.verdict["summary"]
    assert "one_rank" not in done.table("caveat")["code"].to_list()


def test_one_rank_of_several_is_not_judged_by_its_threads(tmp_path):
    anchor = team_solver(lambda _r, lane, _t: 1600 if lane == 0 else 1000, n_rank=2).write(tmp_path)
    for lane in range(3):
        (tmp_path / "traces" / f"{1 + 2 * lane}.evt").unlink()
    assert run_audit(anchor).verdict["kind"] == "not_assessable"


def test_processes_that_nothing_couples_are_refused(tmp_path):
    with pytest.raises(InputError, match="not one process alone"):
        read_otf2(team_solver(even, n_rank=2, mpi=False).write(tmp_path))
