"""The log of `fifoq worker`, on standard error: as text, or as one JSON object a line."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

SHOWN_BY_THE_BANNER = ("worker_started", "task_served")
"""Events of fifoq.worker.log. A supervisor does without that module, which imports all of the worker."""
FIELDS = (
    "event",
    "worker",
    "queue",
    "task",
    "job",
    "key",
    "attempt",
    "seconds",
    "wait",
    "error",
    "error_message",
    "traceback",
    "store",
    "queues",
)
"""The fields of docs/logging.md, in the order of a line."""


class TextLines(logging.Formatter):
    """Time, level, logger, message: with a process id, as several processes write into one terminal."""

    default_msec_format = "%s.%03d"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(process)d %(name)s: %(message)s")


class JsonLines(logging.Formatter):
    """One JSON object a line, with the fields that a record has."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname,
            "logger": record.name,
            "msg": record.getMessage(),
            "pid": record.process,
        }
        values = vars(record)
        line |= {name: values[name] for name in FIELDS if values.get(name) is not None}
        if "traceback" not in line and (record.exc_info or record.exc_text):
            line["traceback"] = record.exc_text or self.formatException(record.exc_info or (None, None, None))
        return json.dumps(line, default=str)


def configure(form: str | None, *, quiet: bool) -> None:
    """
    Have the log written to standard error, warnings alone if `quiet`.

    A program that has configured its log keeps it, unless a form was asked for.
    """
    root = logging.getLogger()
    if form is None and logging.getLogger("fifoq").hasHandlers():
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    if form != "json":
        handler.addFilter(_is_not_in_the_banner)
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING if quiet else logging.INFO)


def _is_not_in_the_banner(record: logging.LogRecord) -> bool:
    return vars(record).get("event") not in SHOWN_BY_THE_BANNER
