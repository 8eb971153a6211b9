"""dfbench: the demo, and the measurements."""

import argparse
import sys

from benchmarks.io import demo, fanout, nightly, simulate


def main(argv: list[str] | None = None) -> None:
    """Run one of dfbench's commands."""
    parser = argparse.ArgumentParser(prog="dfbench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="five daemons on this machine pull one image through the swarm")
    simulated = commands.add_parser("simulate", help="a cluster in virtual time, from one seed")
    simulate.add_arguments(simulated)
    nightly.add_arguments(commands.add_parser("nightly", help="the scenarios with faults, over many seeds"))
    fanned = commands.add_parser("fanout", help="many real daemons on this machine pull one image at once")
    fanout.add_arguments(fanned)
    options = parser.parse_args(argv)
    if options.command == "simulate":
        sys.exit(simulate.run(options, list(argv if argv is not None else sys.argv[1:])))
    if options.command == "nightly":
        sys.exit(nightly.run(options))
    if options.command == "fanout":
        sys.exit(fanout.run(options))
    demo.run()


if __name__ == "__main__":
    main()
