"""`python -m workbench` is `mlgym-tui`."""

from workbench.cli import main

if __name__ == "__main__":
    main(prog_name="mlgym-tui")
