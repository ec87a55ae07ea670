"""``python -m loadpath``, and the command ``loadpath``: how the process of a command begins."""

from loadpath.interrupts import stop_at_once

__all__ = ["main"]


def main() -> None:
    """Run the command line; stopped while it is loaded, it ends without a word."""
    stop_at_once()
    from loadpath.cli import run  # noqa: PLC0415 - loading it is what may be stopped

    run()


if __name__ == "__main__":
    main()
