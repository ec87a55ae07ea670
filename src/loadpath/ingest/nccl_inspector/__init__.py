"""Logs of the NCCL Inspector: how long each communication took on each rank."""

from loadpath.ingest.nccl_inspector.logs import is_inspector, read_inspector

__all__ = ["is_inspector", "read_inspector"]
