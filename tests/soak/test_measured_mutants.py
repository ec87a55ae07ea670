"""Damaged measurements: points with caveats or one typed error; never a traceback, never a hang."""

import os
import time
from collections import Counter

import pytest
from tests.soak.hostile import MOST_SECONDS, mutant, places

from loadpath.errors import InputError
from loadpath.ingest.nccl_tests import is_nccl_tests, read_nccl_tests
from loadpath.ingest.request_trace import read_requests
from loadpath.ingest.run_table import read_runs

DEVICE = "#  Rank {0:2d} Group  0 Pid {0} on {1} device  0 [0000:1b:00] NVIDIA H100 80GB HBM3\n"
LOG = (
    "# Collective test starting: all_reduce_perf\n# nThread 1 nGpus 1 minBytes 33554432\n"
    + "".join(DEVICE.format(rank, f"node{rank // 4}") for rank in range(8))
    + "#       size         count      type   redop    root     time   algbw   busbw  #wrong\n"
    + 5
    * "    33554432       4194304    double     sum      -1   183.55  182.81  319.92       0"
    "   182.78  183.58  321.26       0\n"
)
RECORDS = {
    "run.log": LOG,
    "tagged.log": "".join(f"[1,0]<stdout>:{line}\n" for line in LOG.splitlines()),
    "times.csv": "time_stats.all_reduce.median,num_workers,size,collective,devices_per_node\n"
    + 5 * "0.347,16,67108864,all_reduce,8\n",
    "links.csv": "file,test,N,G,nodes,minBytes,maxBytes,avg_bus_bw_GBs,peak_busbw_GBs\n"
    + 5 * 'a.log,alltoall_perf,2,1,"a,b",4,8,41.5,43.73\n',
    "requests.csv": "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    + 5 * "2023-11-16 18:15:46.6805900,374,44\n",
    "runs.csv": "n,step_s,microbatches,global_batch,power_w\n8,4.5,16,256,5600\n16,2.5,8,256,\n",
}


def read(path):
    """Read any kind of measurement; what was read is above 0."""
    if path.name == "runs.csv":
        table = read_runs(path)
        assert table.filter(table["step_s"] <= 0).is_empty()
        return
    if path.name == "requests.csv":
        requests = read_requests(path)
        assert requests.filter(
            (requests["arrival_ns"] < 0) | (requests["prompt_tokens"] < 1)
        ).is_empty()
        return
    is_nccl_tests(path)
    points = read_nccl_tests(path).points
    assert points.filter((points["duration_ns"] <= 0) | (points["n_rank"] < 1)).is_empty()


def survive(path, content):
    path.write_bytes(content)
    begin = time.process_time()
    said = None
    try:
        read(path)
    except InputError as error:
        said = str(error)
    assert said is None or (path.name in said and len(said) < 4000)
    assert time.process_time() - begin < MOST_SECONDS
    return "tables" if said is None else "InputError"


@pytest.mark.parametrize("name", RECORDS)
def test_some_mutants_of_measurements_are_survived(name, tmp_path):
    sound = RECORDS[name].encode()
    assert survive(tmp_path / name, sound) == "tables"
    answers = Counter(survive(tmp_path / name, mutant(sound, seed)) for seed in range(100))
    assert answers["tables"] > 0
    for place in places(sound, 60):
        survive(tmp_path / name, sound[:place])


@pytest.mark.soak
@pytest.mark.parametrize("name", RECORDS)
def test_five_thousand_mutants_of_measurements_are_survived(name, tmp_path):
    sound = RECORDS[name].encode()
    first = int(os.environ.get("LOADPATH_SOAK_SEED", "0"))
    answers = Counter(
        survive(tmp_path / name, mutant(sound, seed)) for seed in range(first, first + 5000)
    )
    assert answers.total() == 5000
