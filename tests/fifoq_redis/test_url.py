"""URLs are read strictly, and show no password."""

import traceback

import pytest

from fifoq import Fifoq
from fifoq.backends import connect
from fifoq.errors import ConfigurationError
from fifoq_redis import RedisBackend
from fifoq_redis.url import Account, Address, Location, Tls

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "addresses", "db"),
    [
        ("redis://", [("localhost", 6379)], 0),
        ("redis://localhost", [("localhost", 6379)], 0),
        ("redis://h:1/3", [("h", 1)], 3),
        ("redis://[::1]:7/", [("::1", 7)], 0),
        ("rediss://h/2", [("h", 6379)], 2),
        ("unix:///run/redis.sock?db=4", [("/run/redis.sock", 0)], 4),
        ("redis+cluster://a:1,b,c:3/", [("a", 1), ("b", 6379), ("c", 3)], 0),
        ("redis+sentinel://a,b:2/main/5", [("a", 26379), ("b", 2)], 5),
    ],
)
def test_a_url_has_the_addresses_of_the_servers(url: str, addresses: list[tuple[str, int]], db: int) -> None:
    location = Location.parse(url)
    assert (list(location.addresses), location.db) == ([Address(*one) for one in addresses], db)


def test_a_url_has_accounts_and_certificates() -> None:
    location = Location.parse("rediss://me:p%40ss@h/1?prefix=shop&timeout=2.5&ca=/ca.pem&cert=/c.pem&key=/k.pem")
    assert location.account == Account("me", "p@ss")
    assert location.tls == Tls("/ca.pem", "/c.pem", "/k.pem")
    assert (location.prefix, location.timeout) == ("shop", 2.5)
    sentinel = Location.parse("redis+sentinel://me:one@h/main?sentinel_username=you&sentinel_password=two&tls=true")
    assert (sentinel.account, sentinel.sentinel_account) == (Account("me", "one"), Account("you", "two"))
    assert (sentinel.service, sentinel.tls) == ("main", Tls())
    assert Location.parse("redis://:only@h").account == Account(None, "only")


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "redis:h",
        "redis://h/x",
        "redis://h/-1",
        "redis://h/1/2",
        "redis://h:0",
        "redis://h:99999",
        "redis://h:",
        "redis://a,b",
        "redis://h#f",
        "redis://h?",
        "redis://h?db=1",
        "redis://h?timeout=0",
        "redis://h?timeout=x",
        "redis://h?timeout=1&timeout=2",
        "redis://h?prefix=",
        "redis://h?prefix={x}",
        "redis://h?retry_on_timeout=true",
        "redis://h?ca=/ca.pem",
        "rediss://h?tls=true",
        "rediss://h?key=/k.pem",
        "unix://h/x",
        "unix:///",
        "redis+cluster://h/1",
        "redis+cluster://h?tls=maybe",
        "redis+sentinel://h",
        "redis+sentinel://h/",
        "redis+sentinel://h/main/x",
        "redis+sentinel://a,,b/main",
        "redis://[::1/",
        "redis://h\t",
    ],
)
def test_a_url_that_is_not_understood_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        RedisBackend(url)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://me:{SECRET}@h:1/0",
        f"redis://me:{SECRET}@h:1/x",
        f"redis://me:{SECRET}@h:x/0",
        f"redis://me:{SECRET}/@h/0",
        f"redis://me:{SECRET}#@h/0",
        f"redis://me:{SECRET}?@h/0",
        f"redis://:{SECRET}@h?what=1",
        f"redis+sentinel://h/main?sentinel_password={SECRET}",
        f"redis+cluster://me:{SECRET}@a,b/1",
        f"rediss://me:{SECRET}@h?ca=/nowhere",
    ],
)
def test_no_error_and_no_repr_shows_a_password(url: str) -> None:
    try:
        backend = RedisBackend(url)
    except ConfigurationError as error:
        shown = str(error)
    else:
        shown = f"{backend!r} {backend._location!s} {backend._location!r}"
    assert SECRET not in shown


def test_a_prefix_stands_before_every_key() -> None:
    first, second = (RedisBackend(f"redis://h?prefix={prefix}").queue("q") for prefix in ("a", "b"))
    assert all(key.startswith(b"a:{q}:") for key in first._keys.all)
    assert not {*first._keys.all} & {*second._keys.all}


ACCOUNTS = [
    "redis://user:{}@localhost:6379/0",
    "rediss://{}@localhost",
    "redis://:{}@localhost:6379/x",
    "redis://user:{}@localhost:port",
    "redis://user:{}@localhost?timeout=x",
    "redis://user:{}@localhost?unknown=1",
    "redis://user:{}@localhost?tls=x",
    "unix://user:{}@/run/redis.sock?db=x",
    "redis+cluster://user:{}@a:1,b:2",
    "redis+sentinel://user:{}@a:1,b:2/service/x",
    "redis+sentinel://a:1/service?sentinel_username=me&sentinel_password={}&timeout=x",
    "user:{}@localhost",
]
SEPARATORS = ["", *"@/:#?[]%&=\\ +;,^|<>\"'`{}~\t\n\u2100\udce9"]


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("separator", SEPARATORS, ids=ascii)
def test_no_error_and_no_repr_shows_a_part_of_a_password_also_one_that_was_not_escaped(
    account: str, separator: str
) -> None:
    for password in (f"first{separator}SECRET", f"SECRET{separator}last", f"x{separator}SECRET{separator}y"):
        url = account.replace("{}", password)
        shown = [repr(Fifoq(url))]
        try:
            shown.append(repr(connect(url)))
        except ConfigurationError as error:
            shown += [*traceback.format_exception(error), repr(error.__context__), repr(error.__cause__)]
        assert "SECRET" not in "".join(shown)
