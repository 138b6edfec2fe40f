"""The URL of a Redis store, read strictly: addresses, accounts, TLS, prefix. No I/O; passwords are never shown."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from fifoq.errors import ConfigurationError
from fifoq.url import quoted, read_query, read_timeout

PORT, SENTINEL_PORT = 6379, 26379
_SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "redis+sentinel")
_COMMON = ("prefix", "timeout")
_TLS = ("tls", "ca", "cert", "key")
_PARAMETERS: dict[str, tuple[str, ...]] = {
    "redis": _COMMON,
    "rediss": (*_COMMON, "ca", "cert", "key"),
    "unix": (*_COMMON, "db"),
    "redis+cluster": (*_COMMON, *_TLS),
    "redis+sentinel": (*_COMMON, *_TLS, "sentinel_username", "sentinel_password"),
}
_NO_ADDRESS = (
    "A Redis URL names hosts like localhost:6379, with ports of 1 to 65535. In a user or a password, write @ as %40, "
    "/ as %2F, : as %3A, # as %23 and ? as %3F."
)


class Address(NamedTuple):
    """The address of a server: a host and a port, or the path of a socket."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.port else self.host


class Account(NamedTuple):
    """The user and password at a server. Neither is ever shown."""

    username: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return "<Account>"


class Tls(NamedTuple):
    """The files of a TLS connection: certificates to trust, and the client's own."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    def context(self) -> ssl.SSLContext:
        """Return the TLS context; it always verifies. Raises ConfigurationError if a file cannot be read."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.cert:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"A file named by ca=, cert= or key= of the URL cannot be used: {error}"
            ) from error
        return context


class Location(NamedTuple):
    """The parts of a URL."""

    scheme: str
    addresses: tuple[Address, ...]
    """The server; for a cluster or sentinels, some of their addresses."""
    db: int = 0
    service: str | None = None
    """The name of the primary at the sentinels."""
    account: Account = Account()
    sentinel_account: Account = Account()
    tls: Tls | None = None
    prefix: str = "fifoq"
    timeout: float = 5.0
    """Seconds for a connection, and for a reply."""

    def __str__(self) -> str:
        where = ",".join(str(address) for address in self.addresses)
        return f"{self.scheme}://{where}" + (f"/{self.service}" if self.service else "")

    @classmethod
    def parse(cls, url: str) -> "Location":
        """
        Read `redis://[user[:password]@]host[:port][/db]`, `rediss://…`, `unix:///path/of/socket`,
        `redis+cluster://host:port,host:port/` or `redis+sentinel://host:port,host:port/service[/db]`.

        Parameters: `prefix=` of all keys, `timeout=` in seconds; with TLS `ca=`, `cert=`, `key=`, names of files, and
        `tls=true` where the scheme is without it. Raises ConfigurationError for anything else, and shows no password.
        """
        parts = _split(url)
        if parts is None:
            raise ConfigurationError("This Redis URL cannot be read. Is an IPv6 address in brackets?")
        if parts.scheme not in _SCHEMES or not url.lower().startswith(f"{parts.scheme}://"):
            raise ConfigurationError(f"A Redis URL begins with {', '.join(f'{one}://' for one in _SCHEMES)}.")
        if "#" in url or url.endswith("?") or not url.isprintable():
            raise ConfigurationError(
                "A Redis URL has no fragment, no empty query and no control characters; write # as %23 and ? as %3F."
            )
        if parts.scheme != "unix" and ("@" in parts.path or ("@" in parts.query and "@" not in parts.netloc)):
            raise ConfigurationError(_NO_ADDRESS)  # a password with a character that was not escaped
        options = read_query(parts.query, _PARAMETERS[parts.scheme], f"{parts.scheme}://", url)
        account, hosts = _account(parts.netloc)
        common = {
            "account": account,
            "sentinel_account": Account(options.get("sentinel_username"), options.get("sentinel_password")),
            "tls": _tls(parts.scheme, options, url),
            "prefix": _prefix(options.get("prefix", "fifoq")),
            "timeout": read_timeout(options.get("timeout", "5"), url),
        }
        return _READERS[parts.scheme](parts, hosts, options)._replace(**common)


