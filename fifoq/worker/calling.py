"""One call of a task's function: from the payload to the encoded result, and what may go wrong on the way."""

from typing import Any

from fifoq.codec import check_size
from fifoq.errors import InvalidArguments


class Unreadable(Exception):
    """The arguments of a stored job cannot be rebuilt. Another try would not help."""


class Unsendable(Exception):
    """The function returned something that cannot be stored. Its work is done: another try would do it twice."""


def read(decode: Any, payload: bytes, limit: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Rebuild the arguments. Raises Unreadable."""
    try:
        if len(payload) > limit:
            check_size(payload, limit, "The job's payload")
        return decode(payload)
    except Exception as error:
        raise Unreadable(_text(error)) from error


def write(encode: Any, value: Any, limit: int) -> bytes:
    """Encode a result. Raises Unsendable."""
    try:
        result: bytes = encode(value)
        if len(result) > limit:
            check_size(result, limit, "The result")
    except Exception as error:
        raise Unsendable(
            f"The function returned, but its result, a {type(value).__name__}, cannot be sent: {_text(error)} "
            "Return plain data or a model, as the return annotation says, and requeue the job if it is safe to repeat."
        ) from error
    return result


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, InvalidArguments) else f"{type(error).__name__}: {error}"
