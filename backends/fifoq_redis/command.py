"""Commands as they are sent: a count, and each word with its length."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import hiredis
import msgpack

Word = bytes | int | str

_pack: Callable[[tuple[Word, ...]], bytes] = cast(Any, hiredis).pack_command
_pack_values: Callable[[Any], bytes] = cast(Any, msgpack).Packer(use_bin_type=False).pack


def encode(*words: Word) -> bytes:
    """A command."""
    return _pack(words)


def encode_words(*words: Word) -> bytes:
    """
    Words of a command, without its head: those that many have in common are packed once.

    With a queue's keys among them each call took 3.2 µs, and takes 1.2 µs.
    """
    packed = _pack(words)
    return packed[packed.index(b"\n") + 1 :]


def encode_call(function: bytes, keys: bytes, known: int, values: Sequence[Any], blobs: Sequence[bytes]) -> bytes:
    """
    A command of `known` words that were packed before, as `function` and `keys`; of what the function is told; and of
    what it keeps as it is.

    All that it is told is one word, msgpack values one behind the other: with a word for each, one job at a time took
    4 % more of the worker's instructions, and 2 % more of the server's.
    """
    told = _pack_values(values)
    told = told[1 if len(values) < 16 else 3 :]  # without the array's head
    kept = encode_words(*blobs) if blobs else b""
    return b"*%d\r\n%b%b$%d\r\n%b\r\n%b" % (known + 1 + len(blobs), function, keys, len(told), told, kept)
