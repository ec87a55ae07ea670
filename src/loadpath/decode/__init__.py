"""What readers share: names of collectives, digests, gzip by content, JSON arrays in chunks, size limits."""

from loadpath.decode.blocks import BLOCK_BYTES, first_block, read_blocks
from loadpath.decode.collective import collective_of
from loadpath.decode.digest import file_digest
from loadpath.decode.json_array import Chunk, Envelope, Keys, array_chunks
from loadpath.decode.memory import release_free_memory
from loadpath.decode.number_kernels import read_thousandths, read_whole
from loadpath.decode.regular import check_regular
from loadpath.decode.shelf import keep, kept, source_digest
from loadpath.decode.tokens import Tokens, number_keys

__all__ = [
    "BLOCK_BYTES",
    "Chunk",
    "Envelope",
    "Keys",
    "Tokens",
    "array_chunks",
    "check_regular",
    "collective_of",
    "file_digest",
    "first_block",
    "keep",
    "kept",
    "number_keys",
    "read_blocks",
    "read_thousandths",
    "read_whole",
    "release_free_memory",
    "source_digest",
]
