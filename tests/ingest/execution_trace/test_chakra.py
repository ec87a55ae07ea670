import gzip
import os
from pathlib import Path

import pytest
from tests.ingest.execution_trace.test_nodes import ADD, VIEW, tensor
from tests.ingest.execution_trace.written import chakra, field, framed, jsonized

import loadpath as lp
from loadpath.ingest.execution_trace import is_execution_trace, read_execution_traces

NODES = [
    (1, "aten::empty", [[4, 4], 6], [tensor(7)], "", True),
    (2, "aten::add_", [tensor(7), tensor(8), 1.5, True, None, "<'q\"'>"], [tensor(7)], ADD, True),
    (2, "void add_kernel", [tensor(7), tensor(8)], [tensor(9)], ADD, False),
    (3, "aten::view", [tensor(7), [16]], [tensor(7)], VIEW, True),
    (4, "record_param_comms", [[tensor(7)], 337, 9, 3, "allreduce"], [[tensor(7)]], "", True),
]
TOLD = [(1, [], [7]), (2, [7, 8], [7]), (3, [7], []), (4, [7], [7])]


def told(path):
    assert is_execution_trace(path)
    found = read_execution_traces([path])
    assert found.node["rank"].unique().to_list() == [3]
    return found


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("job.3.et", chakra(NODES)),
        ("chakra_rank_3.et.gz", gzip.compress(chakra(NODES))),
        ("chakra_rank_3.json", jsonized(NODES)),
    ],
)
def test_operators_of_chakra_files_are_those_of_the_trace_they_were_made_of(
    name, content, tmp_path
):
    (tmp_path / name).write_bytes(content)
    found = told(tmp_path / name)
    assert found.node.select("node", "reads", "writes").rows() == TOLD
    assert not found.caveat.height


def test_a_file_that_ends_early_keeps_what_came_before(tmp_path):
    (tmp_path / "job.3.et").write_bytes(chakra(NODES)[:-5])
    found = told(tmp_path / "job.3.et")
    assert found.node["node"].to_list() == [1, 2, 3]
    assert "ends within a node" in found.caveat["text"][0]


def test_a_node_without_sense_costs_that_node(tmp_path):
    bad = [
        framed(field(1, 9) + field(2, 5)),
        framed(field(1, 9) + field(2, "aten::mm") + field(8, field(1, "[1, __import__('os')]"))),
        framed(b"\x0a\xff"),
    ]
    (tmp_path / "job.3.et").write_bytes(chakra(NODES) + b"".join(bad))
    found = told(tmp_path / "job.3.et")
    assert found.node["node"].to_list() == [1, 2, 3, 4]
    assert found.caveat.rows()[0][2] == 3


def test_nodes_without_a_number_of_the_profiler_are_counted(tmp_path):
    plain = framed(field(1, 9) + field(2, "COMP_NODE_0") + field(3, 4))
    (tmp_path / "job.3.et").write_bytes(chakra(NODES) + plain + plain)
    found = told(tmp_path / "job.3.et")
    assert found.node.height == len(TOLD)
    assert found.caveat.select("code", "n").rows() == [("execution_trace_unnumbered", 2)]


@pytest.mark.parametrize("name", ["3.et", "rank_3.et", "workload.3.et", "et_rank3.et.gz"])
def test_the_rank_is_in_the_name_of_the_file(name, tmp_path):
    content = chakra(NODES)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert told(tmp_path / name).node.height == len(TOLD)


def test_a_length_of_gigabytes_is_damage_not_memory(tmp_path):
    (tmp_path / "job.3.et").write_bytes(chakra(NODES) + b"\xff\xff\xff\xff\x0f")
    found = told(tmp_path / "job.3.et")
    assert found.node.height == len(TOLD)
    assert "bytes" in found.caveat["text"][0]


def test_chakra_files_beside_traces_tell_the_dependencies_that_pytorch_tells(tmp_path):
    root = os.environ.get("LOADPATH_DATA")
    if root is None:
        pytest.skip("LOADPATH_DATA is not set")
    folder = Path(root) / "data" / "kineto-megatron-tp8"
    for path in folder.glob("kineto*"):
        (tmp_path / path.name).symlink_to(path)
    for path in folder.glob("pytorch*"):
        rank = path.name.split("_")[-1].split(".")[0]
        (tmp_path / f"megatron.{rank}.et").write_bytes(chakra(_as_chakra(path)))
    whole, made = (
        {c["code"]: c for c in lp.run_audit(where, brief=False).document["caveats"]}
        for where in (folder, tmp_path)
    )
    assert made["execution_traces"] == whole["execution_traces"]


def _as_chakra(path):
    import msgspec  # noqa: PLC0415

    nodes = msgspec.json.decode(gzip.decompress(path.read_bytes()))["nodes"]
    return [(n["rf_id"], n["name"], n["inputs"], n["outputs"], n["op_schema"], True) for n in nodes]


def test_execution_traces_alone_are_refused_by_name(tmp_path):
    (tmp_path / "job.3.et").write_bytes(chakra(NODES))
    with pytest.raises(lp.InputError, match="no Kineto trace"):
        lp.run_audit(tmp_path, brief=False)
