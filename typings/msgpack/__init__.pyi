"""What fifoq uses of msgpack, which ships no types."""

from collections.abc import Callable
from typing import Any

class ExtType:
    code: int
    data: bytes
    def __init__(self, code: int, data: bytes) -> None: ...

class Packer:
    def __init__(
        self, *, default: Callable[[Any], Any] | None = ..., strict_types: bool = ..., buf_size: int = ...
    ) -> None: ...
    def pack(self, o: object) -> bytes: ...

def unpackb(
    packed: bytes,
    *,
    ext_hook: Callable[[int, bytes], Any] = ...,
    strict_map_key: bool = ...,
    timestamp: int = ...,
) -> Any: ...
