import gzip
import json
import os
from pathlib import Path

import pytest
from tests.ingest.nccl_output import output, result

from loadpath.errors import InputError
from loadpath.ingest.nccl_tests import is_nccl_tests, read_nccl_tests
from loadpath.ingest.nccl_tests.reading import TEXTS
from loadpath.tables.measured import COLLECTIVE_POINT, LINK_POINT

ROOT = Path(__file__).parents[2]
START = """\
# Collective test starting: all_reduce_perf
# nThread 1 nGpus 1 minBytes 33554432 maxBytes 67108864 step: 2(factor)
#
# Using devices
"""
DEVICE = "#  Rank {0:2d} Group  0 Pid {0} on {1} device  0 [0000:1b:00] NVIDIA H100 80GB HBM3\n"
HEAD = """\
#                                                              out-of-place                       in-place
#       size         count      type   redop    root     time   algbw   busbw  #wrong     time   algbw   busbw  #wrong
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)             (us)  (GB/s)  (GB/s)
"""
ROW_32M = "    33554432       4194304    double     sum      -1   183.55  182.81  319.92       0   182.78  183.58  321.26       0\n"
ROW_64M = "    67108864       8388608    double     sum      -1   313.73  213.91  374.34       0   313.97  213.74  374.04     N/A\n"
DEVICES = "".join(DEVICE.format(rank, f"node{rank // 4}") for rank in range(8))
LOG = START + DEVICES + HEAD + ROW_32M + ROW_64M + "# Out of bounds values : 0 OK\n"


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        path = tmp_path / "run.log"
        path.write_text(text)
        return read_nccl_tests(path)

    return read_text


def codes(record):
    return dict(record.caveat.select("code", "n").rows())


def test_log_gives_times_out_of_place_and_in_place(read):
    assert read(LOG).points.rows() == [
        ("all_reduce", 33554432, 8, 2, 183550, False, 0),
        ("all_reduce", 33554432, 8, 2, 182780, True, 0),
        ("all_reduce", 67108864, 8, 2, 313730, False, 0),
        ("all_reduce", 67108864, 8, 2, 313970, True, None),
    ]


@pytest.mark.parametrize("tag", ["[1,0]<stdout>:", "[prterun-a-1@1,0]<stdout>: ", "0: "])
def test_tags_of_the_launcher_change_nothing(read, tag):
    tagged = "".join(tag + line for line in LOG.splitlines(keepends=True))
    assert read(tagged).points.equals(read(LOG).points)


def test_two_runs_in_one_log_at_the_same_time_stay_apart(read):
    gather = START.replace("all_reduce", "reduce_scatter") + DEVICES + HEAD
    gather += ROW_32M.replace("319.92", "159.96").replace("321.26", "160.63")
    ours, theirs = (
        [tag + line for line in log.splitlines(keepends=True)]
        for tag, log in (("[1,0]<stdout>:", LOG), ("[2,0]<stdout>:", gather))
    )
    theirs += [""] * (len(ours) - len(theirs))
    points = read("".join(a + b for a, b in zip(ours, theirs, strict=True))).points
    assert sorted(points.filter(~points["in_place"])["collective"]) == [
        "all_reduce", "all_reduce", "reduce_scatter",
    ]  # fmt: skip


def test_ranks_that_are_split_into_groups_run_in_parts(read):
    devices = "".join(
        DEVICE.replace("Group  0", f"Group  {rank % 2}").format(rank, f"node{rank // 4}")
        for rank in range(8)
    )
    # of four ranks the bus carries 2 * 3/4 of what the algorithm moves
    row = ROW_32M.replace("319.92", "274.22").replace("321.26", "275.37")
    points = read(START + devices + HEAD + row).points
    assert points.select("n_rank", "n_node").rows() == [(4, 2), (4, 2)]


