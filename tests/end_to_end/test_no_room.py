"""Where the system refuses memory or threads: one line, and no file is blamed."""

import sys

import pytest

from loadpath import audit, cli
from loadpath.errors import InputError, lacks_room

LINE = "loadpath: memory or threads ran out. Raise the limit of this process, or end others.\n"


def damaged(cause=None):
    error = InputError("a.parquet", "damaged", "Copy it again.")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("can't start new thread"),
        OSError(12, "Cannot allocate memory"),
        damaged(OSError(11, "Resource temporarily unavailable")),
    ],
    ids=["memory", "threads", "system", "through a reader"],
)
def test_what_the_system_refuses_is_told_in_one_line(error, monkeypatch, capsys):
    def refused(*_, **__):
        raise error

    monkeypatch.setattr(audit, "run_audit", refused)
    monkeypatch.setattr(sys, "argv", ["loadpath", "audit", "a.parquet", "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", LINE)


def test_a_damaged_file_is_no_lack_of_room():
    assert not lacks_room(damaged(OSError(5, "Input/output error")))
