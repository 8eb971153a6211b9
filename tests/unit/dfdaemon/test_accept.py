import pytest

from dfdaemon.accept import takes

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.mark.parametrize(
    ("accept", "taken"),
    [
        ((), True),
        ((INDEX,), True),
        ((MANIFEST,), False),
        ((MANIFEST, INDEX), True),
        ((f"{MANIFEST}, {INDEX};q=0.5",), True),
        ((f"{MANIFEST},*/*;q=0.1",), True),
        (("application/*",), True),
        (("text/*",), False),
        ((f"{INDEX};q=0",), False),
        ((f"{INDEX}; Q=0.000",), False),
        ((f"{INDEX};q=0.001",), True),
        ((INDEX.upper(),), True),
        (("",), False),
    ],
)
def test_a_client_takes_what_one_of_its_ranges_covers(accept: tuple[str, ...], taken: bool) -> None:
    assert takes(accept, INDEX) is taken
