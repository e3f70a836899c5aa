"""`python -m gatefield`."""

from gatefield.cli.app import main

main()
