"""Tables of what was recorded: ops, lanes, communicators, memberships, ranks, steps, caveats."""

import polars as pl

from loadpath.tables.schema import Column, TableSchema

__all__ = [
    "CAVEAT",
    "COMMUNICATOR",
    "EXECUTION",
    "FLIGHT",
    "FLIGHT_GROUP",
    "HANDSHAKE",
    "INSTANCE",
    "LANE",
    "LANE_KINDS",
    "MEMBERSHIP",
    "OP",
    "OP_KINDS",
    "RANK",
    "STEP",
    "SYNCHRONISATION",
    "SYNCHRONISATION_KINDS",
]

OP_KINDS = (
    "compute",
    "communicate",
    "copy",
    "host",
    "input",
    "checkpoint",
    "storage",
    "optimise",
    "marker",
)
"""What an op does; `marker` rows name a span and take part in nothing."""
LANE_KINDS = ("host", "device", "communication")
"""What runs on a lane: calls of a thread, work of a device, or communications of a thread."""

SYNCHRONISATION_KINDS = (
    "stream_wait",
    "event_record",
    "event_wait",
    "stream_synchronise",
    "device_synchronise",
    "fork",
    "join",
    "team_begin",
    "team_end",
    "barrier",
    "thread_create",
    "thread_begin",
    "thread_end",
    "thread_wait",
    "acquire",
    "release",
    "task_create",
    "task_switch",
    "task_complete",
    "task_wait",
)
"""A stream waits for an event; an event is recorded; the host waits for event, stream, device. Threads: one
forks a team and joins it, each begins and ends in it and meets the others at barriers; one creates another,
which begins and ends, and waits for its end; a lock is taken and given back; a task is created, gone on with
and completed, and who created tasks waits for them."""

OP = TableSchema(
    "op",
    "one execution of something on one lane of one rank; the row number is the op's id",
    (
        Column("rank", pl.Int32, "rank that runs the op"),
        Column("lane", pl.Int32, "lane of that rank, see table lane"),
        Column("step", pl.Int64, "training step, -1 outside all steps", -1),
        Column("kind", pl.Enum(OP_KINDS), "what it does"),
        Column("name", pl.Categorical, "name as recorded"),
        Column("start_ns", pl.Int64, "start on the recording's clock"),
        Column("duration_ns", pl.Int64, "length, waiting included"),
        Column("sequence", pl.Int64, "number within its name (or communicator), -1 unknown", -1),
        Column("microbatch", pl.Int32, "microbatch, -1 where it has none", -1),
        Column("chunk", pl.Int32, "model chunk on its rank (interleaved schedules), -1 none", -1),
        Column("communicator", pl.Int32, "process group, see table communicator, -1 none", -1),
        Column("collective", pl.Categorical, "all_reduce, send, ...; empty if none", ""),
        Column("peer", pl.Int32, "other rank of a point-to-point op, or root; -1 unknown", -1),
        Column("tag", pl.Int64, "tag of a point-to-point op, -1 unknown", -1),
        Column("comms_id", pl.Int64, "equal for all members of a communication, 0 unknown", 0),
        Column("bytes", pl.Int64, "payload, -1 unknown", -1),
        Column("correlation", pl.Int64, "links a launch call with what it launched, -1 none", -1),
        Column("parent", pl.Int32, "op that encloses it on its lane, -1 none", -1),
        Column("external", pl.Int32, "number of an operator, see execution.node; -1 none", -1),
    ),
)

LANE = TableSchema(
    "lane",
    "a host thread or a device stream of one rank",
    (
        Column("rank", pl.Int32, "rank"),
        Column("lane", pl.Int32, "number within the rank"),
        Column("kind", pl.Enum(LANE_KINDS), "what runs there"),
        Column("name", pl.String, "thread or stream as recorded"),
    ),
)

