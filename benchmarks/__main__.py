"""dfbench: the demo, and the measurements."""

import argparse

from benchmarks.io import demo


def main(argv: list[str] | None = None) -> None:
    """Run one of dfbench's commands."""
    parser = argparse.ArgumentParser(prog="dfbench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="five daemons on this machine pull one image through the swarm")
    parser.parse_args(argv)
    demo.run()


if __name__ == "__main__":
    main()
