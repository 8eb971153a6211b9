"""Numbers and files as they are typed on a command line."""

import argparse
import string
from pathlib import Path

UNITS = {"": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "kb": 10**3, "mb": 10**6, "gb": 10**9}


def count_of_bytes(text: str) -> int:
    """Read a number of bytes, such as 33554432, 32MiB or 4MB."""
    number = text.rstrip(string.ascii_letters)
    unit = text[len(number) :].lower()
    if not number.isdigit() or unit not in UNITS or int(number) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bytes such as 32MiB")
    return int(number) * UNITS[unit]


def positive(text: str) -> int:
    """Read a number of 1 or more."""
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 1 or more")
    return int(text)


def new_file(text: str) -> Path:
    """Read where to write results: looked at before the work of minutes that they come from."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written: name a file in a folder that is there")
    return path
