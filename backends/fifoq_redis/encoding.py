"""
Encoding of commands, and of the values of functions and their replies, as msgpack.

Payload, meta, results, errors and progress are never decoded, here or in Lua. The head of each verb in lua/verbs has
its shapes.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import hiredis
import msgpack

from fifoq.limits import GateSettings
from fifoq.queue import (
    BlockedKeyRecord,
    Call,
    Changed,
    Conflict,
    Declare,
    Full,
    Gate,
    Override,
    Pause,
    PutReply,
    Receipt,
    Setting,
    Stats,
)
from fifoq.record import (
    Cancel,
    Claimed,
    Damaged,
    Extension,
    Fail,
    Filter,
    Hold,
    JobSpec,
    Lease,
    Outcome,
    Record,
    Records,
    Release,
    Retry,
    Settlement,
    State,
    Succeed,
    checked,
    damage_of_spec,
    fast_constructor,
    is_sound,
)

Word = bytes | int | str

# ---- commands ----


_pack: Callable[[tuple[Word, ...]], bytes] = cast(Any, hiredis).pack_command
_pack_values: Callable[[Any], bytes] = cast(Any, msgpack).Packer(use_bin_type=False).pack


def encode(*words: Word) -> bytes:
    """Return a command."""
    return _pack(words)


def encode_words(*words: Word) -> bytes:
    """
    Return words of a command, without its head, so that words of many commands are packed once.

    With a queue's keys packed once a call takes 1.2 µs instead of 3.2 µs.
    """
    packed = _pack(words)
    return packed[packed.index(b"\n") + 1 :]


def encode_call(function: bytes, keys: bytes, known: int, values: Sequence[Any], blobs: Sequence[bytes]) -> bytes:
    """
    Return the command of a call: `known` packed words, in `function` and `keys`; the values; and blobs, stored unread.

    The values are one word, msgpack one behind the other: with a word for each, one job at a time took 4 % more of the
    worker's instructions, and 2 % more of the server's.
    """
    packed = _pack_values(values)
    packed = packed[1 if len(values) < 16 else 3 :]  # without the array's head
    stored = encode_words(*blobs) if blobs else b""
    return b"*%d\r\n%b%b$%d\r\n%b\r\n%b" % (known + 1 + len(blobs), function, keys, len(packed), packed, stored)


# ---- values ----


pack: Callable[[Any], bytes] = msgpack.Packer().pack
unpack: Callable[[bytes], Any] = cast(Any, msgpack).unpackb
unpack_raw: Callable[[bytes], Any] = partial(cast(Any, msgpack).unpackb, raw=True)
"""The same, with texts as bytes."""
STATES: dict[int, State] = dict(
    enumerate((State.SCHEDULED, State.WAITING, State.RUNNING, State.SUCCEEDED, State.FAILED, State.CANCELLED))
)
_NUMBER = {state: number for number, state in STATES.items()}
_HOLDS = {ord("h"): Hold.HELD, ord("c"): Hold.CANCEL, ord("l"): Hold.LOST}

_spec, _lease, _receipt, _record = (
    fast_constructor(JobSpec),
    fast_constructor(Lease),
    fast_constructor(Receipt),
    fast_constructor(Record),
)


# ---- jobs ----


def pack_spec(spec: JobSpec) -> bytes:
    """Return a job as it is put: the fields that the server reads come first, payload and meta last."""
    id, task, payload, key, value, priority, delay, in_line, expires, unique, retain, owner, meta = spec
    return pack((id, task, key, value, priority, delay, in_line, expires, unique, retain, owner, payload, meta))


def read_spec(values: list[Any]) -> JobSpec:
    id, task, key, value, priority, delay, in_line, expires, unique, retain, owner, payload, meta = values
    return _spec((id, task, payload, key, value, priority, delay, in_line, expires, unique, retain, owner, meta))


def read_record(id: str, packed: bytes, entry: int = 0) -> Record | Damaged:
    """Return the record of a job, as it comes by itself: any of its parts may be damaged."""
    try:
        spec, entry, seq, state, *rest, damaged = unpack(packed)
        record = checked(_record((read_spec(spec), entry, seq, STATES[state], *rest)))
    except Exception as error:
        return Damaged(id, entry, f"it cannot be decoded ({type(error).__name__})")
    if isinstance(record, Damaged):
        return record._replace(id=id)
    if damaged or record.spec.id != id:
        return Damaged(id, entry, "its record was missing or unreadable" if damaged else "its call has another id")
    return record


def read_records(ids: Sequence[str], reply: bytes) -> tuple[Record | Damaged | None, ...]:
    found = zip(ids, unpack_raw(reply), strict=True)
    return tuple([None if packed is None else read_record(id, packed) for id, packed in found])


def read_page(reply: bytes) -> Records:
    found, behind = unpack_raw(reply)
    entries, ids, packed = found[::3], found[1::3], found[2::3]
    jobs = zip(entries, ids, packed, strict=True)
    return Records(tuple([read_record(text_of(id), one, entry) for entry, id, one in jobs]), behind)


def read_specs(reply: bytes) -> list[Any]:
    """Return the first values of the records in a reply to `get`, each a spec, or None if it cannot be read."""
    return [_first_value(packed) for packed in unpack_raw(reply)]


def _first_value(packed: bytes | None) -> Any:
    try:
        reader = _reader(packed or b"")
        reader.read_array_header()
        return reader.unpack()
    except Exception:
        return None


def text_of(data: bytes) -> str:
    """Return an id that the store holds, readable in any case."""
    return data.decode("utf-8", "backslashreplace")


# ---- put ----


def read_receipts(reply: Any, batch: Sequence[JobSpec]) -> PutReply:
    """Return the reply to one batch. None: all its jobs were created."""
    if reply is None:
        return tuple([_receipt((spec.id, True)) for spec in batch])
    kind, *rest = reply
    if kind == "f":
        task, capacity, live, asked = rest
        return Full(task or None, capacity, live, asked)
    if kind == "c":
        return Conflict(rest[0])
    return tuple([_receipt(pair) for pair in zip(rest[::2], rest[1::2], strict=True)])


# ---- leases ----


class ClaimReply(NamedTuple):
    """The reply to a claim."""

    leases: list[list[Any]]
    now: int
    next_timer: int | None
    version: int
    specs: list[Any] | None
    """None: one of them is damaged in a way that makes all of them unreadable, so they have to be read one by one."""


def unpack_claimed(reply: bytes) -> ClaimReply:
    """Return the reply to a claim."""
    try:
        return ClaimReply(*unpack(reply))
    except Exception:
        reader = _reader(reply)
        return _claimed_without_specs(reader)


def unpack_settled_and_claimed(reply: bytes) -> tuple[Any, ClaimReply] | None:
    """Return the replies to a settle and a claim that were sent together; None if neither was done."""
    try:
        both = unpack(reply)
        return both and (both[0], ClaimReply(*both[1]))
    except Exception:
        reader = _reader(reply)
        reader.read_array_header()
        return reader.unpack(), _claimed_without_specs(reader)


def _reader(reply: bytes) -> Any:
    reader = cast(Any, msgpack).Unpacker()
    reader.feed(reply)
    return reader


def _claimed_without_specs(reader: Any) -> ClaimReply:
    reader.read_array_header()
    leases, now, next_timer, version = (reader.unpack() for _ in range(4))
    return ClaimReply(leases, now, next_timer, version, None)


def read_claimed(reply: ClaimReply, specs: list[Any], call: Call, since: float | None) -> Claimed:
    """Return the leases, which count from `since`. `specs` are read, or in place of each a sentence on its damage."""
    now = reply.now
    prefix = f"{call.caller}.{call.number}."
    leases: list[Lease] = []
    for (id, task, _, _, fence, entry, seq, attempt, crashes, created), packed in zip(reply.leases, specs, strict=True):
        try:
            spec = read_spec(packed)
            sound = is_sound(spec) and created is not False
        except (TypeError, ValueError):
            spec, sound = None, False
        if sound:
            leases.append(_lease((spec, f"{prefix}{fence}", fence, entry, seq, attempt, crashes, created, now, None)))
        else:
            reason = (spec and damage_of_spec(spec)) or "its record is missing or unreadable, or contradicts its call"
            lease = Lease(JobSpec(id, task, b""), f"{prefix}{fence}", fence, entry, seq, attempt, 0, now, now, reason)
            leases.append(lease)
    return Claimed(tuple(leases), reply.next_timer, since=since)


def split_settlements(settlements: Sequence[Settlement]) -> tuple[list[tuple[Any, ...]], list[bytes]]:
    """Return the settlements as values, and their results and errors as blobs."""
    heads: list[tuple[Any, ...]] = []
    blobs: list[bytes] = []
    for id, token, outcome in settlements:
        if type(outcome) is Succeed:
            heads.append((id, token, "s", outcome.retain))
            blobs.append(pack(outcome.result))
        else:
            heads.append((id, token, *_other_outcome(outcome, blobs)))
    return heads, blobs


def _other_outcome(outcome: Outcome, blobs: list[bytes]) -> tuple[Any, ...]:
    match outcome:
        case Fail(error, halt, retain):
            blobs.append(pack(error))
            return "f", retain, halt
        case Cancel(reason, retain):
            return "c", retain, reason
        case Retry(after, error, retain):
            blobs.append(pack(error))
            return "r", retain, after
        case Release(after, retain):
            return "l", retain, after
        case Succeed():
            raise AssertionError("packed before")


def read_states(reply: Any) -> tuple[State | None, ...]:
    return tuple([None if number is None else STATES[number] for number in reply])


def split_extensions(extensions: Sequence[Extension]) -> tuple[list[tuple[Any, ...]], list[bytes]]:
    """Return the extensions as values, and their progress as blobs."""
    heads = [(id, token, lease, progress is not None) for id, token, lease, progress in extensions]
    return heads, [pack(one.progress) for one in extensions if one.progress is not None]


def read_holds(reply: bytes) -> tuple[Hold, ...]:
    return tuple([_HOLDS[letter] for letter in reply])


# ---- operators ----


def read_changed(reply: bytes) -> tuple[Changed, ...]:
    return tuple([Changed(_state(state), changed, conflict) for state, changed, conflict in unpack(reply)])


def _state(number: int | None) -> State | None:
    return None if number is None else STATES[number]


def plain_settings(settings: Collection[Setting]) -> list[tuple[Any, ...]]:
    return [_setting(one) for one in settings]


def _setting(setting: Setting) -> tuple[Any, ...]:
    match setting:
        case Declare(task, settings):
            return "declare", task or "", None, _gate_settings(settings)
        case Override(task, settings):
            return "override", task or "", None, settings is not None and _gate_settings(settings)
        case Pause(task, key):
            return "pause", task or "", key, False
        case _:
            return "resume", setting.task or "", setting.key, False


def _gate_settings(settings: GateSettings) -> list[int | bool]:
    """Return the values of settings, false for none: Lua's arrays have no holes."""
    return [False if value is None else value for value in settings]


