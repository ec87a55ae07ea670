"""Tables to coupled graph: who waits for whom across all ranks."""

from loadpath.couple.graph import Coupling, CouplingGraph, EdgeKind, NodeRole, build_graph
from loadpath.couple.job import BETWEEN_CALLS, COUPLED_OP, CoupledJob, assemble_job

__all__ = [
    "BETWEEN_CALLS",
    "COUPLED_OP",
    "CoupledJob",
    "Coupling",
    "CouplingGraph",
    "EdgeKind",
    "NodeRole",
    "assemble_job",
    "build_graph",
]
