"""What readers share: digests, gzip by content, JSON arrays in chunks, size limits."""

from loadpath.decode.blocks import BLOCK_BYTES, read_blocks
from loadpath.decode.digest import file_digest
from loadpath.decode.json_array import Chunk, Envelope, array_chunks
from loadpath.decode.regular import check_regular

__all__ = [
    "BLOCK_BYTES",
    "Chunk",
    "Envelope",
    "array_chunks",
    "check_regular",
    "file_digest",
    "read_blocks",
]
