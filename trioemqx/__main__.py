"""`python -m trioemqx` is the `trioemqx` command."""

from trioemqx.cli import main

main()
