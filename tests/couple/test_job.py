import numpy as np
import pytest
from tests.couple.readable import coupling

from loadpath.couple import CoupledJob, assemble_job
from loadpath.couple.graph import EdgeKind
from loadpath.couple.job import COUPLED_OP, describe_op
from loadpath.couple.trace import couple_trace
from loadpath.errors import InputError, StructureError
from loadpath.tables import CAVEAT, COMMUNICATOR, INSTANCE, LANE, MEMBERSHIP, RANK, STEP, Recording
from loadpath.testing import job as small_job

PROGRAM, HOST_WAIT = EdgeKind.PROGRAM, EdgeKind.HOST_WAIT


def ops(*spans, **columns):
    """Return ops of one rank each, from (start, end)."""
    n = len(spans)
    return COUPLED_OP.build(
        {
            "rank": list(range(n)),
            "lane": [0] * n,
            "step": [0] * n,
            "kind": ["compute"] * n,
            "name": ["work"] * n,
            "start_ns": [start for start, _ in spans],
            "duration_ns": [end - start for start, end in spans],
            "op_class": ["work"] * n,
            "position": [0] * n,
            "mechanism": ["unknown"] * n,
            "stage": [0] * n,
            "replica": [0] * n,
        }
        | columns
    )


def assemble(op, couplings) -> CoupledJob:
    recording = Recording(
        source="op_table",
        op=op.drop("op_class", "position", "mechanism", "stage", "replica"),
        lane=LANE.empty(),
        communicator=COMMUNICATOR.empty(),
        rank=RANK.empty(),
        step=STEP.empty(),
        caveat=CAVEAT.empty(),
        inputs=(("job.parquet", "0" * 64, 1),),
        layout={"pp_size": 1},
    )
    return assemble_job(
        recording, op, couplings, instance=INSTANCE.empty(), membership=MEMBERSHIP.empty()
    )


# 0 |0---10|   1 |12-----20|   starts 2 after its predecessor ends
def test_work_of_a_computation_is_its_duration_and_the_gap_before_it_is_lag():
    job = assemble(ops((0, 10), (12, 20)), coupling(2, [(0, 1, PROGRAM)]))
    assert job.work_ns.tolist() == [10, 8]
    assert job.lag_ns.tolist() == [0, 2]
    assert job.wait_ns.tolist() == [0, 0]


def test_op_without_predecessor_lags_behind_the_first_start():
    job = assemble(ops((0, 10), (4, 9)), coupling(2))
    assert job.lag_ns.tolist() == [0, 4]


# rank 0 |10----------50|
# rank 1       |40----50|     all-reduce: rank 0 waits 30, transfer 10
def test_member_that_comes_early_waits_for_the_last_arrival():
    job = assemble(ops((10, 50), (40, 50)), coupling(2, members=[(0, 0), (1, 0)]))
    assert job.arrive_ns.tolist() == [10, 40]
    assert job.wait_ns.tolist() == [30, 0]
    assert job.work_ns.tolist() == [10, 10]


def test_lag_wait_and_transfer_add_up_to_the_recorded_end():
    job = assemble(
        ops((10, 50), (40, 57), (20, 51)), coupling(3, members=[(k, 0) for k in range(3)])
    )
    total = job.lag_ns + job.wait_ns + job.work_ns
    assert total.tolist() == [50, 57, 51]


# A receive posted at 0, before the computation at 0-30 it stands behind.
def test_receive_arrives_when_its_lane_is_free_and_not_when_it_was_posted():
    job = assemble(
        ops((0, 30), (0, 60), (40, 60)),
        coupling(3, [(0, 1, PROGRAM)], members=[(1, 0), (2, 0)]),
    )
    assert job.arrive_ns[1] == 30
    assert job.wait_ns[1] == 10
    assert job.work_ns[1] == 20


