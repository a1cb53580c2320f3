"""`python -m pursuit.cli` is `pursuit`."""

from pursuit.cli import main

main()