def test_row_behind_the_text_of_another_process_is_read(read):
    torn = LOG.replace(ROW_32M, "node1:7:9 [0] NCCL INFO Connected all trees" + ROW_32M)
    assert read(torn).points.equals(read(LOG).points)


def test_row_torn_by_another_process_is_counted(read):
    record = read(LOG.replace("   183.55", "  node1:7:9 NCCL INFO x 183.55"))
    assert codes(record) == {"damaged_row": 1}
    assert record.points.height == 2


def test_time_that_lost_a_digit_is_contradicted_by_its_bandwidth(read):
    record = read(LOG.replace("   183.55", "   18.55"))
    assert codes(record) == {"contradicted_row": 1}
    assert record.points.height == 3


def test_ranks_that_are_missing_from_the_list_drop_the_run(read):
    holed = LOG.replace(DEVICE.format(3, "node0"), "")
    endless = LOG.replace("Rank  3", f"Rank  {'3' * 5000}")
    assert endless != LOG
    for text in (holed, endless):
        with pytest.raises(InputError, match=r"neither the collective nor all ranks .* \(2\)"):
            read(text)


def test_collective_of_an_older_version_is_told_by_the_command_before_it(read):
    older = LOG.replace("# Collective test starting: ", "+ ./build/").replace(" Group  0", "")
    assert read(older).points.equals(read(LOG).points)


def test_older_error_column_and_missing_root_are_read(read):
    older = LOG.replace("      -1", "").replace("       0\n", "   2e-07\n")
    assert read(older).points["duration_ns"].to_list() == read(LOG).points["duration_ns"].to_list()


def test_wrong_values_are_kept_and_said(read):
    record = read(LOG.replace("319.92       0", "319.92       7"))
    assert codes(record) == {"wrong_results": 1}
    assert record.points["n_wrong"][0] == 7


def test_more_wrong_values_than_there_can_be_are_still_a_count(read):
    record = read(LOG.replace("319.92       0", "319.92    1e99"))
    assert record.points["n_wrong"][0] == 1 << 62


