"""
Connections of redis-py, made one at a time: connected, secured, logged in. What goes over them then is `Line`'s.

Its own repeats are off, and its deadlines: ours are in `Wire`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

from redis import exceptions as driver
from redis.asyncio import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import AbstractConnection
from redis.backoff import NoBackoff
from redis.retry import Retry

from fifoq.errors import FifoqError
from fifoq_redis.command import Word, encode
from fifoq_redis.faults import Unsent, refused
from fifoq_redis.location import Account, Address, Location, Tls

Connect = Callable[[], Awaitable[AbstractConnection]]
"""Makes a new connection. Raises Unsent if there is none to be had, or a FifoqError that says more."""


async def connect(
    location: Location, address: Address, *, account: Account | None = None, db: int = 0
) -> AbstractConnection:
    """Connect and log in within the location's timeout. Raises Unsent, or a FifoqError that says why not."""
    connection = _make(address, account or location.account, location.tls, db)
    try:
        async with asyncio.timeout(location.timeout):
            await connection.connect()
    except (TimeoutError, driver.TimeoutError) as error:
        await drop(connection)
        raise Unsent(f"no connection within {location.timeout:g} s") from error
    except driver.RedisError as error:
        await drop(connection)
        raise _reason(address, error) from error
    except BaseException:
        await drop(connection)
        raise
    return connection


async def ask(connection: AbstractConnection, timeout: float, *words: Word) -> Any:
    """Send one command on a connection that nobody else uses, and return its reply. Raises Unsent, or redis-py's."""
    try:
        async with asyncio.timeout(timeout):
            await connection.send_packed_command(encode(*words), check_health=False)
            return await cast(Any, connection).read_response(disable_decoding=True)
    except TimeoutError as error:
        raise Unsent(f"no answer within {timeout:g} s") from error


def _make(address: Address, account: Account, tls: Tls | None, db: int) -> AbstractConnection:
    common: dict[str, Any] = {
        "db": db,
        "username": account.username,
        "password": account.password,
        "socket_timeout": None,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_timeout": False,
        "health_check_interval": 0,
        "protocol": 2,
    }
    if not address.port:
        return UnixDomainSocketConnection(path=address.host, **common)
    common |= {"host": address.host, "port": address.port}
    if tls is None:
        return Connection(**common)
    tls.context()  # says which file is wrong, before a connection only says that something is
    given: dict[str, Any] = {"ssl_ca_certs": tls.ca, "ssl_certfile": tls.cert, "ssl_keyfile": tls.key}
    return SSLConnection(**common, **given, ssl_cert_reqs="required", ssl_check_hostname=True)


def _reason(address: Address, error: driver.RedisError) -> Exception:
    if type(error) in (driver.ConnectionError, driver.TimeoutError):
        return Unsent(str(error))
    known: FifoqError = refused(str(address), error)
    return known


async def drop(connection: AbstractConnection) -> None:
    """Let go of a connection, whatever state it is in."""
    with suppress(driver.RedisError, OSError):
        await connection.disconnect(nowait=True)
