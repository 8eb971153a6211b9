import io
import logging

import pytest

from swarm.facts import Note
from swarm.ids import HostId, TaskId
from swarm.io.notes import NOTES
from swarm.io.telemetry import EVENT_NAMES_MAX, LINES_PER_S, Telemetry


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Closed(io.StringIO):
    """A log that is gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def metrics(telemetry: Telemetry) -> str:
    return telemetry.exposition()[0].decode()


def test_a_note_becomes_a_line_and_a_count() -> None:
    stream = io.StringIO()
    telemetry = Telemetry("daemon", stream=stream)
    telemetry.note(Note("piece_rejected", TaskId("sha256:ab"), HostId("n1"), (("index", 4),)))
    assert lines(stream)[0].split(" ", 1)[1] == "WARNING piece_rejected task=sha256:ab host=n1 index=4"
    assert 'damselfly_daemon_events_total{event="piece_rejected"} 1.0' in metrics(telemetry)


def test_what_is_below_the_level_is_only_counted() -> None:
    stream = io.StringIO()
    telemetry = Telemetry("scheduler", log_level="warning", stream=stream)
    telemetry.note(Note("host_attached"))
    assert NOTES["host_attached"].level == "info"
    assert lines(stream) == []
    assert 'events_total{event="host_attached"} 1.0' in metrics(telemetry)


def test_a_storm_of_one_event_is_cut_short_and_summed_up() -> None:
    stream, clock = io.StringIO(), Clock()
    telemetry = Telemetry("daemon", stream=stream, clock=clock)
    for _ in range(LINES_PER_S + 7):
        telemetry.note(Note("parent_lost"))
    telemetry.note(Note("child_lost"))
    assert len(lines(stream)) == LINES_PER_S + 1
    clock.now += 1
    telemetry.note(Note("child_lost"))
    assert lines(stream)[-2].endswith("INFO lines_suppressed of=parent_lost count=7")
    assert f'events_total{{event="parent_lost"}} {LINES_PER_S + 7}.0' in metrics(telemetry)
    assert 'log_lines_suppressed_total{event="parent_lost"} 7.0' in metrics(telemetry)


def test_the_names_of_events_are_bounded() -> None:
    telemetry = Telemetry("daemon", stream=io.StringIO())
    for number in range(EVENT_NAMES_MAX + 10):
        telemetry.note(Note(f"event_{number}"))
    assert 'event="other"} 10.0' in metrics(telemetry)
    assert metrics(telemetry).count('events_total{event="') == EVENT_NAMES_MAX + 1


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    telemetry = Telemetry("daemon", stream=Closed())
    telemetry.note(Note("daemon_ready"))
    assert 'events_total{event="daemon_ready"} 1.0' in metrics(telemetry)


def test_counters_histograms_and_gauges_are_exposed() -> None:
    telemetry = Telemetry("daemon", stream=io.StringIO())
    telemetry.count("downloaded_bytes_total", 5, source="origin")
    telemetry.count("downloaded_bytes_total", 6, source="origin")
    telemetry.count("rings_total")
    telemetry.observe("join_answer_seconds", 0.0035)
    attached = [0.0]
    telemetry.gauge("scheduler_attached", lambda: attached[0])
    attached[0] = 1.0
    text = metrics(telemetry)
    assert 'damselfly_daemon_downloaded_bytes_total{source="origin"} 11.0' in text
    assert "damselfly_daemon_rings_total 1.0" in text
    assert 'damselfly_daemon_join_answer_seconds_bucket{le="0.003"} 0.0' in text
    assert 'damselfly_daemon_join_answer_seconds_bucket{le="0.004"} 1.0' in text
    assert "damselfly_daemon_scheduler_attached 1.0" in text
    assert "process_resident_memory_bytes" in text


def test_what_is_not_declared_is_not_counted() -> None:
    telemetry = Telemetry("daemon", stream=io.StringIO())
    with pytest.raises(KeyError):
        telemetry.count("invented_total")
    with pytest.raises(AssertionError, match="not declared as a gauge"):
        telemetry.gauge("rings_total", float)


def test_libraries_log_in_our_form() -> None:
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    for handler in before:
        root.removeHandler(handler)  # pytest's own must outlive basicConfig(force=True)
    try:
        Telemetry("daemon", "json", stream=stream).adopt_logging()
        logging.getLogger("some.library").info("chatter")
        logging.getLogger("some.library").warning("something")
    finally:
        for handler in list(root.handlers):
            root.removeHandler(handler)
        for handler in before:
            root.addHandler(handler)
        root.setLevel(level)
    assert len(lines(stream)) == 1
    assert '"logger": "some.library", "message": "something"' in lines(stream)[0]
