"""The command line as ``python -m nearnext``."""

from nearnext.cli import main

main()
