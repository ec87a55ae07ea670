"""Reading Kineto traces: events per CPU-second and peak memory, beside HTA on the same files.

    python benchmarks/kineto_reading.py TRACE.json.gz FOLDER [--peer PYTHON]

FOLDER receives traces of 512 and 1,024 MB and 16 of 50 MB, made of TRACE's events (kineto_traces.py). PYTHON
is an interpreter with HolisticTraceAnalysis 0.5.0. Each row is a process of its own; its time is that
of all its threads, and time and peak include start and imports.
"""

import argparse
import gzip
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from kineto_traces import write_traces

OURS = """
import sys
from pathlib import Path
from loadpath.ingest.kineto import read_kineto
recording = read_kineto([Path(sys.argv[1])], shelf=Path(sys.argv[2]) if sys.argv[2] else None)
n = recording.op.height
"""
PEER = """
import logging, sys
from pathlib import Path
logging.disable(logging.CRITICAL)
from hta.common.trace import Trace
files = dict(enumerate(sorted(str(path) for path in Path(sys.argv[1]).iterdir())))
trace = Trace(trace_files=files, trace_dir=sys.argv[1])
trace.parse_traces(use_multiprocessing=False)
n = sum(len(trace.get_trace(rank)) for rank in files)
"""
SCAN = """
import sys
from pathlib import Path
from loadpath.decode import read_blocks
n = sum(len(block) for path in Path(sys.argv[1]).iterdir() for block in read_blocks(path, 1 << 20))
"""
FILES = (("one of 512 MB", 512, 1), ("one of 1,024 MB", 1024, 1), ("16 of 50 MB", 50, 16))
PEAK = """
from pathlib import Path
status = Path("/proc/self/status").read_text()
print(n, next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peer", type=Path, help="python with HolisticTraceAnalysis")
    given = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors")
    print("| files | what | wall s | CPU s | events per CPU-s | peak MB | peak per JSON |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for name, megabytes, ranks in FILES:
        folder = given.folder / f"{ranks}x{megabytes}"
        if not folder.exists():
            write_traces(given.trace, folder, megabytes, ranks)
        size, n_event = content(folder)
        shelf = given.folder / f"shelf-{time.time_ns()}"
        rows = [
            ("decompression alone", sys.executable, SCAN, folder, ""),
            ("loadpath", sys.executable, OURS, folder, ""),
            ("loadpath, kept", sys.executable, OURS, folder, shelf),
            ("loadpath, second time", sys.executable, OURS, folder, shelf),
        ]
        if given.peer:
            rows.append(("HTA", str(given.peer), PEER, folder, ""))
        for what, python, script, *words in rows:
            wall, cpu, peak = measured(python, script, *map(str, words))
            print(
                f"| {name} | {what} | {wall:.2f} | {cpu:.2f} | {n_event / cpu:,.0f} "
                f"| {peak / 1e6:,.0f} | {peak / size:.2f} |",
                flush=True,
            )


def measured(python: str, script: str, *words: str) -> tuple[float, float, float]:
    """Wall and processor seconds and peak bytes of a process."""
    before, begin = os.times(), time.perf_counter()
    done = subprocess.run(
        [python, "-c", script + PEAK, *words], capture_output=True, text=True, check=False
    )
    wall, after = time.perf_counter() - begin, os.times()
    if done.returncode:
        raise SystemExit(done.stderr)
    cpu = after[2] + after[3] - before[2] - before[3]
    return wall, cpu, 1024.0 * int(done.stdout.split()[-1])


def content(folder: Path) -> tuple[int, int]:
    """Bytes of JSON and number of events."""
    size = n_event = 0
    for path in folder.iterdir():
        with gzip.open(path) as stream:
            while block := stream.read(64 << 20) + stream.readline():
                size += len(block)
                n_event += len(re.findall(rb'"ph":', block))
    return size, n_event


if __name__ == "__main__":
    main()
