"""Real PyTorch jobs of two processes on this machine: recorded, captured, killed, and standing still."""

import contextlib
import gzip
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from loadpath import run_audit
from loadpath.capture.dynolog import ADDRESS

HERE = Path(__file__).parent
RECORD_HANG = HERE.parents[1] / "examples" / "record_hang.py"
PLANTED_S = 0.15
"""Much, for a crowded machine delays steps of its own accord."""
N_TRY = 3
LIMIT_S = 180

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and sockets are Linux's")


def run_training(torch_python, environment, *words):
    told = [torch_python, str(HERE / "training.py"), *map(str, words)]
    return subprocess.run(
        told, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


@contextlib.contextmanager
def training(torch_python, environment, folder, *words):
    """An unmodified job that asks for an agent; it is given its processes when all run."""
    pids, said = folder / "pids", (folder / "job.log").open("w")
    pids.mkdir()
    told = [torch_python, str(HERE / "training.py"), "--pids", str(pids), "--say", str(folder)]
    job = subprocess.Popen(
        [*told, *map(str, words)], env=environment | {"KINETO_USE_DAEMON": "1"},
        stdout=said, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield job, pids
    finally:
        job.kill()
        job.wait()
        said.close()


def wait_for(condition, seconds=LIMIT_S):
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.1)
    assert condition()


def numbers(pids, n):
    wait_for(lambda: len([p for p in pids.iterdir() if p.read_text()]) == n)
    return [int((pids / str(rank)).read_text()) for rank in range(n)]


def agent(environment, out, pids, *words):
    told = [sys.executable, "-m", "loadpath", "capture", str(out)]
    listed = ["--pids", ",".join(map(str, pids)), *map(str, words)]
    return subprocess.Popen([*told, *listed], env=environment)


def assert_slow(verdict, kind):
    assert (verdict["kind"], verdict["ranks"]) == (kind, [1])
    # other work of the machine adds to what was planted; benchmarks/demo_faults.py measures both
    assert verdict["gain_s"] == pytest.approx(PLANTED_S, rel=0.25)


def first_verdict(trial):
    """A crowded machine may leave nothing to tell, which is said; then the job runs again."""
    verdict = trial(0)
    for k in range(1, N_TRY):
        verdict = trial(k) if verdict["kind"] == "not_assessable" else verdict
    return verdict


@pytest.mark.parametrize("kind", ["rank", "host"])
def test_a_recorded_job_has_its_slow_rank_named(kind, torch_python, job_environment, tmp_path):
    def trial(k):
        out = tmp_path / f"out-{k}"
        words = ("--record", out, "--fault", kind, "--ms", 1e3 * PLANTED_S, "--steps", 34)
        done = run_training(torch_python, job_environment, *words)
        assert done.returncode == 0, done.stderr
        assert_recorded(out)
        audit = run_audit(out, brief=False, cache=False)
        assert audit.document["job"]["steps"] == 8
        return audit.verdict

    assert_slow(first_verdict(trial), kind)


def assert_recorded(out):
    """Two whole windows, both logs, and what it cost."""
    windows = sorted(path.name for path in out.glob("window-*"))
    assert windows == ["window-000000012", "window-000000024"]
    for window in windows:
        written = {path.name for path in (out / window).iterdir()}
        assert {"rank0.json.gz", "rank1.json.gz", "fr_rank0.json.gz", "fr_rank1.json.gz"} <= written
        assert not any(name.startswith(".") for name in written)
    assert len((out / "steps_rank1.log").read_text().splitlines()) == 35
    assert "recorder_ratio" in (out / "cost_rank0.toml").read_text()


def test_a_job_killed_in_a_window_leaves_the_one_before(torch_python, job_environment, tmp_path):
    def trial(k):
        out = tmp_path / f"out-{k}"
        words = ("--record", out, "--fault", "rank", "--ms", 1e3 * PLANTED_S, "--kill-at", 28)
        assert run_training(torch_python, job_environment, *words).returncode != 0
        traces = sorted(str(path.relative_to(out)) for path in out.rglob("*.json.gz"))
        assert [name for name in traces if "/rank" in name] == [
            f"window-000000012/rank{rank}.json.gz" for rank in range(2)
        ]
        for name in traces:
            json.loads(gzip.decompress((out / name).read_bytes()))
        return run_audit(out, brief=False, cache=False).verdict

    assert_slow(first_verdict(trial), "rank")


@pytest.mark.usefixtures("the_socket_is_ours")
def test_an_unmodified_job_has_its_slow_rank_named(torch_python, job_environment, tmp_path):
    words = ("--fault", "rank", "--ms", 1e3 * PLANTED_S, "--seconds", 240)

    def trial(k):
        out = tmp_path / f"out-{k}"
        capturing = agent(job_environment, out, ranks, "--duration", 4)
        assert capturing.wait(LIMIT_S) == 0
        assert job.poll() is None
        audit = run_audit(out, brief=False, cache=False)
        assert audit.document["job"]["steps"] > 5
        return audit.verdict

    with training(torch_python, job_environment, tmp_path, *words) as (job, pids):
        ranks = numbers(pids, 2)
        assert_slow(first_verdict(trial), "rank")


@pytest.mark.usefixtures("the_socket_is_ours")
def test_no_agent_stops_a_job(torch_python, job_environment, tmp_path):
    with training(torch_python, job_environment, tmp_path, "--seconds", 45) as (job, pids):
        ranks = numbers(pids, 2)
        stopped = agent(job_environment, tmp_path / "stopped", ranks)
        time.sleep(3)
        stopped.send_signal(signal.SIGSTOP)
        flood(5)
        stopped.kill()
        stopped.wait()
        # ended after it told the job what to record: the folder for the traces is gone by then
        ended = agent(job_environment, tmp_path / "ended", ranks, "--delay", 12, "--duration", 1)
        time.sleep(13)
        ended.send_signal(signal.SIGINT)
        assert ended.wait(LIMIT_S) != 0
        assert job.wait(LIMIT_S) == 0, (tmp_path / "job.log").read_text()
    steps = [json.loads((tmp_path / f"said_{rank}.json").read_text()) for rank in range(2)]
    assert steps[0]["steps"] == steps[1]["steps"]


def flood(seconds):
    """Ask a stopped agent more than its socket holds."""
    over = threading.Timer(seconds, lambda: None)
    over.start()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as noise:
        while over.is_alive():
            with contextlib.suppress(OSError):
                noise.sendto(b"noise" * 20, socket.MSG_DONTWAIT, ADDRESS)
            time.sleep(0.001)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("stopped", "missing"), ("order", "different_collective"), ("size", "different_size")],
)
def test_a_job_that_stands_still_is_told_from_its_dumps(
    fault, reason, torch_python, job_environment, tmp_path
):
    out = tmp_path / "out"
    words = [torch_python, str(RECORD_HANG), str(out), "--fault", fault, "--after", "2"]
    subprocess.run(words, env=job_environment, capture_output=True, timeout=LIMIT_S, check=True)
    verdict = run_audit(out, brief=False, cache=False).verdict
    (stop,) = verdict["communicators"]
    assert (verdict["kind"], verdict["ranks"], verdict["reason"]) == ("hang", [2], reason)
    assert (stop["collective"], stop["sequence"]) == ("all_reduce", 6)
    assert stop["waiting_ranks"] == [0, 1, 3]
