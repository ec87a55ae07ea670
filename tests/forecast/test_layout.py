"""Where ranks sit."""

from msgspec.structs import replace
from tests.forecast.designs import design

from loadpath.forecast.design import Cluster, Tier
from loadpath.forecast.layout import Group, lay_out
from loadpath.forecast.step import step_time


def test_tensor_parallel_ranks_share_a_node_and_replicas_do_not():
    layout = lay_out(design(64, 128, tensor=8))
    assert layout.tensor == Group(8, 8)
    assert layout.gradient == Group(8, 1)
    assert layout.data == 8
    assert layout.microbatches == 16


def test_narrow_tensor_groups_leave_several_replicas_in_a_node():
    assert lay_out(design(64, tensor=4)).gradient == Group(16, 2)
    assert lay_out(design(64)).gradient == Group(64, 8)


def test_stages_of_a_small_job_share_a_node():
    assert lay_out(design(8, pipeline=2)).stages == Group(2, 2)
    assert lay_out(design(16, pipeline=2)).stages == Group(2, 1)


def test_context_parallel_ranks_hold_the_same_weights():
    layout = lay_out(design(16, 8, context=4))
    assert layout.context == Group(4, 4)
    assert layout.data == 4
    assert layout.gradient == Group(16, 8)


def test_first_tier_is_what_joins_ranks_fast():
    tiers = (Tier(name="rack", size=32, bandwidth=1e9), Tier(name="net", size=64, bandwidth=1e8))
    job = replace(
        design(64), cluster=Cluster(device="A100-SXM4-80GB", accelerators=64, tiers=tiers)
    )
    assert lay_out(job).gradient == Group(64, 32)


def test_node_size_of_the_cluster_goes_before_that_of_the_device():
    job = design(cluster=Cluster(device="A100-SXM4-80GB", accelerators=8, node_size=4))
    assert lay_out(job).gradient == Group(8, 4)


def test_full_sharding_divides_within_its_group():
    assert lay_out(design(64, sharding="full", shard_group=8)).shard == Group(8, 8)
    assert lay_out(design(64, sharding="full")).shard == Group(64, 8)


def test_replicas_of_a_sharded_group_share_the_fast_link_that_holds_them():
    job = design(512, 512, device="TPU-v5p", tensor=8, sharding="full", shard_group=16)
    slow = design(512, 512, device="TPU-v5p", tensor=8, sharding="full", shard_group=16,
                  cluster=Cluster(device="TPU-v5p", accelerators=512, node_size=128))  # fmt: skip
    halved = {"network_ratio": 0.45}
    change = [
        step_time(replace(j, priors=halved)).step_s / step_time(j).step_s for j in (job, slow)
    ]
    assert change[0] == 1 < change[1]
