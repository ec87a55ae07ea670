import contextlib
import io

from loadpath.cli.progress import talk


class Terminal(io.StringIO):
    def isatty(self):
        return True


def said_on(stream):
    with contextlib.redirect_stderr(stream), talk() as say:
        say("weighing causes")
    return stream.getvalue()


def test_progress_is_shown_on_a_terminal():
    assert "weighing causes" in said_on(Terminal())


def test_progress_is_silent_where_nobody_watches():
    assert said_on(io.StringIO()) == ""
