import json

import pytest

from loadpath.ingest.execution_trace import is_execution_trace, read_execution_traces

ADD = "aten::add_.Tensor(Tensor(a!) self, Tensor other, *, Scalar alpha=1) -> Tensor(a!)"
VIEW = "aten::view(Tensor(a) self, SymInt[] size) -> Tensor(a)"


def tensor(storage):
    return [storage + 100, storage, 0, 16, 4, "cuda:0"]


def old(number, name, inputs, outputs, schema=""):
    return {"name": name, "id": number + 2, "rf_id": number, "parent": 1, "op_schema": schema,
            "inputs": inputs, "input_shapes": [], "outputs": outputs, "output_shapes": []}  # fmt: skip


def new(number, name, inputs, outputs, schema=""):
    attrs = [{"name": "rf_id", "type": "uint64", "value": number},
             {"name": "op_schema", "type": "string", "value": schema}]  # fmt: skip
    return {"id": number + 2, "name": name, "ctrl_deps": 1, "attrs": attrs,
            "inputs": {"values": inputs, "shapes": [], "types": []},
            "outputs": {"values": outputs, "shapes": [], "types": []}}  # fmt: skip


def write(folder, nodes, name="et_rank_3.json"):
    path = folder / name
    path.write_text(json.dumps({"schema": "1.0.1", "pid": 1, "nodes": nodes, "finish_ts": 2}))
    return path


@pytest.mark.parametrize("node", [old, new])
def test_storages_that_operators_read_and_write_are_told_in_both_schemas(node, tmp_path):
    path = write(tmp_path, [
        node(1, "aten::empty", [[4, 4], 6], [tensor(7)]),
        node(2, "aten::add_", [tensor(7), tensor(8), 1], [tensor(7)], ADD),
        node(3, "aten::view", [tensor(7), [16]], [tensor(7)], VIEW),
        node(4, "record_param_comms", [[tensor(7)], 337, 9, 3, "allreduce"], [[tensor(7)]]),
    ])  # fmt: skip
    assert is_execution_trace(path)
    found = read_execution_traces([path]).node
    assert found.select("rank", "node", "reads", "writes").rows() == [
        (3, 1, [], [7]),
        (3, 2, [7, 8], [7]),
        (3, 3, [7], []),
        (3, 4, [7], [7]),
    ]


def test_a_damaged_node_costs_that_node(tmp_path):
    nodes = [
        old(1, "aten::empty", [], [tensor(7)]),
        {"name": 5},
        old(3, "aten::view", [tensor(7)], []),
    ]
    found = read_execution_traces([write(tmp_path, nodes)])
    assert found.node["node"].to_list() == [1, 3]
    assert found.caveat.rows()[0][2] == 1


def test_two_traces_of_one_rank_and_one_of_none_are_left_out(tmp_path):
    nodes = [old(1, "aten::empty", [], [tensor(7)])]
    paths = [write(tmp_path, nodes, name) for name in ("a_rank_0.json", "b_rank_0.json", "c.json")]
    found = read_execution_traces(paths)
    assert found.node["rank"].to_list() == [0]
    assert found.caveat["code"].to_list() == ["execution_trace_unused"] * 2
