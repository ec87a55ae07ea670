import json

import polars as pl
import pytest

from loadpath.audit import run_audit
from loadpath.audit.simulation import simulate
from loadpath.errors import InputError, StructureError, UsageError
from loadpath.testing.schedules import dissemination, stencil
from loadpath.units import format_seconds

DEADLOCK = """num_ranks 2
rank 0 {
a: recv 8b from 1
b: send 8b to 1
b requires a
}
rank 1 {
a: recv 8b from 0
b: send 8b to 0
b requires a
}
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="job.goal"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_rank_that_computes_longer_is_the_verdict(write):
    done = run_audit(write(stencil(8, 30, 100_000, slow={3: 1.4}, jitter=0.02)))
    assert (done.verdict["kind"], done.verdict["ranks"]) == ("rank", [3])
    step = done.verdict["step_s"]
    even = run_audit(write(stencil(8, 30, 100_000, jitter=0.02), "even.goal"))
    # the service order is that of the slow job: the gain falls short of that of the schedule without
    assert done.verdict["gain_s"] == pytest.approx(step - even.verdict["step_s"], rel=0.25)


def test_what_the_job_would_take_without_the_cause_is_simulated_too(write):
    slow = write(stencil(8, 30, 100_000, slow={3: 1.4}))
    even = write(stencil(8, 30, 100_000), "even.goal")
    said = {row["code"]: row["text"] for row in run_audit(slow).document["caveats"]}
    # the slow rank made like its peers is the same schedule as the even one
    assert (
        f"the job takes {format_seconds(simulate(even)['makespan_ns'] / 1e9)};"
        in said["simulated_without"]
    )


def test_schedule_of_equal_ranks_blames_nobody(write):
    assert run_audit(write(dissemination(16, 8))).verdict["kind"] == "none"


def test_what_messages_take_of_processors_and_of_the_wire_are_told_apart(write):
    done = run_audit(write(dissemination(16, 1)))
    found = done.document["limitation"]
    shares = {name: entry["value"] for name, entry in found["elasticity"].items()}
    # 4 rounds of 2 o + L = 2 x 1500 + 2500 ns
    assert shares["overhead"] == pytest.approx(12000 / 22000)
    assert shares["interconnect"] == pytest.approx(10000 / 22000)
    assert set(shares) == {"overhead", "interconnect", "lag"}
    assert found["bound"] == "overhead"
    classes = done.table("limitation").filter(resource="interconnect")
    assert dict(classes.select("limit", "elasticity_ratio").iter_rows())[
        "latency"
    ] == pytest.approx(10000 / 22000)
    times = done.document["job"]["rank_time_s"]
    assert times["overhead"] == pytest.approx(12e-6)
    assert times["transfer"] == pytest.approx(10e-6)
    overlap = done.table("policy").filter(policy="overlap")
    assert overlap["step_s"][0] == pytest.approx(12e-6)


def test_a_gap_that_holds_messages_up_is_a_class_of_its_own(write):
    text = "num_ranks 2\nrank 0 {\n" + "send 1b to 1\n" * 9 + "}\nrank 1 {\n"
    done = run_audit(write(text + "recv 1b from 0\n" * 9 + "}\n"), loggops="g=50000")
    table = done.table("limitation").filter(phase="all")
    shares = dict(
        table.filter(pl.col("limit") != "all").select("limit", "elasticity_ratio").iter_rows()
    )
    assert shares["gap"] == pytest.approx(8 * 50000 / (8 * 50000 + 2 * 1500 + 2500), rel=0.01)
    assert done.document["limitation"]["bound"] == "interconnect"


def test_where_nobody_computes_efficiency_has_a_reason_for_what_is_empty(write):
    found = run_audit(write(dissemination(8, 8))).document["efficiency"]
    assert found["parallel_efficiency"]["value"] == 0
    assert found["load_balance"]["value"] is None
    assert found["serialisation"]["value"] is None
    assert found["product_error_ratio"] is None
    assert (
        "load balance, serialisation, product error not assessed: nobody computes" in found["basis"]
    )


def test_figures_of_stability_that_are_empty_say_why(write):
    section = run_audit(write(dissemination(8, 8))).document["stability"]
    assert section["knee"]["launches"]["basis"] == "not assessed: the recording has none of it"
    empty = {name for name, value in section["reserve"]["value"].items() if value is None}
    assert empty == set(section["reserve"]["reason"])
    assert empty >= {"arrival", "post"}


def test_a_slow_one_of_two_ranks_is_named_where_iterations_repeat(write):
    rows = {0: ("recv 8b from 1", "send 8b to 1"), 1: ("send 8b to 0", "recv 8b from 0")}
    text = "num_ranks 2\n"
    for rank, (first, second) in rows.items():
        text += f"rank {rank} {{\n"
        for k in range(5):
            text += f"c{k}: calc {130_000 if rank else 100_000}\n"
            text += f"c{k} requires b{k - 1}\n" if k else ""
            text += f"a{k}: {first} tag {k}\na{k} requires c{k}\n"
            text += f"b{k}: {second} tag {k}\nb{k} requires a{k}\n"
        text += "}\n"
    done = run_audit(write(text))
    assert (done.verdict["kind"], done.verdict["ranks"]) == ("rank", [1])
    assert done.verdict["gain_s"] == pytest.approx(30e-6, rel=0.01)
    assert done.document["stability"]["n_steps"] == 5


def test_audit_of_a_schedule_says_that_its_figures_are_modelled(write):
    done = run_audit(write(dissemination(8, 8)), loggops="L=1000,o=200")
    assert done.document["record"]["basis"] == "modelled"
    assert '"basis": "replayed' not in json.dumps(done.document)
    said = {row["code"]: row["text"] for row in done.document["caveats"]}
    assert "L=1000, o=200, g=1000" in said["simulated"]
    assert "--loggops L=1000,o=200" in done.document["command"]
    assert done.document["replay"]["error_ratio_max"] == 0


def test_noise_of_a_schedule_is_found_as_noise(write):
    path = write(stencil(8, 40, 100_000))
    quiet, noisy = run_audit(path), run_audit(path, noise="exponential:200000,20000")
    assert quiet.verdict["kind"] == "none"
    assert (noisy.verdict["kind"], noisy.verdict["mechanism"]) == ("jitter", "noise")


def test_noise_is_the_same_for_a_seed(write):
    path = write(stencil(4, 10, 100_000))

    def step(seed):
        return run_audit(path, noise="exponential:200000,20000", seed=seed).verdict["step_s"]

    assert step(1) == step(1)
    assert step(1) != step(2)


def test_file_of_noise_is_among_the_inputs_and_named_without_its_folder(write, tmp_path):
    noise = tmp_path / "noise.txt"
    noise.write_text("# begin length\n0 5\n1000 7\n")
    done = run_audit(write(dissemination(8, 8)), noise=f"trace:{noise}")
    assert [item["path_name"] for item in done.document["inputs"]] == ["job.goal", "noise.txt"]
    assert "--noise trace:noise.txt" in done.document["command"]
    assert str(tmp_path) not in json.dumps(done.document)


def test_schedule_that_stalls_is_refused_with_what_waits_for_what(write):
    with pytest.raises(
        StructureError, match=r"4 ops would never run: recv 8b from 1 .* waits for send"
    ):
        run_audit(write(DEADLOCK))


def test_schedule_beside_other_records_is_refused(write, tmp_path):
    write(dissemination(4, 8))
    write(dissemination(4, 8), "other.goal")
    with pytest.raises(InputError, match="a schedule and other records"):
        run_audit(tmp_path)


def test_schedule_in_a_folder_is_found(write, tmp_path):
    write(dissemination(4, 8))
    assert run_audit(tmp_path).document["record"]["source"] == "goal"


def test_hosts_of_a_schedule_are_named(write, tmp_path):
    hosts = tmp_path / "hosts.csv"
    hosts.write_text("rank,host\n0,a\n1,a\n2,b\n3,b\n")
    done = run_audit(write(dissemination(4, 8)), hosts=hosts)
    assert done.table("rank")["host"].to_list() == ["a", "a", "b", "b"]


@pytest.mark.parametrize(
    "noise", ["loud", "exponential:5", "exponential:0,5", "lengths:5", "trace:"]
)
def test_noise_that_is_none_is_refused(write, noise):
    with pytest.raises((UsageError, InputError)):
        run_audit(write(dissemination(4, 8)), noise=noise)
