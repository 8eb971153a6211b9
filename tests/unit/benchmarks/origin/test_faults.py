"""Which faults strike which request, and how often."""

import pytest

from benchmarks.origin.faults import ANY, Fault, FaultKind, Request, Where, strike

LAYER, OTHER = "sha256:aa", "sha256:bb"
GET_LAYER = Request(Where.BLOB, "GET", (LAYER,))


def struck(faults: list[Fault], request: Request, *, redirects: bool = False) -> set[FaultKind]:
    return set(strike(faults, request, redirects=redirects).faults)


def test_a_fault_strikes_as_often_as_it_was_ordered() -> None:
    fault = Fault(FaultKind.STATUS, times=2)
    assert [struck([fault], GET_LAYER) for _ in range(3)] == [{FaultKind.STATUS}, {FaultKind.STATUS}, set()]
    assert fault.hits == 2


def test_a_fault_without_times_never_ends() -> None:
    fault = Fault(FaultKind.STATUS, times=None)
    assert all(struck([fault], GET_LAYER) for _ in range(10))


@pytest.mark.parametrize(
    ("fault", "strikes"),
    [
        (Fault(FaultKind.STALL, match=LAYER), True),
        (Fault(FaultKind.STALL, match=OTHER), False),
        (Fault(FaultKind.STALL, where=Where.MANIFEST), False),
        (Fault(FaultKind.STALL, method="HEAD"), False),
        (Fault(FaultKind.STALL, method=ANY), True),
    ],
)
def test_a_fault_strikes_only_what_it_was_ordered_for(fault: Fault, strikes: bool) -> None:
    assert bool(struck([fault], GET_LAYER)) == strikes


def test_a_manifest_is_struck_by_tag_and_by_digest() -> None:
    request = Request(Where.MANIFEST, "GET", ("v1", LAYER))
    for name in ("v1", LAYER):
        assert struck([Fault(FaultKind.STATUS, match=name, where=Where.MANIFEST)], request)


def test_two_faults_of_a_kind_strike_one_after_the_other_and_two_kinds_together() -> None:
    first, second = Fault(FaultKind.CUT_FIN, at_bytes=1), Fault(FaultKind.CUT_FIN, at_bytes=2)
    chunked = Fault(FaultKind.NO_LENGTH)
    faults = [first, second, chunked]
    assert strike(faults, GET_LAYER).faults == {FaultKind.CUT_FIN: first, FaultKind.NO_LENGTH: chunked}
    assert strike(faults, GET_LAYER).faults == {FaultKind.CUT_FIN: second}


def test_the_fault_of_a_body_moves_to_the_storage_with_the_body() -> None:
    cut, refused = Fault(FaultKind.CUT_FIN), Fault(FaultKind.STATUS)
    assert struck([cut, refused], GET_LAYER, redirects=True) == {FaultKind.STATUS}
    assert struck([cut], Request(Where.STORAGE, "GET", (LAYER,)), redirects=True) == {FaultKind.CUT_FIN}


def test_only_faults_of_the_body_keep_it_from_sendfile() -> None:
    assert not strike([Fault(FaultKind.IGNORE_RANGE), Fault(FaultKind.SLOW_HEADERS)], GET_LAYER).touches_body
    assert strike([Fault(FaultKind.WRONG_BYTE)], GET_LAYER).touches_body


def test_a_fault_is_the_same_after_json() -> None:
    fault = Fault(FaultKind.STATUS, match=LAYER, times=None, where=Where.TOKEN, retry_after_s=3)
    assert Fault.from_json(fault.as_json()) == fault
    assert Fault.from_json({"kind": "stall"}) == Fault(FaultKind.STALL)


@pytest.mark.parametrize(
    "document", [{}, {"kind": "unknown"}, {"kind": "stall", "wher": "blob"}, {"kind": "stall", "where": "x"}]
)
def test_a_fault_that_is_not_known_is_refused(document: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"fault|valid"):
        Fault.from_json(document)
