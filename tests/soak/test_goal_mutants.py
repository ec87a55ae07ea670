"""Schedules whose counts, places and sizes lie: one typed error, or a simulation in little memory."""

import gzip
import json
import struct
import subprocess
import sys
from collections import Counter

import pytest
from tests.ingest.goal.binary_form import binary

from loadpath.ingest.goal.text import read_text
from loadpath.testing.schedules import stencil

EXTREMES = {
    "B": (1, 127, 255),
    "b": (0, 4, -1),
    "I": (0, 1, 7, (1 << 16) - 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1),
    "Q": (0, 1, 1 << 20, 1 << 31, (1 << 62) - 1, 1 << 63, (1 << 64) - 1),
}
"""Values that a count, place or size is set to, by its format."""
NODE = "IbIQIBBIIII"
SIMULATE = """
import json, resource, sys, time
from pathlib import Path
from loadpath.audit.simulation import simulate
from loadpath.errors import LoadpathError

paths = [Path(line) for line in sys.stdin.read().splitlines()]
simulate(paths[0])
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
for path in paths:
    begin, answer, said = time.process_time(), "simulated", ""
    try:
        simulate(path)
    except LoadpathError as error:
        answer, said = type(error).__name__, str(error)
    print(json.dumps([path.name, answer, said, time.process_time() - begin]))
# not ru_maxrss: that of a new process begins with its parent's
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
print(int(peak.split()[1]) * 1024)
"""
MOST_SECONDS, MOST_BYTES = 5.0, 1 << 30
SOUND = stencil(3, 2, 500).encode()


def simulated(folder, files):
    """Simulate each file in one process, which may take a GiB; returns how many ended how."""
    folder.mkdir(exist_ok=True)
    (folder / "sound.goal").write_bytes(SOUND)
    paths = [folder / "sound.goal"]
    for name, content in files:
        paths.append(folder / name)
        paths[-1].write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", SIMULATE],
        input="\n".join(map(str, paths)),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *answers, peak_bytes = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(paths)
    assert peak_bytes < MOST_BYTES, peak_bytes
    for name, _, said, seconds in answers:
        assert seconds < MOST_SECONDS, (name, seconds)
        assert not said or name in said, said
    return Counter(answer for _, answer, _, _ in answers[1:])


def fields(content):
    """Places and formats of the numbers of a binary schedule: head, parts, and ops of the first rank."""
    n_rank = struct.unpack_from("<I", content, 8)[0]
    found = [(8, "I"), (12, "B"), (13, "B")]
    found += [(14 + 8 * k, "Q") for k in range(2 * n_rank)]
    part = struct.unpack_from("<Q", content, 14)[0] + 8
    n_op, n_free = struct.unpack_from("<II", content, part)
    found += [(part + 4 * k, "I") for k in range(2 + n_free)]
    at = part + 8 + 4 * n_free
    for _ in range(n_op):
        for form in NODE:
            found.append((at, form))
            at += struct.calcsize(f"<{form}")
    return found


def lies(content):
    """Each number of a binary schedule set to each extreme."""
    for place, form in fields(content):
        for value in EXTREMES[form]:
            changed = bytearray(content)
            struct.pack_into(f"<{form}", changed, place, value)
            yield f"at{place}-{value}.goal", bytes(changed)


def test_some_lying_numbers_are_survived(tmp_path):
    told = list(lies(binary(read_text("a", SOUND))))[::23]
    answers = simulated(tmp_path, told)
    assert set(answers) <= {"simulated", "InputError"}
    assert answers["InputError"] > 0


@pytest.mark.soak
def test_each_lying_number_of_a_binary_schedule_is_survived(tmp_path):
    answers = simulated(tmp_path, lies(binary(read_text("a", SOUND))))
    assert set(answers) <= {"simulated", "InputError"}
    assert answers.total() > 500


def shared_part():
    """Three thousand ranks of which each claims the same 20,000 ops."""
    n_op, n_rank = 20_000, 3000
    op = struct.pack(f"<{NODE}", 0, 3, 0, 5, 0, 0, 0, 0, 0, 0, 0)
    part = struct.pack("<II", n_op, n_op) + struct.pack(f"<{n_op}I", *range(n_op)) + op * n_op
    begin = 6 + 16 * n_rank
    place = struct.pack("<QQ", begin, begin + len(part))
    return struct.pack("<QIBB", 4223, n_rank, 0, 0) + place * n_rank + part


def many_ports():
    """Three thousand ranks, and each number of processor and interface used somewhere."""
    ranks = (
        f"rank {r} {{\nsend 1b to 0 cpu {r % 256} nic {r // 7 % 256}\n}}\n" for r in range(3000)
    )
    return f"num_ranks 3000\n{''.join(ranks)}".encode()


def from_anybody(n=200_000):
    """Receives from anybody that no message is meant for, and as many messages meant for others."""
    sends = "".join(f"s{i}: send 8b to 1 tag 0\n" for i in range(n))
    receives = "".join(f"r{i}: recv 8b from -1 tag {1 - i % 2}\n" for i in range(2 * n))
    return f"num_ranks 2\nrank 0 {{\n{sends}}}\nrank 1 {{\n{receives}}}\n".encode()


@pytest.mark.soak
@pytest.mark.parametrize(
    ("name", "content", "answer"),
    [
        ("newlines.goal.gz", lambda: gzip.compress(SOUND + b"\n" * (1 << 28), 1), "simulated"),
        ("braces.goal.gz", lambda: gzip.compress(SOUND + b"{" * (1 << 28), 1), "InputError"),
        ("colons.goal.gz", lambda: gzip.compress(SOUND + b":\n" * (1 << 27), 1), "InputError"),
        ("label.goal", lambda: SOUND[:-2] + b"a" * (1 << 26) + b": calc 1\n}\n", "simulated"),
        ("ranks.goal", lambda: b"num_ranks 4294967295\nrank 0 {\n}\n", "InputError"),
        ("shared.goal", shared_part, "InputError"),
        ("ports.goal", many_ports, "InputError"),
        ("anybody.goal", from_anybody, "simulated"),
        ("binary.goal.gz", lambda: gzip.compress(shared_part() + bytes(1 << 28), 1), "InputError"),
    ],
)
def test_bombs_are_defused(tmp_path, name, content, answer):
    assert simulated(tmp_path, [(name, content())]) == Counter([answer])
