"""Compressed recordings: what the replay needs of a job, in kilobytes for each rank and step."""

from loadpath.ingest.compressed.recognition import FORMAT, is_compressed

__all__ = ["FORMAT", "is_compressed"]
