"""`python -m stimgen.cli`, the same as `stimgen`."""

from stimgen.cli import main

main()
