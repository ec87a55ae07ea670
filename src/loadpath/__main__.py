"""``python -m loadpath``."""

from loadpath.cli import run

if __name__ == "__main__":
    run()