COMMUNICATOR = TableSchema(
    "communicator",
    "a process group",
    (
        Column("communicator", pl.Int32, "number within the job"),
        Column("name", pl.String, "name or description as recorded"),
        Column("n_members", pl.Int32, "size, -1 unknown", -1),
        Column("members", pl.List(pl.Int32), "ranks, empty when not recorded"),
        Column("backend", pl.String, "nccl, gloo, ...; empty if unknown", ""),
        Column("description", pl.String, "what the group is for, as recorded; empty if not", ""),
    ),
)

MEMBERSHIP = TableSchema(
    "membership",
    "an op's part in one communication",
    (
        Column("op", pl.Int32, "op id: row of table op"),
        Column("instance", pl.Int32, "communication, see table instance"),
        Column("role", pl.Enum(("all", "root", "leaf", "sender", "receiver")), "part it plays"),
        Column("contributes", pl.Boolean, "others wait for it"),
        Column("waits", pl.Boolean, "it waits for the others"),
    ),
)

INSTANCE = TableSchema(
    "instance",
    "one communication with all its members",
    (
        Column("instance", pl.Int32, "number: row of this table"),
        Column("collective", pl.Categorical, "all_reduce, send, ..."),
        Column("communicator", pl.Int32, "process group, -1 if the record names none", -1),
        Column("sequence", pl.Int64, "number within the group (or class and step)", -1),
        Column("step", pl.Int64, "step, -1 unknown", -1),
        Column("n_members", pl.Int32, "members found"),
        Column("bytes", pl.Int64, "payload of one member, -1 unknown", -1),
        Column("matched", pl.Boolean, "all expected members were found and causality holds"),
    ),
)

SYNCHRONISATION = TableSchema(
    "synchronisation",
    "a recorded wait between streams, of the host for a device or between threads, or an event that one waits for",
    (
        Column("rank", pl.Int32, "rank"),
        Column("kind", pl.Enum(SYNCHRONISATION_KINDS), "what waits for what"),
        Column(
            "correlation",
            pl.Int64,
            "call that asked for it, see op.correlation; of threads, row of the op around it; -1",
            -1,
        ),
        Column("lane", pl.Int32, "stream that waits, is waited for or records, or thread; -1", -1),
        Column("source_lane", pl.Int32, "stream that a stream waits for, -1 unknown", -1),
        Column(
            "record",
            pl.Int64,
            "correlation of the call that recorded the event; number of a thread, or of a lock's turn; -1",
            -1,
        ),
        Column("event", pl.Int64, "number of the event, team or lock; -1 unknown", -1),
        Column("start_ns", pl.Int64, "start on the recording's clock"),
        Column("duration_ns", pl.Int64, "length"),
    ),
)

RANK = TableSchema(
    "rank",
    "a recorded rank",
    (
        Column("rank", pl.Int32, "rank"),
        Column("host", pl.String, "host name, empty if unknown", ""),
        Column("rack", pl.String, "rack, empty if unknown", ""),
        Column("switch", pl.String, "leaf switch, empty if unknown", ""),
        Column("device", pl.String, "accelerator model, empty if unknown", ""),
        Column("n_represented", pl.Int32, "ranks that this recorded one stands for", 1),
        Column("dp", pl.Int32, "data-parallel coordinate, -1 unknown", -1),
        Column("pp", pl.Int32, "pipeline stage, -1 unknown", -1),
        Column("tp", pl.Int32, "tensor-parallel coordinate, -1 unknown", -1),
        Column("ep", pl.Int32, "expert-parallel coordinate, -1 unknown", -1),
        Column("cp", pl.Int32, "context-parallel coordinate, -1 unknown", -1),
        Column(
            "clock_offset_ns", pl.Int64, "error of its clock, subtracted from its recorded times", 0
        ),
        Column(
            "clock_drift_ppb",
            pl.Int64,
            "growth of that error, zero in the middle of the recording",
            0,
        ),
        Column("clock_residual_ns", pl.Int64, "what the clocks still disagree by, -1 unknown", -1),
        Column(
            "power_w",
            pl.Float64,
            "mean power of its device over the recorded steps; not a number if unknown",
            float("nan"),
        ),
    ),
)

