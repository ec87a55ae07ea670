"""JSON output of nccl-tests, as its versions write it."""


def output(
    version=3, *, per_process=1, n_process=8, program="/opt/build/all_reduce_perf", results=None
):
    """What ``-J`` writes of the run in `test_nccl_tests.LOG`, in the words of each version of the file."""
    config = {
        "nthreads": 1, "ngpus": per_process, "minimum_bytes": 33554432, "maximum_bytes": 67108864,
        "step_factor": 2, "warmup_iters": 1, "iterations": 20, "aggregated_iterations": 1,
        "validation": 1, "graph": 0, "blocking_collectives": "false",
    }  # fmt: skip
    later = {1: (), 2: ("per_iter_timing",), 3: ("per_iter_timing", "per_iter_skip")}[version]
    config |= dict.fromkeys(later, 0) | {"parallel_init": "false"}
    config["devices"] = [
        {"rank": rank * per_process, "group": 0, "pid": 1, "hostname": f"node{rank * 2 // n_process}",
         "device": 0, "device_hex": "0000:1b:00", "device_info": "NVIDIA H100 80GB HBM3"}
        for rank in range(n_process)
    ]  # fmt: skip
    bandwidth = "bandwidith" if version == 1 else "bandwidth"
    return {
        "version": version, "start_time": "2026-07-09 16:03:21",
        "args": [program, "-b", "32M", "-J", "all_gather_perf.json"],
        "env": ["TOKEN=secret", 'NOTE="results": ['], "nccl_version": 22907, "config": config,
        "results": results or [result(33554432, 183.55, 182.78), result(67108864, 313.73, 313.97, wrong=None)],
        "out_of_bounds": {"count": 0, "okay": "true"},
        f"average_bus_{bandwidth}": {bandwidth: 350.0, "okay": "unchecked"}, "errors": [],
        "end_time": "2026-07-09 16:04:21",
    }  # fmt: skip


def result(size, *times, wrong=0, time="time", share=7 / 4):
    """One row of the table; `times` out of place and in place, in us."""
    rows = {}
    for name, us in zip(("out_of_place", "in_place"), times, strict=True):
        rate = size / us / 1000
        rows[name] = {time: us, "alg_bw": rate, "bus_bw": rate * share, "nwrong": wrong}
    told = {"size": size, "count": size // 8, "type": "double", "redop": "sum", "root": "    -1"}
    return told | rows | {"actual_iterations": 20, "experiment_name": ""}
