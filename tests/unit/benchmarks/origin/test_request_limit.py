from benchmarks.origin.request_limit import RequestLimit


def test_so_many_within_any_window() -> None:
    limit = RequestLimit(2, window_s=60)
    assert [limit.wait_s(now) for now in (0, 10, 20)] == [0, 0, 40]
    assert limit.wait_s(59.9) > 0
    assert limit.wait_s(60) == 0, "the first is out of the window"
    assert limit.wait_s(61) == 9


def test_none_at_all() -> None:
    limit = RequestLimit(0)
    assert {limit.wait_s(0) for _ in range(1000)} == {0}
