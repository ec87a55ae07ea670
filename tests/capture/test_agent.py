"""The agent, asked over its socket as Kineto asks; one test at a time can have the socket."""

import contextlib
import fcntl
import gzip
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from loadpath.capture import agent
from loadpath.capture.agent import Capture, capture_window
from loadpath.capture.dynolog import ADDRESS
from loadpath.errors import UsageError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")
HEAD = struct.Struct("=Q32s")


class Process(threading.Thread):
    """Asks as a process with Kineto does, and writes what it is told to."""

    def __init__(self, pid, *, ancestors=(), job=0, deaf=False):
        super().__init__(daemon=True)
        self.pid, self.ancestors, self.job, self.deaf = pid, ancestors, job, deaf
        self.configs, self.n_asked, self.longest_s, self.is_over = [], 0, 0.0, False
        self.start()

    def run(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
            asking.bind(f"\0dynoconfigclient{os.getpid()}-{self.pid}-{id(self)}\0")
            asking.settimeout(0.1)
            while not self.is_over:
                begin = time.monotonic()
                pids = (self.pid, *self.ancestors)
                body = struct.pack(f"=iiq{len(pids)}i", 3, len(pids), self.job, *pids)
                with contextlib.suppress(OSError):
                    asking.sendto(HEAD.pack(len(body), b"req") + body, socket.MSG_DONTWAIT, ADDRESS)
                    self.n_asked += 1
                    if not self.deaf:
                        self.take(asking.recv(4096)[HEAD.size :].decode())
                self.longest_s = max(self.longest_s, time.monotonic() - begin)
                time.sleep(0.05)

    def take(self, config):
        found = re.search(r"ACTIVITIES_LOG_FILE=(.*)\.json", config)
        if found:
            self.configs.append(config)
            Path(f"{found[1]}_{self.pid}.json").write_text(
                json.dumps({"traceEvents": [{"ph": "X", "pid": self.pid}]})
            )


@pytest.fixture(autouse=True)
def the_socket_is_ours():
    """Tests that run side by side take turns."""
    with (Path(tempfile.gettempdir()) / "loadpath-tests-dynolog").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def processes():
    started = []

    def start(*args, **options):
        started.append(Process(*args, **options))
        return started[-1]

    yield start
    for process in started:
        process.is_over = True
        process.join()


def wanted(folder, **options):
    times = {"duration_s": 0.1, "delay_s": 0.6, "patience_s": 10.0}
    return Capture(folder / "out", **times | options)


def pid_in(trace):
    return json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"][0]["pid"]


def test_all_processes_get_one_window_and_their_traces_the_names_of_ranks(processes, tmp_path):
    asking = [processes(70_001), processes(70_002)]
    folder, heard = capture_window(wanted(tmp_path, pids=(70_002, 70_001)))
    assert {trace.name: pid_in(trace) for trace in folder.iterdir()} == {
        "rank0.json.gz": 70_002,
        "rank1.json.gz": 70_001,
    }
    assert heard.told == {70_001, 70_002}
    starts = {re.search(r"START_TIME=(\d+)", p.configs[0])[1] for p in asking}  # type: ignore[index]
    assert len(starts) == 1
    assert [len(p.configs) for p in asking] == [1, 1]
    assert oct(folder.stat().st_mode)[-3:] == "700"


def test_of_a_job_those_that_ask_are_taken_but_not_what_started_them(
    processes, tmp_path, monkeypatch
):
    monkeypatch.setattr(agent, "SETTLED_S", 0.5)
    for pid, ancestors, job in ((70_003, (), 5), (70_004, (70_003,), 5), (70_005, (), 6)):
        processes(pid, ancestors=ancestors, job=job)
    folder, _ = capture_window(wanted(tmp_path, job=5))
    assert [pid_in(trace) for trace in folder.iterdir()] == [70_004]


def test_processes_that_do_not_ask_are_named(processes, tmp_path):
    processes(70_006)
    with pytest.raises(UsageError, match=r"1 of 2 processes asked within 1 s; 70007 did not"):
        capture_window(wanted(tmp_path, pids=(70_006, 70_007), patience_s=1.0))


def test_a_process_that_writes_nothing_is_named_and_others_are_kept(processes, tmp_path):
    processes(70_008)
    processes(70_009, deaf=True)
    with pytest.raises(UsageError, match=r"no whole trace of processes 70009 \(rank 1\)"):
        capture_window(wanted(tmp_path, pids=(70_008, 70_009), patience_s=2.0))
    assert [trace.name for trace in (tmp_path / "out").rglob("*.gz")] == ["rank0.json.gz"]


def test_noise_on_the_socket_is_counted_and_changes_nothing(processes, tmp_path):
    processes(70_010)
    over = threading.Event()

    def flood():
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as noise:
            while not over.is_set():
                with contextlib.suppress(OSError):
                    noise.sendto(b"noise" * 20, socket.MSG_DONTWAIT, ADDRESS)
                time.sleep(0.001)

    threading.Thread(target=flood, daemon=True).start()
    try:
        folder, heard = capture_window(wanted(tmp_path, pids=(70_010,)))
    finally:
        over.set()
    assert [trace.name for trace in folder.iterdir()] == ["rank0.json.gz"]
    assert heard.n_malformed > 10


def test_other_users_are_not_answered(processes, tmp_path, monkeypatch):
    monkeypatch.setattr(agent, "_user", lambda _notes: 12_345)
    process = processes(70_011)
    with pytest.raises(UsageError, match="0 of 1 processes asked"):
        capture_window(wanted(tmp_path, pids=(70_011,), patience_s=1.0))
    assert process.configs == []


def test_a_second_agent_says_that_there_is_one(tmp_path):
    with (
        agent._socket(),
        pytest.raises(UsageError, match=r"Another agent \(dynolog\) runs"),
    ):
        capture_window(wanted(tmp_path, pids=(1,)))


def test_whoever_asks_a_stopped_or_killed_agent_is_not_held_up(processes, tmp_path):
    program = (
        "import sys; from pathlib import Path; from loadpath.capture.agent import *; "
        "capture_window(Capture(Path(sys.argv[1]), pids=(70_012, 70_013)))"
    )
    path = os.pathsep.join([str(Path(agent.__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    running = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "out")],
        env=os.environ | {"PYTHONPATH": path},
    )
    process = processes(70_012)
    until = time.monotonic() + 30
    while process.n_asked < 3 and time.monotonic() < until:
        time.sleep(0.05)
    running.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    process.longest_s = 0.0
    before = process.n_asked
    time.sleep(1.5)
    assert process.n_asked > before
    running.kill()
    running.wait()
    time.sleep(0.5)
    assert process.longest_s < 1.0
