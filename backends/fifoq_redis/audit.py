"""
The audit: all derived data are recomputed from the jobs, as read in one call, and differences reported.

Expected values come from the jobs, and from gates and paused keys, but never from another derived structure.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, cast, get_args

import msgpack

from fifoq.queue import Audit
from fifoq.record import LARGEST, damage_of_spec
from fifoq_redis.encoding import read_spec, text_of, unpack

SCHEDULED, WAITING, RUNNING, SUCCEEDED, FAILED, CANCELLED = range(6)
_HALF = 1 << 48
_COUNTERS = (
    *("schema", "last_time", "offset", "number", "fence", "version", "accepted", "purged"),
    *("scheduled", "succeeded", "failed", "cancelled", "awaited", "first_timer"),
)
"""The counters of lua/lib/state.lua, in their order."""
_COUNTED = b"\0"
"""The field of the state with the counters."""


class Job(NamedTuple):
    """A job's record, as lua/lib/jobs.lua packs it."""

    state: int
    priority: int
    entry: int
    seq: int | None
    attempt: int
    created_at: int
    started_at: int | None
    lease_end: int | None
    spec_retain: int
    task: bytes
    key: bytes | None
    value: bytes | None
    token: bytes | None
    worker: bytes | None
    is_plain: bool
    crashes: int = 0
    due_at: int | None = None
    held_since: int | None = None
    expires_at: int | None = None
    finished_at: int | None = None
    kept_until: int | None = None
    retain: int | None = None
    cancel_requested: bool | None = False
    halted: bool | None = False
    result: bytes | None = None
    has_error: bool | None = False
    has_progress: bool | None = False
    unique: bytes | None = None
    owner: bytes | None = None
    reason: bytes | None = None
    damaged: bool | None = False

    @property
    def ended(self) -> bool:
        return self.state >= SUCCEEDED

    @property
    def live(self) -> bool:
        """Whether it is in the line of its key, if it has one."""
        return self.state in (WAITING, RUNNING) or bool(self.halted)

    @property
    def may_be_hidden(self) -> bool:
        """Whether it may be missing from READY while it waits."""
        return self.key is not None or self.value is not None or self.due_at is not None

    @property
    def timer(self) -> int | None:
        """The time at which it next changes by itself."""
        if self.state == RUNNING:
            return self.lease_end
        return (
            None if self.ended else min([at for at in (self.due_at, self.expires_at) if at is not None], default=None)
        )

    @property
    def place(self) -> bytes:
        """Its score, as bytes that compare like numbers."""
        return (((9 - self.priority) << 48) + (self.seq or 0)).to_bytes(7, "big")


_TYPES: dict[str, tuple[type, ...]] = {name: get_args(kind) or (kind,) for name, kind in Job.__annotations__.items()}
"""The types of each field of a job."""


class Dump:
    """The reply of the verb audit, by key."""

    def __init__(self, replies: list[list[bytes]]) -> None:
        pairs = [dict(zip(reply[::2], reply[1::2], strict=True)) for reply in replies]
        state, self.packed, self.specs, self.errors, self.progress = pairs[:5]
        self.counters: dict[str, int] = dict(zip(_COUNTERS, _all(state[_COUNTED]), strict=True))
        self.gates = {name: packed for name, packed in state.items() if not name.startswith(b"\0")}
        self.entries, self.waiting, self.ready, self.offers, self.values = pairs[5:10]
        self.lines, self.timers, self.ends, self.uniques, self.paused, self.blocked = pairs[10:16]
        self.awaited = pairs[-1]
        self.jobs: dict[bytes, Job] = {}
        self.damaged: dict[bytes, str] = {}
        """Jobs that cannot be read, and why. Their derived data cannot be recomputed."""
        for id in self.packed.keys() | self.specs.keys() | self.entries.keys():
            job, reason = _read_job(id, self)
            if reason is not None:
                self.damaged[id] = reason
            if job is not None:
                self.jobs[id] = job

    def count(self, name: str) -> int:
        return self.counters[name]

    def gate(self, task: bytes) -> list[Any]:
        """Return live, running, tat, paused, declared, override."""
        return _all(self.gates[task]) if task in self.gates else [0, 0, 0, False, False, False]

    def value_limit(self, task: bytes) -> int | None:
        *_, declared, override = self.gate(task)
        settings = override or declared
        return settings[1] or None if settings else None

    def line(self, key: bytes) -> list[tuple[bytes, Job]]:
        """Return the live jobs of a key, by seq."""
        jobs = [(id, job) for id, job in self.jobs.items() if job.key == key and job.live]
        return sorted(jobs, key=lambda one: one[1].seq or 0)


def audit(replies: list[list[bytes]]) -> Audit:
    """Compare all derived data with the jobs."""
    if _COUNTED not in replies[0][::2]:
        return Audit((), 0)
    dump = Dump(replies)
    differences = [f"Job {text_of(id)} is damaged: {reason}." for id, reason in sorted(dump.damaged.items())]
    try:
        differences += [text for check in _CHECKS for text in check(dump)]
    except Exception as error:
        differences.append(f"The rest cannot be compared: a stored value has no form of fifoq's ({error!r}).")
    return Audit(tuple(differences), len(dump.packed))


