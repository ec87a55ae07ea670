"""Large Kineto traces made of repeated real events: shifted in time, with correlations of their own.

python benchmarks/kineto_traces.py TRACE.json.gz OUT --megabytes 512 --ranks 1
"""

import argparse
import gzip
import json
import re
from pathlib import Path

NUMBER = re.compile(r'"(ts|correlation|External id|id)": ?([0-9]+)')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--ranks", type=int, default=1)
    given = parser.parse_args()
    write_traces(given.trace, given.out, given.megabytes, given.ranks)


def write_traces(trace: Path, folder: Path, megabytes: int, ranks: int) -> None:
    """Write a trace of so many megabytes of JSON for each rank."""
    document = json.loads(gzip.decompress(trace.read_bytes()))
    folder.mkdir(parents=True, exist_ok=True)
    events = [event for event in document["traceEvents"] if event.get("ph") in {"X", "s", "f"}]
    begin = min(event["ts"] for event in events)
    length = int(max(event["ts"] + event.get("dur", 0) for event in events) - begin) + 1
    text = ",\n  ".join(json.dumps(event, indent=2).replace("\n", "\n  ") for event in events)
    head = {key: value for key, value in document.items() if key != "traceEvents"}
    for rank in range(ranks):
        head["distributedInfo"] = {"backend": "nccl", "rank": rank, "world_size": ranks}
        with gzip.open(folder / f"rank{rank}.json.gz", "wb") as stream:
            stream.write(json.dumps(head, indent=2)[:-2].encode() + b',\n  "traceEvents": [\n  ')
            copy = written = 0
            while written < megabytes << 20:
                part = moved(text, copy, length)
                written += stream.write((b",\n  " if copy else b"") + part)
                copy += 1
            stream.write(b"\n]}\n")


def moved(text: str, copy: int, length: int) -> bytes:
    def moved_number(found: re.Match[str]) -> str:
        step = length if found[1] == "ts" else 10_000_000
        return f'"{found[1]}": {int(found[2]) + copy * step}'

    return NUMBER.sub(moved_number, text).encode()


if __name__ == "__main__":
    main()
