"""Exports of Nsight Systems made from traces of `loadpath.testing`, in the schema of two ages."""

import gzip
import json
import sqlite3

TABLES = {
    "StringIds": "id INTEGER, value TEXT",
    "TARGET_INFO_SESSION_START_TIME": "utcEpochNs INTEGER, utcTime TEXT, localTime TEXT",
    "TARGET_INFO_SYSTEM_ENV": "globalVid INTEGER, devStateName TEXT, name TEXT, value TEXT",
    "TARGET_INFO_GPU": "vmId INTEGER, name TEXT",
    "CUPTI_ACTIVITY_KIND_RUNTIME": "start INTEGER, end INTEGER, eventClass INTEGER, globalTid INTEGER,"
    " correlationId INTEGER, nameId INTEGER, returnValue INTEGER",
    "CUPTI_ACTIVITY_KIND_KERNEL": "start INTEGER, end INTEGER, deviceId INTEGER, contextId INTEGER,"
    " streamId INTEGER, correlationId INTEGER, globalPid INTEGER, demangledName INTEGER,"
    " shortName INTEGER",
    "CUPTI_ACTIVITY_KIND_MEMCPY": "start INTEGER, end INTEGER, deviceId INTEGER, streamId INTEGER,"
    " correlationId INTEGER, globalPid INTEGER, bytes INTEGER, copyKind INTEGER",
    "NVTX_EVENTS": "start INTEGER, end INTEGER, eventType INTEGER, globalTid INTEGER, text TEXT,"
    " textId INTEGER",
}
EPOCH_NS = 1_750_000_000_000_000_000


def span_rows(event, first, process, number, *, old, mark):
    """Rows that an export holds of one span."""
    begin = round((float(event["ts"]) - first) * 1000)
    end = begin + round(float(event["dur"]) * 1000)
    told, name = event.get("args", {}), event["name"]
    thread = process + int(event["tid"]) % 1000 if str(event["tid"]).isdigit() else process
    linked = int(told.get("correlation", -1))
    if event.get("cat") in {"cuda_runtime", "cuda_driver"}:
        for called in (name, f"{name}_v7000") if old else (f"{name}_v7000",):
            yield "CUPTI_ACTIVITY_KIND_RUNTIME", (begin, end, 0, thread, linked, number(called), 0)
    elif event.get("cat") == "kernel":
        names = number(name), number(name[:20])
        on = 0, 1, told["stream"], linked, process
        yield "CUPTI_ACTIVITY_KIND_KERNEL", (begin, end, *on, *names)
    elif event.get("cat") in {"gpu_memcpy", "gpu_memset"}:
        place = 0, told["stream"], linked, process
        yield "CUPTI_ACTIVITY_KIND_MEMCPY", (begin, end, *place, int(told.get("bytes", 0)), 1)
    elif event.get("cat") == "user_annotation" or name.startswith("ProfilerStep#"):
        text = name.replace("ProfilerStep#", mark)
        said = (None, number(text)) if old else (text, None)
        yield "NVTX_EVENTS", (begin, end, 59, thread, *said)


def write_export(path, events, *, pid=4711, host="node0", old=False, mark="ProfilerStep#", rank=-1):
    """Write the spans of one trace as an export; an old one names calls twice and has no enums."""
    names: dict[str, int] = {}
    process = (1 << 48) + (pid << 24)

    def number(text):
        return names.setdefault(text, len(names) + 1)

    connection = sqlite3.connect(path)
    for table, columns in TABLES.items():
        connection.execute(f"CREATE TABLE {table} ({columns})")
    spans = [e for e in events if e.get("ph") == "X"]
    first = min(float(e["ts"]) for e in spans)
    rows: dict[str, list[tuple[object, ...]]] = {table: [] for table in TABLES}
    for event in spans:
        for table, row in span_rows(event, first, process, number, old=old, mark=mark):
            rows[table].append(row)
    if rank >= 0:
        rows["NVTX_EVENTS"].append((0, None, 34, process + 1, f"MPI Rank {rank}", None))
    epoch = EPOCH_NS + round(first * 1000) % 10**15
    rows["TARGET_INFO_SESSION_START_TIME"] = [(epoch, "", "")]
    rows["TARGET_INFO_SYSTEM_ENV"] = [(1, "", "Hostname", host)]
    rows["TARGET_INFO_GPU"] = [(1, "NVIDIA H100")]
    rows["StringIds"] = [(i, text) for text, i in names.items()]
    for table, found in rows.items():
        if found:
            marks = ", ".join("?" * len(found[0]))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", found)  # noqa: S608
    connection.commit()
    connection.close()


def trace_events(path):
    """Events of a Kineto trace."""
    raw = path.read_bytes()
    text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    return json.loads(text)["traceEvents"]
