import msgspec
import pytest

from loadpath.ingest.kineto.communications import (
    Communication,
    collective_of,
    parse_communication,
    without_impossible,
)
from loadpath.ingest.kineto.events import Args
from loadpath.ingest.kineto.groups import map_groups


def args(**fields):
    return msgspec.json.decode(msgspec.json.encode(fields), type=Args)


@pytest.mark.parametrize(
    ("name", "collective"),
    [
        ("ncclKernel_ReduceScatter_RING_LL_Sum_half(ncclWorkElem)", "reduce_scatter"),
        ("ncclDevKernel_SendRecv(ncclDevComm*)", "send_recv"),
        ("nccl:_all_gather_base", "all_gather"),
        ("alltoall", "all_to_all"),
        ("gloo:barrier", "barrier"),
        ("aten::mm", ""),
    ],
)
def test_collectives_are_named_alike_in_all_spellings(name, collective):
    assert collective_of(name) == collective


def test_inputs_of_old_traces_give_sequence_group_and_size():
    said = parse_communication(
        "record_param_comms",
        args(**{
            "Concrete Inputs": ["", "337", "93825114103440", "0", "", "[]", "[]", "8"],
            "Input Dims": [[[4, 2048]], [], [], [], [], [], [], []],
            "Input type": ["TensorList", "Scalar", "Scalar", "Scalar", "", "", "", "Scalar"],
        }),
    )  # fmt: skip
    assert (said.sequence, said.group, said.size) == (337, "93825114103440", 8)
    assert said.bytes == 4 * 2048 * 4


def test_the_call_without_payload_after_a_collective_says_nothing():
    inputs = ["337", "0", "0", "", "[]", "[]", "1"]
    assert not parse_communication("record_param_comms", args(**{"Concrete Inputs": inputs})).group


def test_named_arguments_of_new_traces_are_read():
    said = parse_communication(
        "record_param_comms",
        args(**{
            "Collective name": "allreduce", "Process Group Name": "3", "Group size": 2,
            "Process Group Ranks": "[0, 1]", "In msg nelems": 10, "Out msg nelems": 10,
            "dtype": "BFloat16", "Seq": 12,
        }),
    )  # fmt: skip
    assert said == Communication("all_reduce", "3", (0, 1), 2, 12, 20)


def test_number_of_a_communication_of_2026_is_a_signed_one():
    assert parse_communication("nccl:all_reduce", args(**{"Comms Id": 7})).comms_id == 7
    said = parse_communication("nccl:all_reduce", args(**{"Comms Id": 2**64 - 3}))
    assert said.comms_id == -3
    assert parse_communication("nccl:all_reduce", args(**{"Comms Id": "?"})).comms_id == 0


def test_group_of_2024_is_named_by_its_number():
    assert parse_communication("nccl:all_reduce", args(**{"Process Group ID": 0})).group == "0"


@pytest.mark.parametrize(
    ("name", "inputs", "root"),
    [
        ("c10d::broadcast_", ["", "", "2", "0"], 2),
        ("c10d::reduce_", ["", "", "", "1", "0"], 1),
        ("c10d::gather_", ["", "", "", "3"], 3),
        ("c10d::scatter_", ["", "", "", "3"], 3),
        ("c10d::broadcast_", [], -1),
    ],
)
def test_roots_are_in_the_inputs_of_the_call(name, inputs, root):
    assert parse_communication(name, args(**{"Concrete Inputs": inputs})).peer == root


def test_root_is_given_by_its_place_in_the_group():
    said = {"Collective name": "broadcast", "Process Group Ranks": "[4, 6]", "Rank": 1}
    assert parse_communication("record_param_comms", args(**said)).peer == 6


def test_tags_of_sends_are_read():
    said = parse_communication("c10d::recv_", args(**{"Concrete Inputs": ["", "", "3", "17"]}))
    assert (said.peer, said.tag) == (3, 17)
    said = parse_communication("c10d::recv_any_source_", args(**{"Concrete Inputs": ["", "", "5"]}))
    assert (said.peer, said.tag) == (-1, 5)


def shortened(ranks, *, size):
    said = {"Process Group Ranks": ranks, "Group size": size, "Process Group Name": "7"}
    return parse_communication("nccl:all_reduce", args(**said))


def test_of_shortened_rank_lists_the_first_and_the_last_are_known():
    said = shortened("[0, 1, ..., 9]", size=10)
    assert (said.members, said.listed) == ((), (0, 1, 9))


def test_root_of_a_group_whose_list_is_shortened_is_found_among_the_first():
    said = {"Collective name": "broadcast", "Process Group Ranks": "[4, 6, ..., 66]", "Rank": 1}
    assert parse_communication("record_param_comms", args(**said)).peer == 6


