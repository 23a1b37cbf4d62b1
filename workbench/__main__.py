"""The command `mlgym-tui`, and `python -m workbench`."""

import gc


def main() -> None:
    """Run the command."""
    gc.set_threshold(200_000, 10, 10)  # hardly anything of a start is garbage, and looking for it takes a tenth of it
    from workbench.cli import main as command

    command(prog_name="mlgym-tui")


if __name__ == "__main__":
    main()
