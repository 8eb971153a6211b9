"""Whether a client takes content of some type: its Accept headers (RFC 9110, section 12.5.1)."""

from hashlib import blake2b

from dfdaemon.descriptors import IMAGE_TYPES, INDEX_TYPES

WHOLE = ""
"""The form of all headers that are answered with what a tag names."""


def takes(accept: tuple[str, ...], media_type: str) -> bool:
    """Tell whether one of the header's ranges covers a media type; without a header everything is taken.

    Weights are not looked at, but for 0, which excludes.
    """
    if not accept:
        return True
    kind = media_type.partition("/")[0]
    wanted = {media_type.lower(), f"{kind}/*".lower(), "*/*"}
    ranges = (entry.split(";") for line in accept for entry in line.split(","))
    return any(name.strip().lower() in wanted and not _excluded(parameters) for name, *parameters in ranges)


def takes_all(accept: tuple[str, ...]) -> bool:
    """Tell whether a registry that reads these headers answers with what a tag names, whatever kind of image it is.

    To who does not name the type of an index registries send one of its images instead, `*/*` or not. Without a
    header we name all types; parameters and quotes, which each reader understands in its own way, name none.
    """
    named = {entry.strip() for line in accept if '"' not in line for entry in line.split(",")}
    return not accept or named >= IMAGE_TYPES | INDEX_TYPES


def form_of(accept: tuple[str, ...]) -> str:
    """Return what headers have in common that are answered alike: WHOLE, or a hash of what they name."""
    if takes_all(accept):
        return WHOLE
    named = sorted({entry.strip().lower() for line in accept for entry in line.split(",")})
    return blake2b(",".join(named).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def _excluded(parameters: list[str]) -> bool:
    weights = (parameter.replace(" ", "").lower() for parameter in parameters)
    return any(weight.startswith("q=0") and not weight[3:].strip(".0") for weight in weights)
