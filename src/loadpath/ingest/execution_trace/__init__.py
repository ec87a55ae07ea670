"""Execution traces of PyTorch: which operator wrote what another one read."""

from loadpath.ingest.execution_trace.nodes import is_execution_trace, read_execution_traces

__all__ = ["is_execution_trace", "read_execution_traces"]
