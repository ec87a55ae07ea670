"""Compressed recordings: what the replay needs of a job, in kilobytes for each rank and step."""

from loadpath.ingest.compressed.reading import is_compressed, read_compressed
from loadpath.ingest.compressed.writing import Compressed, compress_recording

__all__ = ["Compressed", "compress_recording", "is_compressed", "read_compressed"]