def _standalone(parts: SplitResult, hosts: str, options: Mapping[str, str]) -> Location:
    if "," in hosts:
        raise ConfigurationError(
            f"A {parts.scheme}:// URL names one server. For several, use redis+cluster:// or redis+sentinel://."
        )
    return Location(parts.scheme, (_address(hosts or "localhost", PORT),), _database(parts.path[1:], parts.geturl()))


def _unix(parts: SplitResult, hosts: str, options: Mapping[str, str]) -> Location:
    path = unquote(parts.path)
    if hosts or not path.startswith("/") or path.endswith("/"):
        raise ConfigurationError(
            "A unix:// URL names the file of a socket by its absolute path: unix:///run/redis.sock."
        )
    return Location(parts.scheme, (Address(str(Path(path)), 0),), _database(options.get("db", ""), parts.geturl()))


def _cluster(parts: SplitResult, hosts: str, options: Mapping[str, str]) -> Location:
    if parts.path not in ("", "/"):
        raise ConfigurationError("A redis+cluster:// URL has no path: a cluster has one database.")
    return Location(parts.scheme, _addresses(hosts or "localhost", PORT))


def _sentinel(parts: SplitResult, hosts: str, options: Mapping[str, str]) -> Location:
    service, _, db = parts.path[1:].partition("/")
    if not service:
        raise ConfigurationError(
            "A redis+sentinel:// URL names the service that the sentinels watch: "
            "redis+sentinel://host:26379,host:26379/mymaster/0."
        )
    addresses = _addresses(hosts or "localhost", SENTINEL_PORT)
    return Location(parts.scheme, addresses, _database(db, parts.geturl()), unquote(service))


_READERS = {
    "redis": _standalone,
    "rediss": _standalone,
    "unix": _unix,
    "redis+cluster": _cluster,
    "redis+sentinel": _sentinel,
}


def _account(netloc: str) -> tuple[Account, str]:
    """Split at the last @, since a password may hold one that was not escaped."""
    account, at, hosts = netloc.rpartition("@")
    if not at:
        return Account(), hosts
    username, _, password = account.partition(":")
    return Account(unquote(username) or None, unquote(password) or None), hosts


def _addresses(hosts: str, port: int) -> tuple[Address, ...]:
    return tuple([_address(host, port) for host in hosts.split(",")])


def _address(text: str, default: int) -> Address:
    parts = _split(f"//{text}")
    host, port = _host_and_port(parts)
    if parts is None or not host or parts.path or parts.query or port == 0 or text.endswith(":"):
        raise ConfigurationError(_NO_ADDRESS)
    return Address(host, port or default)


# The ValueErrors of urllib repeat a part of the URL, which may be of a password with a character that was not escaped.
# So no error is raised while one is handled, which would keep it as context.


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:
        return None


def _host_and_port(parts: SplitResult | None) -> tuple[str | None, int | None]:
    try:
        return (None, None) if parts is None else (parts.hostname, parts.port)
    except ValueError:
        return None, None


def _database(text: str, url: str) -> int:
    if text and not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ConfigurationError(f"A database of Redis is a number, not {quoted(text, url)}.")
    return int(text or 0)


def _tls(scheme: str, options: Mapping[str, str], url: str) -> Tls | None:
    wanted = options.get("tls", "true" if scheme == "rediss" else "false")
    if wanted not in ("true", "false"):
        raise ConfigurationError(f"tls is true or false, not {quoted(wanted, url)}.")
    files = Tls(options.get("ca"), options.get("cert"), options.get("key"))
    if wanted == "false" and files != Tls():
        raise ConfigurationError("ca=, cert= and key= are for TLS: add tls=true, or use rediss://.")
    if files.key and not files.cert:
        raise ConfigurationError("key= belongs to a certificate: add cert=.")
    return files if wanted == "true" else None


def _prefix(text: str) -> str:
    if not (text.isprintable() and len(text) <= 128 and not set("{} *?[]\\") & set(text)):
        raise ConfigurationError("A prefix has up to 128 characters, and no spaces, braces, brackets, *, ? or \\.")
    return text