def test_start_before_the_end_of_a_predecessor_is_clamped_and_kept_as_negative_lag():
    job = assemble(ops((0, 10), (7, 20)), coupling(2, [(0, 1, PROGRAM)]))
    assert job.lag_ns.tolist() == [0, 0]
    assert job.negative_lag_ns.tolist() == [0, 3]


# rank 0 |0---20|
# rank 1          |30---40|   rank 0 ended 10 before rank 1 came: no all-reduce does that
def test_member_that_ends_before_the_last_arrival_has_negative_lag_and_no_transfer():
    job = assemble(ops((0, 20), (30, 40)), coupling(2, members=[(0, 0), (1, 0)]))
    assert job.negative_lag_ns.tolist() == [10, 0]
    assert job.work_ns.tolist() == [0, 10]
    assert job.wait_ns.tolist() == [20, 0]


def test_no_part_of_an_op_is_ever_negative():
    rng = np.random.default_rng(3)
    for _ in range(50):
        start = rng.integers(0, 50, 6)
        spans = [(int(s), int(s + d)) for s, d in zip(start, rng.integers(0, 30, 6), strict=True)]
        job = assemble(
            ops(*spans),
            coupling(6, [(0, 2, PROGRAM), (1, 3, PROGRAM)], members=[(2, 0), (3, 0), (4, 0)]),
        )
        for part in (job.work_ns, job.lag_ns, job.wait_ns, job.negative_lag_ns):
            assert part.min() >= 0


# kernel 0 |0------40|   host call 1 |5--------43|: 35 of waiting, 3 of its own
def test_work_of_a_synchronising_call_is_what_remains_after_its_wait():
    job = assemble(ops((0, 40), (5, 43)), coupling(2, [(0, 1, HOST_WAIT)]))
    assert job.wait_ns.tolist() == [0, 35]
    assert job.work_ns.tolist() == [40, 3]


def test_call_that_begins_after_what_it_waits_for_does_not_wait():
    job = assemble(ops((0, 40), (50, 60)), coupling(2, [(0, 1, HOST_WAIT)]))
    assert job.wait_ns[1] == 0
    assert job.work_ns[1] == 10


# root 0 |0-5|, leaf 1 |20-30|: the root's send is over long before
def test_root_of_a_broadcast_that_ends_early_is_sound():
    members = [(0, 0, True, False), (1, 0, False, True)]
    job = assemble(ops((0, 5), (20, 30)), coupling(2, members=members))
    assert job.negative_lag_ns.tolist() == [0, 0]
    assert job.wait_ns.tolist() == [0, 0]
    assert job.work_ns.tolist() == [5, 10]


def test_recording_is_handed_on():
    job = assemble(ops((0, 10)), coupling(1))
    assert (job.source, job.n_op, dict(job.layout)) == ("op_table", 1, {"pp_size": 1})
    assert job.inputs == (("job.parquet", "0" * 64, 1),)


def test_trace_without_host_calls_can_be_coupled():
    job = couple_trace(small_job(ranks=2).compute([70, 100]).recording())
    assert job.work_ns.tolist() == [70, 100]


def test_ops_that_are_not_graph_ops_are_refused():
    with pytest.raises(InputError, match="coupled_op"):
        assemble(ops((0, 10)).drop("stage").with_columns(stage=0.5), coupling(1))


def test_cycle_names_the_ops_of_the_job():
    op = ops((0, 10), (0, 10), name=["send", "recv"], sequence=[3, -1], step=[7, -1])
    with pytest.raises(StructureError) as caught:
        assemble(op, coupling(2, [(0, 1, PROGRAM), (1, 0, PROGRAM)]))
    assert "send #3 (rank 0, step 7)" in str(caught.value)
    assert "recv (rank 1)" in str(caught.value)


def test_op_is_described_by_name_number_rank_and_step():
    assert describe_op(ops((0, 10), sequence=[2]), 0) == "work #2 (rank 0, step 0)"
