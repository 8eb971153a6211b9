"""Where a client is led that follows a registry's answers."""

import pytest

from dfdaemon.config import OriginConfig, RegistryConfig
from dfdaemon.endpoints import Endpoint, Endpoints
from dfdaemon.mirrored import mirrored, mirrored_links

ASKED = "http://origin:5000/v2/a/blobs/uploads/?x=1"


@pytest.fixture
def endpoint() -> Endpoint:
    config = OriginConfig(registries=(RegistryConfig(name="r:1", url="http://origin:5000"),))
    return Endpoints(config).of("r:1")


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("http://origin:5000/v2/a?b=c", "/v2/a?b=c&ns=r%3A1"),
        ("/v2/a", "/v2/a?ns=r%3A1"),
        ("7?state=s", "/v2/a/blobs/uploads/7?state=s&ns=r%3A1"),
        ("//origin:5000/v2/a", "/v2/a?ns=r%3A1"),
        ("https://origin:5000/v2/a", None),
        ("http://origin/v2/a", None),
        ("http://other:5000/v2/a", None),
        ("//other/v2/a", None),
        ("http://[bad", None),
        ("http://origin:99999/", None),
    ],
)
def test_locations(endpoint: Endpoint, location: str, expected: str | None) -> None:
    assert mirrored(location, ASKED, endpoint) == (expected or location)


def test_clients_keep_their_name_of_a_repository(endpoint: Endpoint) -> None:
    named = ("/v2/proxy/a", "/v2/a")
    assert mirrored("/v2/proxy/a/blobs/uploads/7", ASKED, endpoint, named) == "/v2/a/blobs/uploads/7?ns=r%3A1"
    assert mirrored("/v2/proxy/abc/x", ASKED, endpoint, named) == "/v2/proxy/abc/x?ns=r%3A1"


def test_links(endpoint: Endpoint) -> None:
    header = '</v2/a/tags/list?n=2&last=b>; rel="next", <https://docs.io/x>; rel="help"'
    expected = '</v2/a/tags/list?n=2&last=b&ns=r%3A1>; rel="next", <https://docs.io/x>; rel="help"'
    assert mirrored_links(header, ASKED, endpoint) == expected
