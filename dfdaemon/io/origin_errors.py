"""Turns what can go wrong on the way to an origin into OriginError, once."""

import contextlib
from collections.abc import Iterator

import aiohttp
import h11

from swarm.errors import NotAllowed, OriginContent, OriginCut, OriginError, OriginTimeout, OriginUnreachable


@contextlib.contextmanager
def mapped_errors(target: str) -> Iterator[None]:
    """Turn the errors of aiohttp, h11 and the system into ours; their texts hold no query and no credential."""
    try:
        yield
    except (OriginError, NotAllowed):
        raise
    except (aiohttp.ServerTimeoutError, TimeoutError) as error:
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            raise OriginUnreachable(f"no connection for {target} in time") from error
        raise OriginTimeout(f"the origin went silent on {target}") from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise OriginUnreachable(
            f"TLS to {error.host} for {target} failed: its certificate is not trusted"
        ) from error
    except aiohttp.ClientConnectorError as error:
        reason = error.strerror or type(error.os_error).__name__
        raise OriginUnreachable(f"no connection to {error.host} for {target}: {reason}") from error
    except aiohttp.ClientHttpProxyError as error:
        raise OriginUnreachable(
            f"no connection for {target}: the environment's proxy answered {error.status} when it was to connect us"
        ) from error
    except aiohttp.ClientPayloadError as error:
        raise OriginCut(f"the origin ended its answer to {target} before it was whole") from error
    except (aiohttp.ServerDisconnectedError, OSError) as error:
        raise OriginCut(f"the origin closed the connection on {target}") from error
    except (aiohttp.ClientError, h11.ProtocolError, ValueError) as error:
        raise OriginContent(f"the origin's answer to {target} is not HTTP: {type(error).__name__}") from error
