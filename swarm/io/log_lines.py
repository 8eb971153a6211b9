"""The form of log lines: one line for one fact, as text for people or as JSON for machines."""

import json
import logging
import traceback
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from swarm.io.redaction import scrub

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
"""The names of levels in configurations."""
VALUE_MAX = 8_192
"""Characters of one value; a longer one is cut, since a log line is not a place for content."""

Field = tuple[str, str | int | float]
LineFormat = Callable[[str, str, Iterable[Field]], str]
"""Makes a line of a level's name, the name of what happened, and the fields."""


def text_line(level: str, event: str, fields: Iterable[Field]) -> str:
    """Return `2026-01-31T12:00:00.000Z INFO event key=value key="value with spaces"`."""
    words = [_now(), level, event]
    words.extend(f"{key}={_text_value(value)}" for key, value in fields)
    return " ".join(words)


def json_line(level: str, event: str, fields: Iterable[Field]) -> str:
    """Return one JSON object with `time`, `level`, `event` and the fields."""
    line: dict[str, str | int | float] = {"time": _now(), "level": level, "event": event}
    line.update((key, _clean(value)) for key, value in fields)
    return json.dumps(line, ensure_ascii=False)


FORMATS: dict[str, LineFormat] = {"text": text_line, "json": json_line}
"""The values of `log_format`."""


class ForeignFormatter(logging.Formatter):
    """Gives the log records of libraries the form of ours; a traceback stays within its line."""

    def __init__(self, line: LineFormat) -> None:
        super().__init__()
        self._line = line

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line named `log`."""
        fields: list[Field] = [("logger", record.name), ("message", record.getMessage())]
        if record.exc_info and record.exc_info[1] is not None:
            fields.append(("traceback", "".join(traceback.format_exception(record.exc_info[1]))))
        return self._line(record.levelname, "log", fields)


def where(error: BaseException) -> str:
    """Return `TypeName: text (file:line)` for an error that nobody expected."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _clean(value: str | int | float) -> str | int | float:
    if not isinstance(value, str):
        return value
    return scrub(value if len(value) <= VALUE_MAX else f"{value[:VALUE_MAX]}...")


def _text_value(value: str | int | float) -> str:
    value = _clean(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    plain = text.isprintable() and text and not any(character in ' "=' for character in text)
    return text if plain else json.dumps(text, ensure_ascii=False)
