"""Bytes of a file in blocks, gunzipped where its content (not its name) says gzip."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from isal import igzip_lib

from loadpath.decode.regular import check_regular
from loadpath.errors import InputError

__all__ = ["BLOCK_BYTES", "FREE_BYTES", "MAX_BYTES", "MAX_EXPANSION", "first_block", "read_blocks"]

BLOCK_BYTES = 256 << 10
"""Block size: typed decoding is fastest when a chunk and its objects stay in the cache."""
MAX_BYTES = 64 << 30
"""Largest decompressed size of one file."""
MAX_EXPANSION = 400
"""Largest decompressed over compressed size beyond 64 MiB; real traces expand 10 to 40 times."""
FREE_BYTES = 64 << 20
UTF8_MARK = b"\xef\xbb\xbf"
REMEDY_CUT = "Copy or record the file again."
REMEDY_LARGE = "Split the recording, or check that the file is what its name says."


def read_blocks(path: Path, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Read a plain or gzipped file block by block.

    Parameters
    ----------
    path : Path
        File; gzip is recognised by its first two bytes.
    block_bytes : int
        Bytes of a block, at most.

    Yields
    ------
    bytes
        Blocks in order, without the mark of UTF-8 that some editors put first; all that was sound, also of
        a damaged file.

    Raises
    ------
    InputError
        If it is no regular file or cannot be opened, or (after the sound blocks) its gzip stream is cut or
        damaged, or it is larger than `MAX_BYTES` or expands more than `MAX_EXPANSION` times.
    """
    total = 0
    try:
        with check_regular(path).open("rb") as stream:
            is_gzip = stream.read(2) == b"\x1f\x8b"
            stream.seek(0)
            blocks = _gunzip(path, stream, block_bytes) if is_gzip else _plain(stream, block_bytes)
            for block in blocks:
                total += len(block)
                _check_size(path, total, stream.tell())
                yield block.removeprefix(UTF8_MARK) if total == len(block) else block
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error.strerror})", "Check it.") from error


def first_block(path: Path, block_bytes: int = BLOCK_BYTES) -> bytes:
    """Read what a file begins with, to tell what it is.

    Parameters
    ----------
    path : Path
        File, gzipped or not.
    block_bytes : int
        Bytes of the block, at most.

    Returns
    -------
    bytes
        Its first block; empty too where it cannot be read: who reads it says why.
    """
    try:
        return next(read_blocks(path, block_bytes), b"")
    except InputError:
        return b""


def _plain(stream: BinaryIO, block_bytes: int) -> Iterator[bytes]:
    while block := stream.read(block_bytes):
        yield block


def _gunzip(path: Path, stream: BinaryIO, block_bytes: int) -> Iterator[bytes]:
    """Inflate gzip members one after another; zeros after the last are padding."""
    member: Any = None
    rest = b""
    try:
        while True:
            if member is None:
                data = rest.lstrip(b"\0") or stream.read(block_bytes)
                if not data:
                    return
                member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
            else:
                data = stream.read(block_bytes) if member.needs_input else b""
                if member.needs_input and not data:
                    raise InputError(str(path), "gzip data end too early", REMEDY_CUT)
            if block := member.decompress(data, block_bytes):
                yield block
            if member.eof:
                member, rest = None, member.unused_data
    except igzip_lib.IsalError as error:  # type: ignore[misc]
        raise InputError(str(path), f"damaged gzip data ({error})", REMEDY_CUT) from error


def _check_size(path: Path, total: int, consumed: int) -> None:
    if total > MAX_BYTES:
        raise InputError(str(path), f"more than {MAX_BYTES >> 30} GiB of data", REMEDY_LARGE)
    if total > FREE_BYTES and total > MAX_EXPANSION * consumed:
        raise InputError(
            str(path), f"expands more than {MAX_EXPANSION} times (a gzip bomb?)", REMEDY_LARGE
        )
