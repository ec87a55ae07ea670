"""The vocabulary: declared tables, and the recording that readers return."""

from loadpath.tables.condensed import BOUND, COUPLED, EDGE, SKETCH, Coupled
from loadpath.tables.recorded import (
    CAVEAT,
    COMMUNICATOR,
    EXECUTION,
    FLIGHT,
    FLIGHT_GROUP,
    HANDSHAKE,
    INSTANCE,
    LANE,
    LANE_KINDS,
    MEMBERSHIP,
    OP,
    OP_KINDS,
    RANK,
    STEP,
    SYNCHRONISATION,
)
from loadpath.tables.recording import AlikeSteps, Recording, caveat_table, unroll
from loadpath.tables.schema import Column, TableSchema

__all__ = [
    "BOUND",
    "CAVEAT",
    "COMMUNICATOR",
    "COUPLED",
    "EDGE",
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
    "SKETCH",
    "STEP",
    "SYNCHRONISATION",
    "AlikeSteps",
    "Column",
    "Coupled",
    "Recording",
    "TableSchema",
    "caveat_table",
    "unroll",
]
