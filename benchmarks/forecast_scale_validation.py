"""Judge what is built on a step time against published figures; every row, misses included.

Usage: python benchmarks/forecast_scale_validation.py FOLDER [--out docs/validation_scale.md]
FOLDER holds data/ and tables/ (what LOADPATH_DATA names).
"""

import argparse
from pathlib import Path

from scale_validation import collectives, mlperf, noise, planted, reliability

SECTIONS = (collectives, reliability, noise, mlperf, planted)
HEAD = """\
# Validation of what is built on a step time

Made by `python benchmarks/forecast_scale_validation.py FOLDER` from published figures (tables of
measurements, recordings). Every row judged is here, misses included. "Held out" means that nothing of
the row took part in the fit that predicts it. The summary of each part says what was asked and what was
reached.
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/validation_scale.md"))
    options = parser.parse_args()
    parts = [section.judge(options.folder) for section in SECTIONS]
    options.out.write_text("\n".join([HEAD, *parts]), encoding="utf-8")


if __name__ == "__main__":
    main()
