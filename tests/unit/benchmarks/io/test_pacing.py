"""The shared rate, on a loop whose clock the test moves."""

import asyncio

import pytest

from benchmarks.io.pacing import BURST_S, STEP_BYTES_MAX, STEP_BYTES_MIN, Pacer


class Sleeper:
    """Stands for the loop's timer: sleeping moves its clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)
        monkeypatch.setattr(asyncio, "sleep", self.sleep)

    async def sleep(self, delay_s: float) -> None:
        self.now += delay_s


async def test_a_taker_gets_the_rate_after_the_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Sleeper(monkeypatch)
    pacer = Pacer(1_000_000)
    for _ in range(100):
        await pacer.take(20_000)
    assert clock.now - 1000.0 == pytest.approx(2.0 - BURST_S)


async def test_idle_time_is_not_saved_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Sleeper(monkeypatch)
    pacer = Pacer(1_000_000)
    await pacer.take(100_000)
    clock.now = 2000.0
    for _ in range(10):
        await pacer.take(100_000)
    assert clock.now - 2000.0 == pytest.approx(1.0 - BURST_S)


async def test_without_a_limit_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Sleeper(monkeypatch)
    await Pacer().take(1 << 40)
    assert clock.now == 1000.0


@pytest.mark.parametrize(
    ("rate", "step"),
    [(None, STEP_BYTES_MAX), (1, STEP_BYTES_MIN), (50e6, 100_000), (1e12, STEP_BYTES_MAX)],
)
def test_a_step_is_a_small_share_of_the_rate(rate: float | None, step: int) -> None:
    assert Pacer(rate).step_bytes == step
