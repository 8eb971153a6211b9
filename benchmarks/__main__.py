"""dfbench: the demo, and the measurements."""

import argparse
import sys

from benchmarks.io import attach, demo, fanout, simulate


def main(argv: list[str] | None = None) -> None:
    """Run one of dfbench's commands."""
    parser = argparse.ArgumentParser(prog="dfbench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="five daemons on this machine pull one image through the swarm")
    simulated = commands.add_parser("simulate", help="a cluster in virtual time, from one seed")
    simulate.add_arguments(simulated)
    fanned = commands.add_parser("fanout", help="many real daemons on this machine pull one image at once")
    fanout.add_arguments(fanned)
    attached = commands.add_parser("attach", help="one scheduler under the messages of many daemons")
    attach.add_arguments(attached)
    options = parser.parse_args(argv)
    if options.command == "simulate":
        sys.exit(simulate.run(options))
    if options.command == "fanout":
        sys.exit(fanout.run(options))
    if options.command == "attach":
        sys.exit(attach.run(options))
    demo.run()


if __name__ == "__main__":
    main()
