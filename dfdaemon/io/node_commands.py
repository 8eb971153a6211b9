"""The words that `dfdaemon` takes instead of running: configure, unconfigure, doctor."""

from collections.abc import Sequence

HELP = "Also: `dfdaemon configure RUNTIME`, `dfdaemon unconfigure RUNTIME`, `dfdaemon doctor`; each has a --help."


def main(words: Sequence[str]) -> None:
    """Carry out a command line whose first word is one of ours."""
    from dfdaemon.io import doctor, install  # 3 MiB that a running daemon does not need

    verb, *rest = words
    if verb == "doctor":
        doctor.main(rest)
    else:
        install.main([verb, *rest])
