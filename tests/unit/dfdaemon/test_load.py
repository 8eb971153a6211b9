from dfdaemon.load import CROWD, LoadMeter
from swarm.messages import Load


def test_a_crowded_second_makes_a_measurement() -> None:
    meter = LoadMeter()
    assert meter.look(CROWD, 0, received_bytes=100, now=0.0) is None
    assert meter.look(CROWD, 400, received_bytes=200, now=0.5) is None
    assert meter.look(CROWD, 600, received_bytes=600, now=2.0) == Load(500, 250, CROWD)


def test_uploads_that_are_few_measure_nothing() -> None:
    meter = LoadMeter()
    for second in range(10):
        assert meter.look(CROWD - 1, 1000, received_bytes=0, now=float(second)) is None


def test_crowded_times_add_up() -> None:
    meter = LoadMeter()
    meter.look(CROWD, 0, received_bytes=0, now=0.0)
    assert meter.look(1, 300, received_bytes=0, now=0.5) is None
    assert meter.look(CROWD, 999, received_bytes=0, now=50.0) is None
    load = meter.look(1, 300, received_bytes=0, now=50.5)
    assert load is not None
    assert load.upload_bytes_per_s == 600


def test_a_measurement_begins_anew() -> None:
    meter = LoadMeter()
    meter.look(CROWD, 0, received_bytes=0, now=0.0)
    meter.look(CROWD, 1000, received_bytes=1000, now=1.0)
    assert meter.look(CROWD, 10, received_bytes=1010, now=2.0) == Load(10, 10, CROWD)
