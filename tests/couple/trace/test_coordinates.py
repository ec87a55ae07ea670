import polars as pl
import pytest

from loadpath.couple.trace import couple_trace
from loadpath.couple.trace.coordinates import AXES, axis_of, rank_coordinates
from loadpath.ingest.kineto import read_kineto
from loadpath.tables import COMMUNICATOR, RANK
from loadpath.testing import make_job, write_kineto


def table(*groups):
    """Communicators of (description, members)."""
    return COMMUNICATOR.build(
        {
            "communicator": list(range(len(groups))),
            "name": [str(i) for i in range(len(groups))],
            "n_members": [len(members) for _, members in groups],
            "members": [list(members) for _, members in groups],
            "description": [text for text, _ in groups],
        }
    )


def coordinates(n, *groups):
    rank, doubts = rank_coordinates(RANK.build({"rank": list(range(n))}), table(*groups))
    return rank, [code for code, _, count in doubts if count]


@pytest.mark.parametrize(
    ("name", "axis"),
    [
        ("DATA_PARALLEL_GROUP", "dp"), ("dp", "dp"), ("mesh_dp_replicate", "dp"), ("fsdp", "dp"),
        ("TENSOR_MODEL_PARALLEL_GROUP", "tp"), ("tensor_model_parallel_group", "tp"),
        ("mp_tp", "tp"), ("mesh_tp", "tp"), ("pp", "pp"), ("PIPELINE_MODEL_PARALLEL_GROUP", "pp"),
        ("EXPERT_MODEL_PARALLEL_GROUP", "ep"), ("ep_size_4", "ep"), ("CONTEXT_PARALLEL_GROUP", "cp"),
        ("default_pg", ""), ("undefined", ""), ("0", ""), ("MODEL_PARALLEL_GROUP", ""),
        ("TENSOR_AND_DATA_PARALLEL_GROUP", ""), ("EMBEDDING_GROUP", ""), ("mesh_dp_cp", ""),
        ("EXPERT_DATA_PARALLEL_GROUP", ""), ("INTRA_PARTIAL_DATA_PARALLEL_GROUP", ""),
        ("steps", ""), ("http", ""),
    ],
)  # fmt: skip
def test_name_of_a_group_tells_one_axis_or_none(name, axis):
    assert axis_of(name) == axis


def test_rank_stands_where_its_groups_say():
    # tp 2 x dp 2 x pp 2, tensor peers neighbours
    rank, doubts = coordinates(
        8,
        *(("TENSOR_MODEL_PARALLEL_GROUP", (r, r + 1)) for r in (0, 2, 4, 6)),
        *(("DATA_PARALLEL_GROUP", (r, r + 2)) for r in (0, 1, 4, 5)),
        *(("PIPELINE_MODEL_PARALLEL_GROUP", (r, r + 4)) for r in range(4)),
        ("default_pg", range(8)),
    )
    assert rank.select("tp", "dp", "pp").rows() == [(r % 2, r // 2 % 2, r // 4) for r in range(8)]
    assert rank["ep"].to_list() == [-1] * 8
    assert doubts == []


def test_groups_without_names_tell_nothing_and_that_is_said():
    rank, doubts = coordinates(4, ("", (0, 1)), ("undefined", (2, 3)), ("default_pg", range(4)))
    assert rank.select(AXES).unique().rows() == [(-1,) * 5]
    assert doubts == ["axes_unknown"]


def test_groups_of_one_axis_that_cross_are_no_coordinate():
    # hybrid sharding: replicas across, shards within
    rank, doubts = coordinates(
        4, ("dp_shard", (0, 1)), ("dp_shard", (2, 3)), ("dp_replicate", (0, 2)),
        ("dp_replicate", (1, 3)),
    )  # fmt: skip
    assert rank["dp"].to_list() == [-1] * 4
    assert "axes_conflict" in doubts


def test_groups_within_a_larger_one_of_their_axis_do_not_count():
    rank, _ = coordinates(4, ("dp", (0, 1, 2, 3)), ("dp_shard", (0, 1)), ("dp_shard", (2, 3)))
    assert rank["dp"].to_list() == [0, 1, 2, 3]


def test_traces_name_the_coordinates_of_their_ranks(tmp_path):
    made = make_job(7, recorder="kineto", pp=2, tp=2, dp=2, steps=2, microbatches=4)
    job = couple_trace(read_kineto([write_kineto(made, tmp_path)]))
    assert job.rank.select("tp", "dp", "pp").rows() == [
        (r % 2, r // 2 % 2, r // 4) for r in range(8)
    ]
    replica = job.op.group_by("rank").agg(pl.col("replica").unique()).sort("rank")
    assert replica["replica"].to_list() == [[r // 2 % 2] for r in range(8)]
    assert "axes_unknown" not in job.caveat["code"]
