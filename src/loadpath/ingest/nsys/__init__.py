"""Exports of Nsight Systems (SQLite), one process or several in a file."""

from loadpath.ingest.nsys.recording import is_nsys, read_nsys

__all__ = ["is_nsys", "read_nsys"]
