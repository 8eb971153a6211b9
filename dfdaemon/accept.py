"""Whether a client takes content of some type: its Accept headers (RFC 9110, section 12.5.1)."""


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


def _excluded(parameters: list[str]) -> bool:
    weights = (parameter.replace(" ", "").lower() for parameter in parameters)
    return any(weight.startswith("q=0") and not weight[3:].strip(".0") for weight in weights)
