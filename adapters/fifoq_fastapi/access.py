"""Access to a router: which callers it admits, and whose jobs they see. Jobs of other owners do not exist for them."""

import base64
import hashlib
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Literal, NamedTuple

from fastapi import Depends, Security
from fastapi.params import Depends as Dependency

from fifoq.errors import ConfigurationError, InvalidArguments
from fifoq.names import MAX_NAME, check_name

Authenticate = Callable[..., Any]
"""A dependency: it raises an HTTPException, or returns a value that stands for the caller."""
OwnerOf = Callable[[Any], str | Awaitable[str]]
"""A function from the value of `auth` to the owner's name, which is stored with the caller's jobs."""
Scope = Literal["fifoq:read", "fifoq:write"]


class Access(NamedTuple):
    """The access settings of one router."""

    auth: Authenticate | None
    owner: OwnerOf | None

    @classmethod
    def of(cls, auth: Authenticate | None, public: bool, owner: OwnerOf | None) -> "Access":
        """Check the arguments of `router`. Raises ConfigurationError if they do not say which callers it admits."""
        if auth is None and not public:
            raise ConfigurationError(
                "router() lets callers enqueue and read jobs: say who may, with auth=<dependency>, "
                "or public=True if all callers may."
            )
        if auth is not None and public:
            raise ConfigurationError("router() got auth= and public=True: a router is either guarded or public.")
        if auth is None and owner is not None:
            raise ConfigurationError("owner= takes the value that auth returned: a public router has no owners.")
        return cls(auth, owner)

    @property
    def longest_id(self) -> int:
        """The number of characters that an id of a caller may have at most."""
        return MAX_NAME if self.owner is None else MAX_NAME - _MARK - 1

    def caller(self, scope: Scope) -> Dependency:
        """Return a dependency that admits callers, and yields the caller's owner; None if the router has no owners."""
        if self.auth is None:
            return Depends(_no_owner)
        return Depends(self._guard(self.auth, scope))

    def _guard(self, auth: Authenticate, scope: Scope) -> Callable[..., Awaitable[str | None]]:
        asked = Security(auth, scopes=[scope])

        async def guard(caller: Any = asked) -> str | None:
            if self.owner is None:
                return None
            owner = self.owner(caller)
            return _owner_name(await owner if inspect.isawaitable(owner) else owner)

        return guard


async def _no_owner() -> None:
    return None


def _owner_name(owner: object) -> str:
    """Check the value of `owner`: taking a wrong one for no owner would show one owner's jobs to another."""
    try:
        return check_name("owner", owner if isinstance(owner, str) else "")
    except InvalidArguments as error:
        raise ConfigurationError(
            f"owner= returned {owner!r}; it returns a text of 1 to {MAX_NAME} characters for every caller."
        ) from error


def stored_id(owner: str | None, id: str) -> str:
    """
    Return the id under which the queue keeps the job that `owner` knows as `id`.

    Two owners may choose the same id. The mark in front keeps their jobs apart; it is a hash, because owners' names
    may be as long as ids, and may hold any separator.
    """
    return id if owner is None else f"{_mark(owner)}.{id}"


def shown_id(owner: str | None, id: str) -> str:
    """Return the id that `owner` knows a stored job by: the inverse of `stored_id`."""
    return id if owner is None else id.removeprefix(f"{_mark(owner)}.")


def _mark(owner: str) -> str:
    digest = hashlib.blake2b(owner.encode(), digest_size=16).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


_MARK = len(_mark(""))
