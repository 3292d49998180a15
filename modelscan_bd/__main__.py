"""`python -m modelscan_bd` is `bdscan`."""

from modelscan_bd.cli import main

if __name__ == "__main__":
    main(prog_name="bdscan")
