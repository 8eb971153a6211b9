import pytest

from dfdaemon.accept import WHOLE, form_of, takes, takes_all

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


DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"


@pytest.mark.parametrize(
    ("accept", "whole"),
    [
        ((), True),
        ((f"{DOCKER}, {LIST}, {MANIFEST}, {INDEX}, */*",), True),
        ((DOCKER, LIST, MANIFEST, INDEX), True),
        (("*/*",), False),
        ((MANIFEST, INDEX), False),
        ((DOCKER, f"{LIST};q=0.5", MANIFEST, INDEX), False),
        ((DOCKER, f"{LIST};bad", MANIFEST, INDEX), False),
        ((DOCKER, f'x;y=",{LIST},"', MANIFEST, INDEX), False),
    ],
)
def test_who_names_every_type_is_given_what_the_tag_names(accept: tuple[str, ...], whole: bool) -> None:
    assert takes_all(accept) is whole


def test_headers_that_name_the_same_have_one_form() -> None:
    assert form_of((MANIFEST, INDEX)) == form_of((f"{INDEX.upper()} ,{MANIFEST}",)) != form_of((MANIFEST,))
    assert form_of(()) == form_of((f"{DOCKER}, {LIST}, {MANIFEST}, {INDEX}, */*",)) == WHOLE
    assert form_of(("",)) != WHOLE != form_of(("*/*\udcff",))
