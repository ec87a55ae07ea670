"""Errors that a user can act on; each carries the exit code of the command line."""

from collections.abc import Iterable

__all__ = [
    "InputError",
    "LoadpathError",
    "StructureError",
    "UsageError",
    "first_line",
    "lacks_room",
]

LONGEST_LINE = 300
"""Characters of another library's error that are repeated."""
NO_ROOM = (
    "can't start new thread",
    "Cannot allocate memory",
    "Resource temporarily unavailable",
    "failed to map segment from shared object",
)
"""What the system says, through any library, where memory or threads are at their limit."""


class LoadpathError(Exception):
    """Root of all errors that loadpath raises on purpose.

    Parameters
    ----------
    what : str
        What is wrong, where, and what to do about it, in one sentence each.

    Attributes
    ----------
    exit_code : int
        Exit status of the command line: 1 internal, 2 wrong call, 3 gate broken, 4 input
        unreadable, 5 not enough data for a gate.
    """

    exit_code = 1

    def __init__(self, what: str) -> None:
        super().__init__(what)


class UsageError(LoadpathError):
    """The call itself is wrong: unknown option value, output folder that exists, bad selector."""

    exit_code = 2


class InputError(LoadpathError):
    """A recording that cannot be read; all problems of one input are named at once.

    Parameters
    ----------
    where : str
        File (and place in it) that is at fault.
    problems : str or iterable of str
        What is wrong; one entry per problem.
    remedy : str
        What the user can do.
    """

    exit_code = 4

    def __init__(self, where: str, problems: str | Iterable[str], remedy: str) -> None:
        listed = [problems] if isinstance(problems, str) else list(problems)
        super().__init__(f"{where}: {'; '.join(listed)}. {remedy}")
        self.where = where
        self.problems = listed
        self.remedy = remedy


class StructureError(InputError):
    """Couplings that no execution can satisfy, such as a cycle of waits."""


def first_line(error: BaseException) -> str:
    r"""Say in one line what another library's error says in many.

    Parameters
    ----------
    error : BaseException
        Error to be named in a message.

    Returns
    -------
    str
        First line of its text, shortened if it quotes much of the input; the name of its type where
        it has none.

    Examples
    --------
    >>> first_line(ValueError("no footer\nat byte 7")), first_line(KeyError())
    ('no footer', 'KeyError')
    """
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    return line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + "..."


def lacks_room(error: BaseException) -> bool:
    """Say whether the system refused memory or threads, whatever was made of it since.

    Parameters
    ----------
    error : BaseException
        With what caused it.

    Returns
    -------
    bool
        A file may be damaged as well; that cannot be told then.

    Examples
    --------
    >>> lacks_room(RuntimeError("can't start new thread")), lacks_room(ValueError("no number"))
    (True, False)
    """
    cause: BaseException | None = error
    while cause is not None:
        if any(words in str(cause) for words in NO_ROOM):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