@pytest.mark.parametrize("ranks", ["[0, 1, ..., x]", "[, ..., ]", "[0, ..., 99999999999]", "..."])
def test_damaged_shortened_lists_tell_nothing(ranks):
    said = without_impossible(shortened(ranks, size=4))
    assert (said.members, said.listed) == ((), ())


def test_evenly_spaced_groups_are_completed():
    groups = map_groups({0: [shortened("[0, 2, ..., 62]", size=32)]})
    assert groups.communicator["members"].to_list() == [list(range(0, 64, 2))]


@pytest.mark.parametrize("ranks", ["[0, 1, 4, ..., 63]", "[0, 2, ..., 60]", "[2, 0, ..., 62]"])
def test_others_have_the_members_that_use_them(ranks):
    groups = map_groups({rank: [shortened(ranks, size=32)] for rank in (0, 2)})
    assert groups.communicator["members"].to_list() == [[0, 2]]


def test_groups_of_one_size_whose_lists_are_shortened_are_kept_apart():
    even, odd = (shortened(f"[{r}, {r + 2}, ..., {r + 62}]", size=32) for r in (0, 1))
    number = map_groups({0: [even], 1: [odd], 2: [even]}).number
    assert number[0, "7"] == number[2, "7"] != number[1, "7"]


def test_what_a_group_is_for_is_read_from_its_communications():
    said = {"Process Group Name": "3", "Process Group Description": "mesh_tp", "Group size": 2}
    facts = [parse_communication("nccl:all_reduce", args(**said))]
    assert map_groups({0: facts}).communicator["description"].to_list() == ["mesh_tp"]


def test_peers_of_sends_and_receives_are_read():
    sent = {"Collective name": "send", "Src Rank": 0, "Dst Rank": 4}
    assert parse_communication("record_param_comms", args(**sent)).peer == 4
    received = {"Collective name": "recv", "Src Rank": 0, "Dst Rank": 4}
    assert parse_communication("record_param_comms", args(**received)).peer == 0


def test_peers_of_old_sends_are_in_the_inputs_of_the_call():
    said = {"Concrete Inputs": ["", "", "3", "0"]}
    assert parse_communication("c10d::send", args(**said)).peer == 3
    assert parse_communication("c10d::recv_", args()).peer == -1


def test_process_local_groups_are_mapped_by_size_and_sequence_range():
    def uses(group, size, sequences):
        return [Communication(group=group, size=size, sequence=s) for s in sequences]

    groups = map_groups(
        {
            0: [*uses("0xa", 2, [7, 8]), *uses("0xb", 2, [1, 2]), *uses("0xc", 1, [5])],
            1: [*uses("0xd", 2, [1, 2]), *uses("0xe", 2, [7, 8]), *uses("0xf", 1, [5])],
        }
    )
    assert groups.number[0, "0xa"] == groups.number[1, "0xe"]
    assert groups.number[0, "0xb"] == groups.number[1, "0xd"]
    assert groups.number[0, "0xc"] != groups.number[1, "0xf"]


def test_groups_with_equal_names_and_other_members_are_different():
    facts = {
        rank: [Communication(group="1", members=members, size=2)]
        for rank, members in ((0, (0, 1)), (1, (0, 1)), (2, (2, 3)))
    }
    number = map_groups(facts).number
    assert number[0, "1"] == number[1, "1"] != number[2, "1"]


def numbered(group, first, last, *, size=4):
    return [Communication(group=group, size=size, sequence=s) for s in range(first, last + 1)]


def test_groups_of_windows_that_began_elsewhere_are_one():
    windows = {rank: numbered(f"0x{rank}", 10 + rank, 30 + rank) for rank in range(4)}
    assert set(map_groups(windows).number.values()) == {0}


def test_groups_of_one_size_are_told_apart_by_their_numbers_in_shifted_windows():
    windows = {
        rank: [
            *numbered(f"t{rank}", 100 + 3 * rank, 160 + 3 * rank),
            *numbered(f"d{rank}", 10 + rank, 30 + rank),
        ]
        for rank in range(4)
    }
    number = map_groups(windows).number
    assert {number[rank, f"t{rank}"] for rank in range(4)} == {number[0, "t0"]}
    assert {number[rank, f"d{rank}"] for rank in range(4)} == {number[0, "d0"]}
    assert number[0, "t0"] != number[0, "d0"]


def test_groups_of_which_a_rank_would_be_in_two_stay_apart():
    windows = {
        rank: [
            *numbered(f"t{rank}", 10 + rank, 40 + rank),
            *numbered(f"d{rank}", 12 + rank, 30 + rank),
        ]
        for rank in range(4)
    }
    assert len(set(map_groups(windows).number.values())) == 8


def test_stages_whose_groups_were_used_unequally_often_stay_apart():
    # 2 stages of 2 ranks: all members of each group agree
    windows = {rank: numbered(f"0x{rank}", 1, 20 + rank // 2, size=2) for rank in range(4)}
    assert len(set(map_groups(windows).number.values())) == 2
