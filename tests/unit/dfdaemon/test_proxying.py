"""NO_PROXY as Go's clients read it."""

import pytest

from dfdaemon.proxying import NoProxy, proxy_url


@pytest.mark.parametrize(
    ("no_proxy", "past", "through"),
    [
        ("", ["localhost:80", "127.0.0.1:5000", "127.9.9.9:80", "::1:80", "::ffff:127.0.0.1:80"], ["a.b:80"]),
        (
            "corp.test",
            ["corp.test:443", "r.corp.test:5000", "a.r.corp.test:80"],
            ["xcorp.test:80", "test:80"],
        ),
        (".corp.test", ["r.corp.test:443", "a.r.corp.test:443"], ["corp.test:443", "rcorp.test:443"]),
        ("*.corp.test", ["r.corp.test:443", "a.r.corp.test:443"], ["corp.test:443", "rcorp.test:443"]),
        ("r.corp.test:5000", ["r.corp.test:5000", "a.r.corp.test:5000"], ["r.corp.test:443"]),
        (".corp.test:5000", ["r.corp.test:5000"], ["r.corp.test:443", "corp.test:5000"]),
        ("R.Corp.Test", ["r.corp.test:443"], ["s.corp.test:443"]),
        ("r.corp.test", ["R.CORP.TEST:443"], []),
        ("10.0.0.5", ["10.0.0.5:80", "::ffff:10.0.0.5:80"], ["10.0.0.50:80", "110.0.0.5:80"]),
        ("10.0.0.5:5000", ["10.0.0.5:5000"], ["10.0.0.5:80"]),
        ("10.0.0.0/8", ["10.255.0.1:80", "::ffff:10.0.0.1:80"], ["11.0.0.1:80", "fd00::1:80", "a.b:80"]),
        ("10.1.2.3/8", ["10.255.0.1:80"], ["11.0.0.1:80"]),
        ("fd00::5", ["fd00::5:80"], ["fd00::6:80"]),
        ("[fd00::5]:5000", ["fd00::5:5000"], ["fd00::5:80"]),
        ("[fd00::5]", ["fd00::5:5000"], ["fd00::6:5000"]),
        ("fd00::/8", ["fd00::5:80", "fdff::1:80"], ["2001:db8::1:80"]),
        ("*", ["r.test:443", "8.8.8.8:80"], []),
        ("a.test, *", ["r.test:443"], []),
        (" a.test ,\tb.test,,", ["a.test:80", "b.test:80"], ["c.test:80"]),
        ("bücher.test", ["xn--bcher-kva.test:80", "bücher.test:80"], ["bucher.test:80"]),
        ("not/anetwork, :80, ., *., [, 1.2.3.4/99", ["localhost:80"], ["a.test:80", "1.2.3.4:80"]),
        ("*corp.test", [], ["r.corp.test:443", "xcorp.test:443"]),
    ],
)
def test_what_is_reached_past_the_proxy(no_proxy: str, past: list[str], through: list[str]) -> None:
    found = NoProxy(no_proxy)
    for expected, places in (True, past), (False, through):
        for place in places:
            host, _, port = place.rpartition(":")
            assert found.matches(host, int(port)) is expected, f"{place} with {no_proxy!r}"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://proxy:3128", "http://proxy:3128"),
        ("https://ann:pw@proxy.test:3128/", "https://ann:pw@proxy.test:3128/"),
        ("proxy:3128", "http://proxy:3128"),
        ("proxy.test", "http://proxy.test"),
        ("10.0.0.5:3128", "http://10.0.0.5:3128"),
        ("ann:pw@proxy.test:3128", "http://ann:pw@proxy.test:3128"),
        ("[::1", "http://[::1"),
    ],
)
def test_a_proxy_without_a_scheme_is_one_over_http(text: str, url: str) -> None:
    assert proxy_url(text) == url
