"""Files that can be no record of any kind, told by their first bytes."""

import zlib
from pathlib import Path
from typing import NamedTuple

from loadpath.decode.regular import check_regular
from loadpath.errors import InputError

__all__ = ["Foreign", "foreign_content"]

HEAD_BYTES = 4096
GZIP = b"\x1f\x8b"
TAR_AT, TAR = 257, b"ustar"
AGAIN = "Copy or record it again."
TEXT = (".json", ".jsonl", ".ndjson", ".csv", ".goal")
"""Names of what is text, before a suffix of packing."""


class Foreign(NamedTuple):
    """What a file is that no reader can read.

    Attributes
    ----------
    what : str
        Said of the file, such as "is empty".
    remedy : str
        What to do about it.
    """

    what: str
    remedy: str


EMPTY = Foreign("is empty", AGAIN)
BLANK = Foreign("holds nothing but blanks", AGAIN)
ZEROS = Foreign("begins with nothing but zeros, as where a write was cut short", AGAIN)
NOT_UNPACKED = Foreign("holds gzip data of which nothing can be unpacked", AGAIN)
PAGE = Foreign("is a web page or XML, such as the error of a download", AGAIN)
WIDE = Foreign("is text in UTF-16 or UTF-32", "Write it in UTF-8.")
REPORT = Foreign(
    "is a report of Nsight Systems, not its export", "Export it: nsys export --type sqlite."
)
BEGINNINGS = (
    (b"version https://git-lfs.github.com/spec/",
     Foreign("is a pointer of Git LFS, not the file itself", "Fetch the file: git lfs pull.")),
    (GZIP, Foreign("is gzipped twice", "Unpack it once: gzip -d.")),
    (b"PK\x03\x04", Foreign("is a zip archive", "Unpack it: unzip.")),
    (b"7z\xbc\xaf\x27\x1c", Foreign("is a 7z archive", "Unpack it: 7z x.")),
    (b"\x28\xb5\x2f\xfd", Foreign("is compressed with Zstandard, which is not read", "Unpack it: zstd -d.")),
    (b"\xfd7zXZ\0", Foreign("is compressed with xz, which is not read", "Unpack it: xz -d.")),
    (b"BZh", Foreign("is compressed with bzip2, which is not read", "Unpack it: bzip2 -d.")),
    (b"\x04\x22\x4d\x18", Foreign("is compressed with LZ4, which is not read", "Unpack it: lz4 -d.")),
    (b"\xff\xfe", WIDE),
    (b"\xfe\xff", WIDE),
    (b"\0\0\xfe\xff", WIDE),
)  # fmt: skip
"""First bytes of a file, unpacked where it is gzipped."""
PAGES = (b"<!doctype", b"<html", b"<?xml")
REPORTS = (".nsys-rep", ".qdrep")


def foreign_content(path: Path) -> Foreign | None:
    """Tell a file that cannot be a record, whatever its name.

    Parameters
    ----------
    path : Path
        File; its name says only whether it is to be text, or a report of Nsight Systems.

    Returns
    -------
    Foreign or None
        What it is, and what to do; None for what may be a record, and for what cannot be read: its
        reader says why.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = Path(folder, "rank0.json")
    ...     _ = page.write_text("<!DOCTYPE html><title>403 Forbidden</title>")
    ...     print(foreign_content(page).what)
    is a web page or XML, such as the error of a download
    """
    try:
        with check_regular(path).open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except (InputError, OSError):
        return None
    if not head:
        return EMPTY
    if path.suffix.lower() in REPORTS:
        return REPORT
    is_text = path.name.lower().removesuffix(".gz").endswith(TEXT)
    if not head.startswith(GZIP):
        return _told(head, is_text=is_text)
    try:
        inside = zlib.decompressobj(wbits=31).decompress(head, HEAD_BYTES)
    except zlib.error:
        inside = b""
    return _told(inside, is_text=is_text) if inside else NOT_UNPACKED


def _told(head: bytes, *, is_text: bool) -> Foreign | None:
    """Name what begins so; `head` is not empty, and unpacked."""
    # text begins with characters of ASCII: in UTF-16 every other byte of them is 0
    is_wide = b"\0\0" in {head[:4:2], head[1:4:2]}
    told = (
        (not head.strip(b"\0"), ZEROS),
        *((head.startswith(beginning), what) for beginning, what in BEGINNINGS),
        (head[TAR_AT:].startswith(TAR), Foreign("is a tar archive", "Unpack it: tar -xf.")),
        (head.lstrip()[:9].lower().startswith(PAGES), PAGE),
        (is_text and not head.strip(), BLANK),
        (is_text and is_wide, WIDE),
    )
    return next((what for is_so, what in told if is_so), None)
