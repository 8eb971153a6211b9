"""What the failures of two HTTP clients are called."""

import ssl

import aiohttp
import h11
import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from dfdaemon.io.origin_errors import mapped_errors
from swarm.errors import (
    DamselflyError,
    NotAllowed,
    OriginContent,
    OriginCut,
    OriginTimeout,
    OriginUnreachable,
)


def proxys_answer(status: int) -> aiohttp.ClientHttpProxyError:
    """What aiohttp raises when a proxy does not connect us."""
    address = URL("https://r.test")
    info = aiohttp.RequestInfo(address, "CONNECT", CIMultiDictProxy(CIMultiDict()), address)
    return aiohttp.ClientHttpProxyError(info, (), status=status, message="secret")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (aiohttp.SocketTimeoutError("x"), OriginTimeout),
        (TimeoutError(), OriginTimeout),
        (aiohttp.ConnectionTimeoutError("x"), OriginUnreachable),
        (proxys_answer(503), OriginUnreachable),
        (aiohttp.ClientPayloadError("x"), OriginCut),
        (aiohttp.ServerDisconnectedError(), OriginCut),
        (aiohttp.ClientOSError(104, "reset"), OriginCut),
        (ConnectionResetError(), OriginCut),
        (aiohttp.ClientError("secret"), OriginContent),
        (ValueError("secret"), OriginContent),
        (h11.RemoteProtocolError("secret"), OriginContent),
        (ssl.SSLError(1, "secret"), OriginCut),
        (OriginCut("as it is"), OriginCut),
        (NotAllowed("x", "y"), NotAllowed),
    ],
)
def test_errors_are_mapped_once_and_name_the_target(error: Exception, expected: type[DamselflyError]) -> None:
    with pytest.raises(expected) as caught, mapped_errors("GET r/a blobs x"):
        raise error
    if not isinstance(error, DamselflyError):
        assert "GET r/a blobs x" in str(caught.value)
    assert "secret" not in str(caught.value)