def _read_job(id: bytes, dump: Dump) -> tuple[Job | None, str | None]:
    """Return a job, if its fields are readable, and the reason if it is damaged all the same, or because of that."""
    missing = [
        name
        for name, there in (("record", dump.packed), ("call", dump.specs), ("entry", dump.entries))
        if id not in there
    ]
    if missing:
        return None, f"its {missing[0]} is missing"
    try:
        job = Job(*_all(dump.packed[id]))
    except Exception as error:
        return None, f"it cannot be decoded ({type(error).__name__})"
    for name, value in job._asdict().items():
        if type(value) not in _TYPES[name] or (type(value) is int and not -9 <= value <= LARGEST):
            return None, f"its {name} is {type(value).__name__}, or out of range"
    if not SCHEDULED <= job.state <= CANCELLED or (job.live and job.seq is None):
        return None, "its state is out of range"
    return job, _other_damage(id, job, dump)


def _other_damage(id: bytes, job: Job, dump: Dump) -> str | None:
    """Return the reason for which a job is damaged whose own fields are readable."""
    if job.damaged:
        return "its record was missing or unreadable, or contradicted its call"
    try:
        spec = read_spec(unpack(dump.specs[id]))
        reason = damage_of_spec(spec)
        if reason is None and spec.id.encode() != id:
            reason = "its call has another id"
        parts = [("error", dump.errors), ("progress", dump.progress)]
        for name, value in [("result", job.result), *((name, there.get(id)) for name, there in parts)]:
            if value is not None and type(unpack(value)) is not bytes:
                reason = reason or f"its {name} is of another type"
    except Exception as error:
        return f"it cannot be decoded ({type(error).__name__})"
    return reason


# ---- differences ----


def _extras(dump: Dump) -> Iterator[str]:
    flags: list[tuple[str, Mapping[bytes, bytes], Callable[[Job], bool]]] = [
        ("call", dump.specs, lambda job: True),
        ("error", dump.errors, lambda job: bool(job.has_error)),
        ("progress", dump.progress, lambda job: bool(job.has_progress)),
    ]
    for what, there, has in flags:
        expected = {id: b"" for id, job in dump.jobs.items() if has(job)}
        yield from _differ(f"the {what} of job", dict.fromkeys(there, b""), expected)


def _numbers(dump: Dump) -> Iterator[str]:
    jobs = dump.jobs.items()
    yield from _scores("the entry of job", dump.entries, {id: job.entry for id, job in jobs})
    waiting = {id: job.seq or 0 for id, job in jobs if job.state == WAITING and job.may_be_hidden}
    yield from _scores("the place of waiting job", dump.waiting, waiting)
    last = max([number for _, job in jobs for number in (job.entry, job.seq or 0)], default=0)
    if last > dump.count("number"):
        yield f"The last number given out is {dump.count('number')}, and a job has {last}."
    for id, job in jobs:
        if (job.token is not None, job.lease_end is not None) != (job.state == RUNNING, job.state == RUNNING):
            yield f"Job {id.decode()} is in state {job.state}; its token is {job.token} and its lease {job.lease_end}."
        if (job.kept_until is not None) != (job.ended and not job.halted):
            yield f"Job {id.decode()} is in state {job.state}, and kept until {job.kept_until}."


def _counts(dump: Dump) -> Iterator[str]:
    states = Counter(job.state for job in dump.jobs.values())
    names = {"scheduled": SCHEDULED, "succeeded": SUCCEEDED, "failed": FAILED, "cancelled": CANCELLED}
    expected = {name: states[state] for name, state in names.items()}
    expected["accepted"] = len(dump.jobs) + dump.count("purged")
    expected["awaited"] = len(dump.awaited)
    yield from _differ("the count of", {name: dump.count(name) for name in expected}, expected)
    live = Counter(job.task for job in dump.jobs.values() if not job.ended)
    running = Counter(job.task for job in dump.jobs.values() if job.state == RUNNING)
    live[b""], running[b""] = live.total(), running.total()
    for task in {*live, *dump.gates}:
        there, is_running, *_ = dump.gate(task)
        if (there, is_running) != (live[task], running[task]):
            yield (
                f"The gate {task.decode()!r} counts {there} live and {is_running} running jobs, "
                f"and has {live[task]} and {running[task]}."
            )


def _awaited(dump: Dump) -> Iterator[str]:
    for id in dump.awaited:
        job = dump.jobs.get(id)
        if job is None or job.ended:
            yield f"The end of job {id.decode()} is awaited, and the job {'has ended' if job else 'is not there'}."


def _uniques(dump: Dump) -> Iterator[str]:
    holders = {job.unique: id for id, job in dump.jobs.items() if job.unique and (job.live or job.state == SCHEDULED)}
    yield from _differ("the holder of the unique text", dump.uniques, holders)


