"""Reader of PyTorch Kineto traces: Chrome JSON, one file per rank."""

from loadpath.ingest.kineto.recording import read_kineto

__all__ = ["read_kineto"]
