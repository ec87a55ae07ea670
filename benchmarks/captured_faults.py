"""Does an audit of an unmodified job name what was planted? Real jobs, one window each through the agent.

    python benchmarks/captured_faults.py --torch PYTHON FOLDER --times 3

`PYTHON` has PyTorch. The job (tests/capture/training.py) knows nothing of loadpath; in each trial one rank takes
60 ms longer in an op (`rank`), pauses so long between two calls (`host`), or nothing is planted.
"""

import argparse
import os
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

from loadpath import run_audit
from loadpath.capture.agent import Capture, capture_window

JOB = Path(__file__).parents[1] / "tests" / "capture" / "training.py"
BLAMELESS = ("none", "jitter", "absorbed")
PLANTED_S = 0.06


def capture(options, folder, job):
    """Run a job, and open one window on its processes."""
    n_rank, fault, place = job
    pids = folder / "pids"
    pids.mkdir(parents=True)
    words = [options.torch, str(JOB), "--fault", fault, "--place", str(place)]
    words += ["--tensor", str(options.tensor), "--together", str(options.together)]
    words += ["--ranks", str(n_rank), "--seconds", "300", "--pids", str(pids)]
    environment = {"KINETO_USE_DAEMON": "1", "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    with (folder / "job.log").open("w") as log:
        job = subprocess.Popen(words, env=os.environ | environment, stdout=log, stderr=log)
        try:
            while len(told := [p.read_text() for p in sorted(pids.iterdir())]) < n_rank:
                time.sleep(0.2)
            wanted = Capture(folder / "out", tuple(map(int, told)), duration_s=options.seconds)
            capture_window(wanted)
        finally:
            job.terminate()
            job.wait()
    return folder / "out"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--torch", required=True, help="a Python that has PyTorch")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of the window")
    parser.add_argument("--tensor", type=int, default=1, help="ranks that share each layer")
    parser.add_argument("--together", type=int, default=1, help="steps after which all ranks meet")
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--faults", nargs="+", default=["rank", "host", "none"])
    options = parser.parse_args()
    right = Counter()
    cases = [(n, fault) for n in options.ranks for fault in options.faults]
    for k in range(options.times):
        for n_rank, fault in cases:
            folder = options.folder / f"{fault}-{n_rank}-{k}"
            shutil.rmtree(folder, ignore_errors=True)
            place = (k + 1) % n_rank
            out = capture(options, folder, (n_rank, fault, place))
            document = run_audit(out, brief=False, cache=False).document
            verdict = document["verdict"]
            is_right = (
                verdict["kind"] in BLAMELESS
                if fault == "none"
                else (verdict["kind"], verdict["ranks"]) == (fault, [place])
            )
            right[n_rank, fault] += is_right
            gain = f"{1e3 * (verdict['gain_s'] or 0):.1f} ms"
            codes = [c["code"] for c in document["caveats"] if c["code"].startswith("windows")]
            steps = document["job"]["steps"]
            print(
                k, n_rank, fault, place, verdict["kind"], verdict["ranks"], gain, steps, codes,
                is_right, flush=True,
            )  # fmt: skip
    for n_rank, fault in cases:
        print(f"{n_rank} ranks, {fault}: {right[n_rank, fault]} of {options.times}")


if __name__ == "__main__":
    main()
