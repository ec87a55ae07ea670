"""What counts as computation on ranks with and without a device."""

import polars as pl


def program(make, *extra):
    """A step of one rank: a call of 40 us, 30 us of nothing recorded, an optimiser step."""
    return [
        make["span"]("ProfilerStep#1", "user_annotation", 0, 200),
        make["span"]("aten::mm", "cpu_op", 10, 40),
        make["span"]("Optimizer.step#SGD.step", "user_annotation", 80, 50),
        make["span"]("aten::add_", "cpu_op", 90, 20),
        make["span"]("c10d::allreduce_", "cpu_op", 150, 10),
        *extra,
    ]


def named(job, name):
    found = job.op.filter(pl.col("name").cast(pl.String) == name)
    return found.select(pl.col("kind", "mechanism").cast(pl.String)).unique().rows()


def test_calls_of_a_rank_without_device_are_computation(couple, make):
    job = couple(program(make))
    assert named(job, "aten::mm") == [("compute", "device")]
    assert named(job, "aten::add_") == [("optimise", "device")]


def test_time_between_calls_stays_host_work_without_device(couple, make):
    job = couple(program(make))
    assert named(job, "ProfilerStep") == [("host", "host")]


def test_calls_that_communicate_compute_nothing(couple, make):
    job = couple(program(make))
    assert named(job, "c10d::allreduce_") == [("host", "host")]


def test_calls_of_a_rank_with_a_device_are_host_work(couple, make):
    job = couple(program(make, make["launch"](20, 10, 1), make["kernel"]("gemm", 35, 50, 7, 1)))
    assert named(job, "aten::mm") == [("host", "host")]
    assert named(job, "gemm") == [("compute", "device")]
