"""dfbench: the demo, and the measurements."""

import argparse
import errno
import sys

from benchmarks.io import attach, bytes_bench, calibrate, demo, fanout, netns, nightly, pull_bench, simulate

RUNS = {
    "attach": attach.run,
    "bytes": bytes_bench.run,
    "calibrate": calibrate.run,
    "fanout": fanout.run,
    "netns": netns.run,
    "nightly": nightly.run,
    "pull": pull_bench.run,
    "simulate": simulate.run,
}


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
    shaped = commands.add_parser(
        "netns", help="the fan-out between network namespaces with shaped links (root)"
    )
    netns.add_arguments(shaped)
    calibrated = commands.add_parser("calibrate", help="real runs and the simulator, side by side")
    calibrate.add_arguments(calibrated)
    attached = commands.add_parser("attach", help="one scheduler under the messages of many daemons")
    attach.add_arguments(attached)
    moved = commands.add_parser("bytes", help="one daemon's byte paths against nginx, curl and a loop in C")
    bytes_bench.add_arguments(moved)
    pulled = commands.add_parser(
        "pull", help="pulls through one daemon, by containerd from a registry (root)"
    )
    pull_bench.add_arguments(pulled)
    options = parser.parse_args(argv)
    options.arguments = sys.argv[1:] if argv is None else argv
    try:
        if options.command == "demo":
            demo.run()
        else:
            sys.exit(RUNS[options.command](options))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = "most commands write where --folder says"
        sys.exit(f"dfbench {options.command}: the disk is full ({error}): free some of it; {where}")


if __name__ == "__main__":
    main()
