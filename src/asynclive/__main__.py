"""Runs the command ``asynclive`` for ``python -m asynclive``."""

from ._cli.main import main

if __name__ == "__main__":
    main()
