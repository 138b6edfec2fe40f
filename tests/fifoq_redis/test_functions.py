"""The Lua library: constant text, all keys declared, loaded again after a flush, and refused where it must be."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

import fifoq_redis
from fifoq.errors import BackendCorrupt, BackendFull, BackendUnavailable, ConfigurationError
from fifoq.queue import Receipt
from fifoq.record import Extension, Hold, Release, Retry, Settlement, State
from fifoq.testing import AsyncDriver
from fifoq_redis import RedisBackend
from fifoq_redis.encoding import encode
from fifoq_redis.functions import VERBS, FunctionCaller, library
from fifoq_redis.keys import Keys
from fifoq_redis.topology import DirectTopology, Node
from tests.fifoq_redis.conftest import LONG, job, use_everything
from tests.servers import Server, Servers, Vendor

LUA = Path(fifoq_redis.__file__).parent / "lua"


@pytest.fixture
def client(any_redis_server: Server) -> Iterator[redis.Redis]:
    with any_redis_server.client() as client:
        yield client


def lua(folder: str) -> str:
    return "".join(path.read_text() for path in sorted(LUA.joinpath(folder).iterdir()))


def test_every_file_is_loaded() -> None:
    text = library().text.decode()
    assert all(path.read_text() in text for path in LUA.glob("*/*.lua"))


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_states_its_inputs_and_its_reply(name: str) -> None:
    [text] = [part for part in re.split(r"^-- ---- ", lua("verbs"), flags=re.MULTILINE) if part.startswith(f"{name} ")]
    header, _, code = text.partition("\ndo\n")
    assert header.startswith(f"{name} ----\n--\n-- ")
    assert re.search(r"\n-- KEYS     \w", header)
    assert re.search(r"\n-- ARGV     \w", header)
    assert re.search(r"\n-- returns  \w", header)
    assert f"\nverb('{name}', " in code


def name_faults(lib: str, verbs: str, calls: str) -> set[str]:
    """Return the names defined twice at the top level of `lib`, and those used nowhere, verbs by Python included."""
    registered = Counter(re.findall(r"^verb\('(\w+)'", verbs, re.MULTILINE))
    faults = {f"verb {name} twice" for name, count in registered.items() if count > 1}
    faults |= {f"verb {name} unused" for name in registered if f'"{name}"' not in calls}
    lib, code = without_comments_and_strings(lib), without_comments_and_strings(lib + verbs)
    lists = re.findall(r"^local (?!function )((?:\w+,\s+)*\w+)", lib, re.MULTILINE)
    variables = Counter(name for names in lists for name in re.split(r",\s+", names))
    functions = Counter(re.findall(r"\bfunction (\w+)", code))
    declared = variables + Counter(re.findall(r"^local function (\w+)", lib, re.MULTILINE))
    predeclared = Counter(re.findall(r"^ *function (\w+)", lib, re.MULTILINE))
    faults |= {f"{name} twice" for name, count in [*declared.items(), *predeclared.items()] if count > 1}
    uses = Counter(re.findall(r"(?<![.\w])\w+", code))
    return faults | {name + " unused" for name, count in (variables + functions).items() if uses[name] <= count}


def without_comments_and_strings(text: str) -> str:
    return re.sub(r"--[^\n]*|'(?:\\.|[^'\\\n])*'", "", text)


CALLS = re.sub(
    r"^VERBS = \(.*?^\)",
    "",
    "".join(path.read_text() for path in LUA.parent.glob("*.py")),
    flags=re.DOTALL | re.MULTILINE,
)
"""The Python of the package, without the list of the verbs."""


def test_each_name_of_the_library_is_defined_once_and_used() -> None:
    assert name_faults(lua("lib"), lua("verbs"), CALLS) == set()


@pytest.mark.parametrize(
    ("lib", "verbs", "fault"),
    [
        ("local function offer(job) return job end\n", "", "offer twice"),
        ("local gates\n", "", "gates twice"),
        ("do\n  function keep_until() end\nend\n", "", "keep_until twice"),
        ("local function unneeded() end -- unneeded()\n", "", "unneeded unused"),
        ("local a,\n      b = 1\nb = a\nlocal unneeded\nstate.unneeded = 'unneeded'\n", "", "unneeded unused"),
        ("do\n  local function unneeded() end\nend\n", "", "unneeded unused"),
        ("", "do\nlocal function unneeded() end\nend\n", "unneeded unused"),
        ("", "do\nverb('get', nil, nil, run)\nend\n", "verb get twice"),
        ("", "do\nverb('unneeded', nil, nil, run)\nend\n", "verb unneeded unused"),
    ],
)
def test_a_name_defined_twice_or_used_nowhere_is_found(lib: str, verbs: str, fault: str) -> None:
    assert name_faults(lua("lib") + lib, lua("verbs") + verbs, CALLS) == {fault}


def test_nothing_makes_up_a_key() -> None:
    """A command is called on one of the declared keys, or on the key of a change."""
    text = library().text.decode()
    called = set(re.findall(r"\bcall\('[A-Z]+', ([^),]+)", text))
    declared = set(re.findall(r"^(?:local|     ) +([A-Z]+),? +-- (?:string|hash|sorted set):", text, re.MULTILINE))
    assert declared >= {"STATE", "JOBS", "AWAITED"}
    through_values = {"key", "unpack(KEYS", "channel", "channels[index]", "'NUMSUB'"}
    assert called - declared <= through_values


async def test_only_declared_keys_are_used(driver: AsyncDriver, client: redis.Redis) -> None:
    await use_everything(driver)
    there = {key for key in client.scan_iter() if key not in (b"fifoq:queues", b"fifoq:schema")}
    assert there <= set(Keys.of("fifoq", "queue").all)
    assert len(there) > 13
    assert (await driver.queue.audit()).differences == ()


async def test_no_key_has_a_time_to_live(driver: AsyncDriver, client: redis.Redis) -> None:
    """A key with a time to live would be evicted by the volatile-* policies."""
    await use_everything(driver)
    assert all(client.ttl(key) == -1 for key in client.scan_iter())


async def test_functions_that_were_flushed_are_loaded_again(driver: AsyncDriver, client: redis.Redis) -> None:
    await driver.put(job("a", "k"), job("b", "k"))
    client.function_flush()
    (lease,) = await driver.leases(2)
    client.function_flush()
    assert await driver.succeed(lease) is State.SUCCEEDED
    assert [one.spec.id for one in await driver.leases(2)] == ["b"]


async def test_a_put_whose_end_is_awaited_loads_flushed_functions_too(
    backend: RedisBackend, driver: AsyncDriver, client: redis.Redis
) -> None:
    """Such a put is several commands in one write. Only the last reply is the put's."""
    await backend._open_store().subscribe(Keys.of("fifoq", "queue").state, LONG)
    for id in ("a", "b", "c"):
        if id != "b":
            client.function_flush()
        driver.queue.expect(id)
        assert await driver.receipts(job(id)) == (Receipt(id, True),)


