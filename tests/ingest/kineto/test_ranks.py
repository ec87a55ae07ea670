import pytest

from loadpath.audit.ranks import told_ranks
from loadpath.errors import InputError, UsageError
from loadpath.ingest.kineto import read_kineto


def call(event, rank, **said):
    return event("record_param_comms", "cpu_op", 0, 5, **{
        "Collective name": "allreduce", "Process Group Ranks": "[4, 6]", "Group size": 2,
        "Process Group Name": "0", "Rank": rank, **said,
    })  # fmt: skip


def ranks(paths, **told):
    return read_kineto(paths, ranks=told.get("told")).rank["rank"].to_list()


def test_rank_told_by_the_user_comes_first(write, event):
    path = write("rank3.json", [event("f", "cpu_op", 0, 5)], distributedInfo={"rank": 2})
    assert ranks([path], told={"rank3.json": 9}) == [9]


def test_rank_told_against_what_the_trace_says_is_a_caveat(write, event):
    path = write("rank3.json", [event("f", "cpu_op", 0, 5)], distributedInfo={"rank": 2})
    caveat = read_kineto([path], ranks={"rank3.json": 9}).caveat
    said = dict(caveat.select("code", "text").iter_rows()).get("told_otherwise", "")
    assert said == "ranks told by --ranks contradict distributedInfo: rank3.json says 2, told 9"
    agreed = read_kineto([path], ranks={"rank3.json": 2}).caveat
    assert "told_otherwise" not in agreed["code"]


def test_two_files_of_one_name_are_named_with_their_folders(tmp_path, write, event):
    path = write("rank0.json", [event("f", "cpu_op", 0, 5)])
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "rank0.json"
    other.write_bytes(path.read_bytes())
    with pytest.raises(InputError) as refused:
        read_kineto([path, other])
    assert refused.value.problems == [f"rank 0 is in {path} and in {other}"]


def test_rank_comes_from_communications_before_the_name(write, event):
    assert ranks([write("rank3.json", [call(event, 1)])]) == [6]


def test_root_of_a_broadcast_is_not_taken_for_the_rank(write, event):
    spans = [call(event, 0, **{"Collective name": "broadcast"})]
    assert ranks([write("rank3.json", spans)]) == [3]


def test_communications_that_disagree_on_the_rank_do_not_tell_it(write, event):
    assert ranks([write("rank3.json", [call(event, 1), call(event, 0)])]) == [3]


def test_rank_of_a_file_that_is_not_there_is_refused(write, event):
    path = write("rank3.json", [event("f", "cpu_op", 0, 5)])
    with pytest.raises(InputError, match=r"--ranks: no file 'a\.json'"):
        read_kineto([path], ranks={"a.json": 1})


def test_two_files_of_one_told_rank_are_refused(write, event):
    paths = [write(f"{n}.json", [event("f", "cpu_op", 0, 5)]) for n in "ab"]
    with pytest.raises(InputError, match=r"rank 1 is in a\.json and in b\.json"):
        read_kineto(paths, ranks={"a.json": 1, "b.json": 1})


def test_ranks_are_told_by_a_table(tmp_path):
    path = tmp_path / "ranks.csv"
    path.write_text("File, Rank\nx/a.json, 0\nb.json,1\n")
    assert told_ranks([str(path)]) == {"a.json": 0, "b.json": 1}


@pytest.mark.parametrize("text", ["a.json=x", "a.json=-1", "a.json=", "a.json=1.5"])
def test_rank_that_is_no_number_is_a_wrong_call(text):
    with pytest.raises(UsageError, match=r"--ranks: rank .* of a\.json"):
        told_ranks([text])


def test_file_with_two_ranks_is_a_wrong_call():
    with pytest.raises(UsageError, match=r"a\.json has two ranks"):
        told_ranks(["a.json=1", "b/a.json=2"])


@pytest.mark.parametrize("text", ["file\na\n", "", "rank,file\n\xff"])
def test_table_of_ranks_that_cannot_be_used_is_refused(tmp_path, text):
    path = tmp_path / "ranks.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises((InputError, UsageError), match="ranks"):
        told_ranks([str(path)])


def test_table_of_ranks_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv: cannot be read"):
        told_ranks([str(tmp_path / "none.csv")])
