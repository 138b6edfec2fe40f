"""A task's signature: its arguments and result as values, and as bytes. Checked at enqueue, rebuilt in the worker."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Arguments(NamedTuple):
    """One checked call: its payload, and its arguments by parameter name, defaults filled in."""

    payload: bytes
    by_name: Mapping[str, Any]


class Signature:
    """The parameters and the result of one function, without its Context."""

    def __init__(self, function: Callable[..., Any], *, takes_context: bool = False) -> None:
        raise RuntimeError("not written yet")

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Arguments:
        """Check one call and return what to send. Raises InvalidArguments, naming the parameter, or PayloadTooLarge."""
        raise RuntimeError

    def decode(self, payload: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Rebuild the arguments of a payload, with their types. Raises InvalidArguments."""
        raise RuntimeError

    def encode_result(self, value: Any) -> bytes:
        """Return what to store of a result. Raises InvalidArguments if it does not fit or cannot be sent."""
        raise RuntimeError

    def decode_result(self, data: bytes) -> Any:
        """Rebuild a result, with the type of the return annotation."""
        raise RuntimeError