def test_damaged_gzip_keeps_the_sound_rows(tmp_path):
    path = tmp_path / "run.log.gz"
    raw = gzip.compress((LOG + os.urandom(300_000).hex()).encode())
    path.write_bytes(raw[: len(raw) // 2])
    record = read_nccl_tests(path)
    assert codes(record) == {"nccl_tests_cut": 1}
    assert record.points.height == 4


def test_table_of_times_takes_the_median_and_drops_what_lacks_values(read):
    head = "time_stats.all_reduce.median,num_workers,size,collective,devices_per_node\n"
    record = read(
        head + "0.347,16,67108864,all_reduce,8\n,16,1024,all_reduce,8\n0.1,6,9,all_reduce,4\n"
    )
    assert record.points.rows() == [("all_reduce", 67108864, 16, 2, 347000, False, None)]
    assert codes(record) == {"damaged_row": 2}


def test_summary_gives_the_bandwidth_of_each_pair(read):
    head = "file,test,N,G,nodes,minBytes,maxBytes,avg_bus_bw_GBs,peak_busbw_GBs\n"
    record = read(
        head + 'a.log,alltoall_perf,2,1,"a,b",4,8,41.5,43.73\nb.log,alltoall_perf,2,1,"a,c",4,8,,\n'
    )
    assert record.links.rows() == [("all_to_all", "a,b", 2, 1, 4, 8, 41.5e9, 43.73e9)]
    assert codes(record) == {"damaged_row": 1}


@pytest.mark.parametrize("text", ["", "nothing of the sort\n", "\0" * 64, START])
def test_what_holds_no_time_is_refused(read, text):
    with pytest.raises(InputError, match="no measured collective"):
        read(text)


def test_caveats_and_columns_are_on_the_page_of_the_format():
    page = (ROOT / "docs" / "formats" / "nccl_tests.md").read_text(encoding="utf-8")
    columns = [c.name for schema in (COLLECTIVE_POINT, LINK_POINT) for c in schema.columns]
    assert [name for name in [*TEXTS, *columns] if f"`{name}`" not in page] == []


def test_every_published_file_is_recognised_and_read_whole():
    root = os.environ.get("LOADPATH_DATA")
    if root is None:
        pytest.skip("LOADPATH_DATA is not set")
    folder = Path(root) / "data" / "nccl-tests"
    assert folder.is_dir(), f"LOADPATH_DATA has no {folder}"
    logs = sorted(folder.rglob("*.log"))
    assert [read_nccl_tests(log).points.height for log in logs] == [100] * len(logs)
    assert all(read_nccl_tests(log).caveat.is_empty() for log in logs)
    tables = [path for path in folder.rglob("*.csv*") if is_nccl_tests(path)]
    assert len(tables) == 5


def test_summary_whose_head_holds_a_lone_quote_is_refused(tmp_path):
    text = 'f,"e,test,N,G,nodes,minBytes,maxBytes,avg_bus_bw_GBs,peak_busbw_GBs\na,b,"c",2\n'
    (tmp_path / "links.csv").write_text(text)
    with pytest.raises(InputError, match="missing column 'test'"):
        read_nccl_tests(tmp_path / "links.csv")


@pytest.fixture
def read_output(tmp_path):
    def read_document(document, cut=None):
        path = tmp_path / "all_reduce.json"
        text = (
            document if isinstance(document, str) else json.dumps(document, separators=(",", ":"))
        )
        path.write_text(text[:cut])
        assert is_nccl_tests(path)
        return read_nccl_tests(path)

    return read_document


@pytest.mark.parametrize("version", [1, 2, 3])
def test_json_output_tells_what_the_log_of_the_run_does(version, read, read_output):
    found = read_output(output(version)).points
    logged = read(LOG).points
    assert found.drop("n_wrong").equals(logged.drop("n_wrong"))
    assert found["n_wrong"].to_list() == [0, 0, None, None]
    laid_out = json.dumps(output(version), indent=2)
    assert read_output(laid_out).points.equals(found)


def test_a_process_with_several_devices_lists_its_first_alone(read_output):
    points = read_output(output(per_process=4, n_process=2)).points
    assert points["n_rank"].unique().to_list() == [8]
    assert points["n_node"].unique().to_list() == [2]


def test_json_output_of_a_run_that_was_killed_keeps_its_whole_results(read_output):
    text = json.dumps(output())
    found = read_output(text, cut=text.rindex('"bus_bw"'))
    assert found.points["bytes"].unique().to_list() == [33554432]
    assert codes(found)["nccl_tests_cut"] == 1


def test_times_of_the_host_and_results_that_contradict_themselves_are_dropped(read_output):
    sound = result(33554432, 183.55, 182.78)
    odd = result(33554432, 183.55, 182.78) | {"in_place": {"time": "nan", "alg_bw": 1, "bus_bw": 1}}
    odd["out_of_place"] = sound["out_of_place"] | {"alg_bw": 18.2}
    rows = [
        sound,
        result(4096, 5.0, 5.0, time="cpu_time"),
        odd,
        {"size": "?"},
        {"out_of_place": None},
    ]
    found = read_output(output(results=rows))
    assert found.points.height == 2
    assert codes(found) == {"host_times": 2, "contradicted_row": 2, "damaged_row": 2}


def test_json_output_whose_run_is_not_told_is_refused(read_output):
    gaps = output()
    gaps["config"]["devices"][3]["rank"] = 9
    for document in (output(program="python3"), gaps):
        with pytest.raises(InputError, match=r"neither the collective nor all ranks .* \(2\)"):
            read_output(document)


def test_a_trace_is_no_output_of_nccl_tests(tmp_path):
    path = tmp_path / "rank0.json"
    path.write_text('{"schemaVersion": 1, "version": 2, "traceEvents": []}')
    assert not is_nccl_tests(path)
