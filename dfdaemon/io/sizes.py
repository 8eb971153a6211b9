"""Sizes as people read them."""


def human_bytes(count: float) -> str:
    """Return bytes in the largest binary unit that keeps a number below 1024, such as `3.2 MiB`."""
    if count < 1024:
        return f"{count:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if count < 1024:
            return f"{count:.1f} {unit}"
    return f"{count / 1024:.1f} TiB"