async def test_a_queue_of_a_newer_schema_is_refused_and_left_alone(driver: AsyncDriver, client: redis.Redis) -> None:
    await driver.put(job("a"))
    newer = client.eval("return cmsgpack.pack(7, 0, 0, 1, 0, 1, 1, 0, 0, 0, 0, 0)", 0)
    client.hset("fifoq:{queue}:book", "\0", newer)
    with pytest.raises(ConfigurationError, match=r"schema 7.*schema 1"):
        await driver.put(job("b"))
    assert client.hget("fifoq:{queue}:book", "\0") == newer


async def test_a_store_of_a_newer_schema_is_not_opened(any_redis_server: Server, client: redis.Redis) -> None:
    client.set("fifoq:schema", 2)
    with pytest.raises(ConfigurationError, match=r"schema 2.*schema 1"):
        await RedisBackend(any_redis_server.url).open()


async def test_keys_of_another_application_are_reported_and_left_alone(
    driver: AsyncDriver, client: redis.Redis
) -> None:
    client.set("fifoq:{queue}:book", "foreign")
    with pytest.raises(BackendCorrupt, match="prefix"):
        await driver.put(job("a"))
    client.delete("fifoq:{queue}:book")
    client.hset("fifoq:{queue}:book", "whose", "foreign")
    with pytest.raises(BackendCorrupt, match="prefix"):
        await driver.put(job("a"))
    client.delete("fifoq:{queue}:book")
    client.hset("fifoq:{queue}:jobs", "a", "left over")
    with pytest.raises(BackendCorrupt):
        await driver.put(job("a"))
    assert client.hgetall("fifoq:{queue}:jobs") == {b"a": b"left over"}


