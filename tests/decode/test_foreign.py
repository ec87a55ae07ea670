"""What a file is that can be no record."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile

import pytest

from loadpath.decode.foreign import foreign_content

TRACE = b'{"traceEvents": [{"ph": "X", "name": "a", "ts": 1, "dur": 2, "pid": 1, "tid": 1}]}'


def tar(mode="w"):
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=mode) as archive:
        entry = tarfile.TarInfo("rank0.json")
        entry.size = len(TRACE)
        archive.addfile(entry, io.BytesIO(TRACE))
    return target.getvalue()


def archive():
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as packed:
        packed.writestr("rank0.json", TRACE)
    return target.getvalue()


FOREIGN = {
    "empty": (b"", "is empty"),
    "blank": (b"\r\n \n", "nothing but blanks"),
    "zeros": (bytes(8192), "nothing but zeros"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "Git LFS"),
    "page": (b"\n<!DOCTYPE html><html>403 Forbidden</html>", "a web page"),
    "error of a store": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
    "zip": (archive(), "a zip archive"),
    "tar": (tar(), "a tar archive"),
    "packed tar": (tar("w:gz"), "a tar archive"),
    "zstd": (b"\x28\xb5\x2f\xfd\x04\x58" + TRACE, "Zstandard"),
    "xz": (lzma.compress(TRACE), "compressed with xz"),
    "bzip2": (bz2.compress(TRACE), "compressed with bzip2"),
    "lz4": (b"\x04\x22\x4d\x18" + bytes(40), "compressed with LZ4"),
    "twice": (gzip.compress(gzip.compress(TRACE, mtime=0), mtime=0), "gzipped twice"),
    "cut gzip": (gzip.compress(TRACE, mtime=0)[:10], "of which nothing can be unpacked"),
    "damaged gzip": (gzip.compress(TRACE, mtime=0)[:10] + b"\xff" * 90, "of which nothing can be unpacked"),
    "UTF-16 with a mark": (TRACE.decode().encode("utf-16"), "UTF-16"),
    "UTF-16": (TRACE.decode().encode("utf-16-be"), "UTF-16"),
    "UTF-32": (TRACE.decode().encode("utf-32-le"), "UTF-32"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_can_be_no_record_is_told_with_what_to_do(kind, tmp_path):
    content, said = FOREIGN[kind]
    path = tmp_path / "rank0.json"
    path.write_bytes(content)
    found = foreign_content(path)
    assert found is not None
    assert said in found.what
    assert found.remedy.endswith(".")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rank0.json", TRACE),
        ("rank0.json", b"\xef\xbb\xbf" + TRACE),
        ("rank0.json", TRACE.replace(b",", b",\r\n")),
        ("rank0.json.gz", TRACE),
        ("rank0.json", gzip.compress(TRACE, mtime=0)),
        ("rank0.json.gz", gzip.compress(TRACE, mtime=0)[:60]),
        ("rank0.sqlite", b"SQLite format 3\0" + bytes(100)),
        ("_dump_0", b"\x80\x04\x95\0\0\0\0\0\0\0\0}."),
        ("a.goal", b"num_ranks 2\n"),
        ("a.parquet", b"PAR1" + bytes(20)),
    ],
)
def test_what_may_be_a_record_is_left_to_its_reader(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert foreign_content(tmp_path / name) is None


def test_a_report_of_nsight_is_to_be_exported(tmp_path):
    (tmp_path / "rank0.nsys-rep").write_bytes(b"anything")
    found = foreign_content(tmp_path / "rank0.nsys-rep")
    assert found is not None
    assert "nsys export" in found.remedy


def test_what_cannot_be_read_is_left_to_its_reader(tmp_path):
    assert foreign_content(tmp_path / "absent") is None
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert foreign_content(tmp_path / "pipe") is None
