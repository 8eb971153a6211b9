"""The words that `dfdaemon` takes instead of running: configure, unconfigure, doctor."""

from collections.abc import Sequence

from dfdaemon.io import doctor, install


def main(words: Sequence[str]) -> None:
    """Carry out a command line whose first word is one of ours."""
    verb, *rest = words
    if verb == "doctor":
        doctor.main(rest)
    else:
        install.main([verb, *rest])