# ---- reading ----


def plain_filter(filter: Filter) -> list[Any]:
    state, *rest = filter
    return [False if state is None else _NUMBER[state], *[False if one is None else one for one in rest]]


def read_stats(reply: bytes) -> Stats:
    counts, found = unpack(reply)
    scheduled, running, succeeded, failed, cancelled, purged, accepted, age = counts
    waiting = accepted - purged - scheduled - running - succeeded - failed - cancelled
    gates = {task: _gate(task, *values) for task, *values in found if task == "" or _is_known(*values)}
    own = gates.pop("", Gate(None, GateSettings(), overridden=False, paused=False, live=0, running=0))
    tasks = [gates[task] for task in sorted(gates)]
    return Stats(scheduled, waiting, running, succeeded, failed, cancelled, purged, accepted, age, (own, *tasks))


def _is_known(live: int, _: int, paused: bool, declared: Any, override: Any) -> bool:
    """Whether `stats` shows the gate."""
    return live > 0 or paused or declared is not False or override is not False


def _gate(task: str, live: int, running: int, paused: bool, declared: Any, override: Any) -> Gate:
    return Gate(task or None, _read_settings(override or declared), override is not False, paused, live, running)


def _read_settings(values: list[int | bool] | bool) -> GateSettings:
    if isinstance(values, bool):
        return GateSettings()
    limit, value_limit, capacity, interval, burst = (None if value is False else value for value in values)
    return GateSettings(limit, value_limit, capacity, interval, cast("int", burst))


def read_blocked(reply: bytes) -> tuple[tuple[BlockedKeyRecord, ...], tuple[int, str] | None]:
    """Return the keys, and the (since, key) behind which there are more."""
    keys, more, since, key = unpack(reply)
    return tuple([BlockedKeyRecord(*one) for one in keys]), (since, key) if more else None