STEP = TableSchema(
    "step",
    "one training step on one rank, as recorded",
    (
        Column("step", pl.Int64, "step number"),
        Column("rank", pl.Int32, "rank"),
        Column("start_ns", pl.Int64, "start on the recording's clock"),
        Column("end_ns", pl.Int64, "end on the recording's clock"),
    ),
)

FLIGHT = TableSchema(
    "flight",
    "one communication as a flight recorder on one rank noted it",
    (
        Column("rank", pl.Int32, "rank"),
        Column("group", pl.String, "name of the process group"),
        Column("members", pl.List(pl.Int32), "ranks of the group, empty if unknown"),
        Column("collective", pl.String, "all_reduce, send, ..."),
        Column("sequence", pl.Int64, "number within the group"),
        Column("is_p2p", pl.Boolean, "a send or receive: numbered apart", default=False),
        Column("created_ns", pl.Int64, "when it was asked for, ns of the epoch"),
        Column("state", pl.String, "scheduled, started, completed; as recorded", ""),
        Column("description", pl.String, "what the group is for, as recorded", ""),
        Column("name", pl.String, "call as recorded, such as nccl:all_to_all", ""),
        Column("peer", pl.Int32, "other end of a send or receive, -1 for none", -1),
        Column("is_done", pl.Boolean, "it had ended when the dump was made", default=False),
        Column("started_ns", pl.Int64, "when it was seen to run, ns of the epoch, 0 if unknown", 0),
        Column("completed_ns", pl.Int64, "when it was seen to end, 0 if unknown", 0),
        Column("size", pl.String, "shapes in, and out where they differ; empty if unknown", ""),
        Column("data_type", pl.String, "types of the input, empty if unknown", ""),
        Column("duration_ns", pl.Int64, "how long it took on the device, 0 if unknown", 0),
        Column("bytes", pl.Int64, "payload, -1 unknown", -1),
    ),
)

FLIGHT_GROUP = TableSchema(
    "flight_group",
    "how far one rank came in one process group, as its flight recorder says",
    (
        Column("rank", pl.Int32, "rank"),
        Column("group", pl.String, "name of the group; empty where only its number is known"),
        Column("description", pl.String, "what the group is for, as recorded"),
        Column("members", pl.List(pl.Int32), "ranks of the group, empty if unknown"),
        Column("number", pl.Int64, "number that the rank itself gave to the group, -1 unknown"),
        Column("enqueued", pl.Int64, "last collective asked for, -1 if not said"),
        Column("completed", pl.Int64, "last collective that ended, -1 if not said"),
    ),
)

EXECUTION = TableSchema(
    "execution",
    "one operator as an execution trace of one rank lists it",
    (
        Column("rank", pl.Int32, "rank"),
        Column("node", pl.Int64, "number that it shares with traces, up to a constant"),
        Column("name", pl.String, "operator"),
        Column("reads", pl.List(pl.Int64), "storages of tensors that it reads"),
        Column("writes", pl.List(pl.Int64), "storages of tensors that it writes"),
    ),
)

HANDSHAKE = TableSchema(
    "handshake",
    "a message between two ranks and its answer, on the clocks of both",
    (
        Column("rank", pl.Int32, "rank that asks"),
        Column("peer", pl.Int32, "rank that answers"),
        Column("sent_ns", pl.Int64, "question sent, on the asking rank's clock"),
        Column("arrived_ns", pl.Int64, "question taken, on the answering rank's clock"),
        Column("returned_ns", pl.Int64, "answer sent, on the answering rank's clock"),
        Column("received_ns", pl.Int64, "answer taken, on the asking rank's clock"),
    ),
)

CAVEAT = TableSchema(
    "caveat",
    "a doubt about the recording or about a conclusion, shown wherever results are",
    (
        Column("code", pl.String, "short name of the doubt"),
        Column("text", pl.String, "what, where, and what it means"),
        Column("n", pl.Int64, "how often"),
    ),
)