async def test_at_maxmemory_a_put_is_refused_before_it_writes_and_leases_can_end(
    vendor: Vendor, servers: Servers
) -> None:
    server = servers.standalone(vendor)
    backend = RedisBackend(server.url)
    await backend.open()
    driver = AsyncDriver(backend.queue("queue"), retain=0)
    await driver.put(*[job(f"{n}", payload=bytes(1_000)) for n in range(20)])
    held = await driver.leases(5)
    with server.client() as client:
        client.config_set("maxmemory", 1)
    before = await driver.queue.stats()
    with pytest.raises(BackendFull, match="maxmemory"):
        await driver.put(job("more"))
    assert (await driver.queue.stats())[:8] == before[:8]
    first, second, third, fourth, fifth = held
    assert await driver.queue.extend([Extension(first.spec.id, first.token, 10**7, b"half")]) == (Hold.HELD,)
    ends = [
        Settlement(third.spec.id, third.token, Release(0, 0)),
        Settlement(fourth.spec.id, fourth.token, Retry(0, b"", 0)),
    ]
    assert await driver.queue.settle(driver.call(), ends) == (State.WAITING, State.WAITING)
    assert await driver.succeed_all(first, second, fifth) == (State.SUCCEEDED,) * 3
    assert len(await driver.leases(100)) == 17
    assert (await driver.queue.audit()).differences == ()
    await backend.close()


async def test_a_library_is_named_by_its_text_so_that_two_versions_live_side_by_side(
    driver: AsyncDriver, client: redis.Redis
) -> None:
    await driver.put(job("a"))
    mine = library()
    other = mine.text.replace(mine.name.encode(), b"fifoq_other")
    client.function_load(other.decode())
    (lease,) = await driver.leases()
    assert await driver.succeed(lease) is State.SUCCEEDED
    assert library().reads == {"get", "find", "stats", "blocked", "audit"}


async def test_a_user_that_may_not_load_functions_gets_an_error_with_the_command_to_grant(redis_server: Server) -> None:
    with redis_server.client() as client:
        client.function_flush()
    url = redis_server.user("poor", "secret", "~*", "&*", "+@all", "-function|load")
    backend = RedisBackend(url)
    await backend.open()
    with pytest.raises(ConfigurationError, match="function"):
        await backend.queue("queue").stats()
    await backend.close()


async def test_functions_that_vanish_as_fast_as_they_are_loaded_are_an_error_and_no_loop(
    any_redis_server: Server, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.function_flush()
    backend = RedisBackend(any_redis_server.url)
    await backend.open()
    caller = backend._open_store().caller
    monkeypatch.setattr(caller, "_load", encode("FUNCTION", "FLUSH"))
    with pytest.raises(BackendUnavailable, match="FUNCTION FLUSH"):
        await backend.queue("queue").stats()
    await backend.close()


class Demoted(DirectTopology):
    """A topology that goes first to a server that became a replica, and from there to the new primary."""

    def __init__(self, old: RedisBackend, new: RedisBackend) -> None:
        (self._node,), (self._new,) = [backend._open_store().topology.nodes() for backend in (old, new)]

    def redirect(self, node: Node, code: str, rest: str) -> Node | None:
        return self._new if code == "READONLY" else None


async def test_a_replica_that_has_no_library_and_takes_none_is_left_for_the_primary(
    any_redis_server: Server, servers: Servers, vendor: Vendor
) -> None:
    replica = servers.standalone(vendor)
    old, new = RedisBackend(replica.url), RedisBackend(any_redis_server.url)
    for backend in (old, new):
        await backend.open()
    with replica.client() as client:
        client.replicaof("127.0.0.1", "1")
    caller = FunctionCaller(Demoted(old, new), "here")
    assert await caller.call(Keys.of("fifoq", "queue"), "purge", "", 1) == 0
    for backend in (old, new):
        await backend.close()
