import pytest

from swarm.io.redaction import hide_userinfo, scrub


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer s3cr3t-value",
        "{'authorization': 'Basic s3cr3t-value=='}",
        "https://user:s3cr3t-value@registry.example.com/v2/",
        "https://storage/blob?X-Amz-Signature=s3cr3t-value&x=1",
        "https://storage/blob?X-Amz-Security-Token=s3cr3t-value",
        "https://storage/blob?sv=2020&sig=s3cr3t-value",
        '{"token": "s3cr3t-value", "access_token":"s3cr3t-value"}',
        "password=s3cr3t-value",
        "api_key: s3cr3t-value",
    ],
)
def test_credentials_are_hidden(text: str) -> None:
    assert "s3cr3t-value" not in scrub(text)
    assert "***" in scrub(text)


@pytest.mark.parametrize(
    "text",
    [
        "host n1 has another cluster token than the scheduler: give both the same token_file",
        "token_file = '/etc/damselfly/token' cannot be read: No such file or directory",
        'Bearer realm="https://auth.example.com/token",service="registry"',
        "sha256:0123456789abcdef is not in registry.example.com:5000/library/alpine",
        "the origin answered 401 to https://registry.example.com/v2/",
        "Basic authentication is needed",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert scrub(text) == text


def test_only_the_password_of_an_url_is_hidden() -> None:
    assert hide_userinfo("'http://me:pw@host:5000/x'") == "'http://me:***@host:5000/x'"
    assert hide_userinfo("http://host:5000/a@b") == "http://host:5000/a@b"


@pytest.mark.parametrize("part", ["x", "token", "token ", "bearer ", "://a:", "Basic", " \n"])
def test_no_text_takes_long(part: str) -> None:
    """Quadratic patterns would take minutes here, and the time-out of the test would end it."""
    assert len(scrub(part * 100_000)) > 0