def _times(dump: Dump) -> Iterator[str]:
    timers = {_slip(id, job.entry): job.timer for id, job in dump.jobs.items() if job.timer is not None}
    yield from _scores("the timer of", dump.timers, timers)
    if dump.count("first_timer") != min(timers.values(), default=False):
        yield f"The first timer is noted at {dump.count('first')}, and is at {min(timers.values(), default=False)}."
    yield from _retention(dump)


def _retention(dump: Dump) -> Iterator[str]:
    stored: dict[bytes, int] = {}
    for member, score in dump.ends.items():
        slips = _all(member)
        for entry, id in zip(slips[::2], slips[1::2], strict=True):
            job = dump.jobs.get(id)
            if _slip(id, entry) in stored:
                yield f"Job {id.decode()} is twice among those whose retention ends."
            if job is not None and job.state == FAILED and len(slips) > 2:
                yield f"Job {id.decode()} failed, and is not a single member among the ended jobs."
            stored[_slip(id, entry)] = int(float(score))
    ends = {_slip(id, job.entry): job.kept_until for id, job in dump.jobs.items() if job.kept_until is not None}
    yield from _differ("the end of the retention of", stored, ends)


def _lines(dump: Dump) -> Iterator[str]:
    live = {id: job for id, job in dump.jobs.items() if job.key is not None and job.live}
    expected = {b"%b\0%b" % (job.key or b"", _slip(id, job.seq or 0)): 0 for id, job in live.items()}
    yield from _scores("the place in line", dump.lines, expected)
    since = {
        key: at for key in {job.key for job in live.values()} | {*dump.paused} if key and (at := _since(dump, key))
    }
    yield from _scores("since when a key is blocked:", dump.blocked, since)


def _since(dump: Dump, key: bytes) -> int | None:
    """Return since when a key is blocked; None if it is not."""
    head = next((job for _, job in dump.line(key)), None)
    if head is not None and head.halted:
        return head.finished_at
    if key in dump.paused:
        return int(dump.paused[key])
    return head.held_since if head is not None and head.due_at is not None else None


def _offered(dump: Dump) -> Iterator[tuple[bytes, Job]]:
    heads: dict[bytes, int] = {}
    for job in dump.jobs.values():
        if job.key is not None and job.live:
            heads[job.key] = min(heads.get(job.key, _HALF), job.seq or 0)
    for id, job in dump.jobs.items():
        is_head = job.key is None or (heads.get(job.key) == job.seq and job.key not in dump.paused)
        if job.state == WAITING and job.due_at is None and is_head:
            yield id, job


def _ready(dump: Dump) -> Iterator[str]:
    offers: dict[tuple[bytes, bytes], list[bytes]] = defaultdict(list)
    ready: list[bytes] = []
    for id, job in _offered(dump):
        if job.value is None:
            ready.append(b"%b\0%b%b" % (job.task, job.place, id))
        else:
            offers[job.task, job.value].append(job.place + id)
    running = Counter((job.task, job.value) for job in dump.jobs.values() if job.state == RUNNING and job.value)
    values: dict[bytes, list[Any]] = {}
    for task, value in {*offers, *running}:
        assert value is not None
        first, limit, runs = min(offers[task, value], default=None), dump.value_limit(task), running[task, value]
        shown = first if limit is None or runs < limit else None
        values[b"%b\0%b" % (task, value)] = [runs, shown or False]
        if shown:
            ready.append(b"%b\0%b" % (task, shown))
    members = [b"%b\0%b\0%b" % (*gate, place) for gate, places in offers.items() for place in places]
    yield from _scores("what is offered:", dump.offers, dict.fromkeys(members, 0))
    yield from _differ("the gate of a value", {name: _all(packed) for name, packed in dump.values.items()}, values)
    yield from _scores("what is ready:", dump.ready, dict.fromkeys(ready, 0))


_CHECKS = (_extras, _numbers, _counts, _awaited, _uniques, _times, _lines, _ready)


# ---- reading and comparing ----


def _all(packed: bytes) -> list[Any]:
    """Return the values that Lua packed one after another."""
    unpacker = cast(Any, msgpack).Unpacker(raw=True)
    unpacker.feed(packed)
    return list(unpacker)


def _slip(id: bytes, number: int) -> bytes:
    return number.to_bytes(6, "big") + id


def _scores(what: str, stored: Mapping[bytes, bytes], expected: Mapping[bytes, int | None]) -> Iterator[str]:
    yield from _differ(what, {member: int(float(score)) for member, score in stored.items()}, expected)


def _differ(what: str, stored: Mapping[Any, Any], expected: Mapping[Any, Any]) -> Iterator[str]:
    for name in stored.keys() | expected.keys():
        if stored.get(name) != expected.get(name):
            yield f"As {what} {name!r} {stored.get(name)!r} is kept, and it should be {expected.get(name)!r}."
