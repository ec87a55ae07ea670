"""Is the demonstration right? Real jobs with each fault, the verdict beside what was planted.

python benchmarks/demo_faults.py --torch PYTHON FOLDER --times 20
"""

import argparse
import shutil
from collections import defaultdict
from pathlib import Path

from loadpath.audit.demo import FAULTS, agrees, run_demo


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--torch", default="", help="a Python that has PyTorch")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS))
    options = parser.parse_args()
    right, off = defaultdict(int), defaultdict(list)
    for k in range(options.times):
        for fault in options.faults:
            out = options.folder / f"{fault}-{k}"
            shutil.rmtree(out, ignore_errors=True)
            place = k % options.ranks
            shown = run_demo(out, fault, ranks=options.ranks, place=place, python=options.torch)
            verdict, truth = shown.audit.verdict, shown.truth
            right[fault] += agrees(shown)
            said = f"{verdict['kind']} {verdict['link'] or verdict['ranks']}"
            if fault != "none":
                off[fault].append((verdict["gain_s"] or 0) / truth["lost_s"] - 1)
                said += f" {100 * off[fault][-1]:+.1f} % of {1e3 * truth['lost_s']:.1f} ms"
            print(f"{k} {fault} {truth['ranks']}: {said}, {agrees(shown)}", flush=True)
    for fault in options.faults:
        worst = max(map(abs, off[fault]), default=0.0)
        print(f"{fault}: right {right[fault]} of {options.times}, at most {100 * worst:.1f} % off")


if __name__ == "__main__":
    main()
