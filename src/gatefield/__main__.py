"""`python -m gatefield`."""

from gatefield.cli import main

main()
