import json

import pytest
from tests.end_to_end.commands import call, run

from loadpath.testing.schedules import dissemination, stencil

TINY = """num_ranks 2
rank 0 {
a: calc 1000
b: send 11b to 1 tag 7
c: calc 500
b requires a
c requires b
}
rank 1 {
a: recv 11b from 0 tag 7
b: calc 300
b requires a
}
"""
STALLED = "num_ranks 1\nrank 0 {\na: recv 8b from 0\nb: calc 5\nb requires a\n}\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tiny.goal").write_text(TINY)
    (tmp_path / "stalled.goal").write_text(STALLED)
    (tmp_path / "stencil.goal").write_text(stencil(8, 10, 10_000))
    return tmp_path


def simulated(*words, folder):
    answer = call("simulate", *words, "--json", folder=folder)
    return answer.code, json.loads(answer.out)


def test_json_holds_times_of_all_ranks_and_what_ran(folder):
    code, told = simulated("tiny.goal", folder=folder)
    assert code == 0
    assert (told["finish_ns"], told["makespan_ns"]) == ([3000, 6860], 6860)
    assert (told["ops_run"], told["ops_never_run"], told["events"]) == (5, 0, 6)
    assert (told["basis"], told["stalled"]) == ("modelled", [])
    assert list(told) == sorted(told)


def test_all_costs_are_options(folder):
    words = ("--L", "100", "--o", "10", "--g", "5", "--G", "0.5", "--O", "0.25", "--S", "4")
    _, told = simulated("tiny.goal", *words, folder=folder)
    assert told["loggops"] == {"L": 100, "o": 10, "g": 5, "G": 0.5, "O": 0.25, "S": 4}
    # sent at 1000, there at 1110; 10 bytes at half a ns
    assert told["finish_ns"] == [1110 + 500, 1110 + 10 + 5 + 300]


def test_text_names_the_times(folder):
    answer = call("simulate", "tiny.goal", folder=folder)
    assert answer.out.splitlines() == [
        "makespan       6.86 us  (6,860 ns, modelled)",
        "ranks          2; the first ends after 3,000 ns",
        "ops            5 ran, 0 never ran",
        "rank 0         3,000 ns",
        "rank 1         6,860 ns",
    ]


def test_ops_that_never_ran_are_told_and_end_the_command_with_3(folder):
    code, told = simulated("stalled.goal", folder=folder)
    assert code == 3
    assert (told["ops_run"], told["ops_never_run"]) == (0, 2)
    assert told["stalled"] == [
        "recv 8b from 0 tag 0 (rank 0, line 3) waits for a send that no rank has"
    ]


def test_messages_without_a_receive_are_counted(folder):
    (folder / "lost.goal").write_text("num_ranks 2\nrank 0 {\nsend 8b to 1\n}\nrank 1 {\n}\n")
    code, told = simulated("lost.goal", folder=folder)
    assert (code, told["messages_not_received"]) == (0, 1)


def test_the_same_seed_gives_the_same_bytes_in_other_processes(folder):
    words = (
        "simulate",
        "stencil.goal",
        "--noise",
        "exponential:20000,3000",
        "--replicas",
        "5",
        "--json",
    )
    first, second = (
        run(*words, "--seed", "4", folder=folder, PYTHONHASHSEED=seed) for seed in ("1", "2")
    )
    assert first == second
    assert run(*words, "--seed", "5", folder=folder).out != first.out


def test_replicas_give_quantiles(folder):
    words = ("stencil.goal", "--noise", "exponential:20000,3000", "--replicas", "20")
    _, told = simulated(*words, folder=folder)
    shown = told["replicas"]["makespan_ns"]
    assert told["replicas"]["n"] == 20
    assert shown["p05"] < shown["p50"] < shown["p95"]
    _, quiet = simulated("stencil.goal", folder=folder)
    assert shown["p05"] > quiet["makespan_ns"] == told["quiet_makespan_ns"]


def test_text_says_what_noise_adds(folder):
    (folder / "one.goal").write_text("num_ranks 1\nrank 0 {\ncalc 10290\n}\n")
    (folder / "trace.txt").write_text("0 1029\n19551 1029\n")
    words = ("simulate", "one.goal", "--noise", "together:trace.txt", "--json")
    told = json.loads(run(*words, folder=folder).out)
    answer = call("simulate", "one.goal", "--noise", "together:trace.txt", folder=folder).out
    added = told["finish_ns"][0] / 10290 - 1
    assert f"noise          adds {added:.1%} to 10,290 ns without it" in answer


def test_traces_and_lengths_of_noise_are_read(folder):
    (folder / "trace.txt").write_text("# begin length, ns\n0.4\t500\n\n5000 500\n")
    (folder / "lengths.txt").write_text("500\n")
    _, quiet = simulated("stencil.goal", folder=folder)
    for noise in ("trace:trace.txt", "together:trace.txt", "lengths:lengths.txt,5000"):
        _, told = simulated("stencil.goal", "--noise", noise, folder=folder)
        assert told["makespan_ns"] > quiet["makespan_ns"], noise
        assert len(told["inputs"]) == 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["none.goal"], 4, "none.goal"),
        (["tiny.goal", "--L", "-5"], 2, "L -5 is not between"),
        (["tiny.goal", "--noise", "loud"], 2, "noise 'loud' is none of"),
        (["tiny.goal", "--noise", "exponential:5,x"], 2, "'x' is no time in ns"),
        (["tiny.goal", "--replicas", "0"], 2, "replicas are 1 to 100000"),
        (["tiny.goal", "--replicas", "9"], 2, "replicas differ by their noise alone"),
        (["bad.goal"], 4, "bad.goal, line 3: rank '7' is not among the 1 ranks"),
        (["tiny.goal", "--noise", "trace:bad.txt"], 4, "bad.txt, line 2: 2 numbers"),
        (["tiny.goal", "--noise", "trace:empty.txt"], 4, "empty.txt: holds no noise"),
    ],
)
def test_a_wrong_call_or_file_is_one_line(folder, words, code, said):
    (folder / "bad.goal").write_text("num_ranks 1\nrank 0 {\nsend 5b to 7\n}\n")
    (folder / "bad.txt").write_text("1 2\n3 nan\n")
    (folder / "empty.txt").write_text("# nothing\n")
    answer = call("simulate", *words, folder=folder)
    assert (answer.code, answer.out) == (code, "")
    assert said in answer.err
    assert answer.err.count("\n") == 1


def test_large_schedules_are_told_without_each_rank(folder):
    (folder / "large.goal").write_text(dissemination(64, 8))
    answer = call("simulate", "large.goal", folder=folder)
    assert len(answer.out.splitlines()) == 3
