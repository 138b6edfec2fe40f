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
"""A dependency that identifies the caller: it raises an HTTPException, or returns a value for `owner`."""
OwnerOf = Callable[[Any], str | Awaitable[str]]
"""A function from the value of `auth` to the owner's name, which is stored with the caller's jobs."""
Scope = Literal["fifoq:read", "fifoq:write"]


class AccessRules(NamedTuple):
    """The access rules of one router: how callers are authenticated, and how owners are named."""

    auth: Authenticate | None
    owner: OwnerOf | None

    @classmethod
    def of(cls, auth: Authenticate | None, public: bool, owner: OwnerOf | None) -> "AccessRules":
        """Return the rules. Raises ConfigurationError if the arguments leave open which callers are admitted."""
        if auth is None and not public:
            raise ConfigurationError(
                "router() lets callers enqueue and read jobs: pass auth=<dependency>, "
                "or public=True to admit all callers."
            )
        if auth is not None and public:
            raise ConfigurationError("router() got auth= and public=True: a router is either guarded or public.")
        if auth is None and owner is not None:
            raise ConfigurationError("owner= takes the value that auth returned: a public router has no owners.")
        return cls(auth, owner)

    @property
    def for_operators(self) -> bool:
        """Whether callers are operators: authenticated, and not bound to an owner. They see the whole store."""
        return self.auth is not None and self.owner is None

    @property
    def longest_id(self) -> int:
        """The largest number of characters in an id that a caller chooses."""
        return MAX_NAME if self.owner is None else MAX_NAME - _PREFIX_LENGTH - 1

    def caller(self, scope: Scope) -> Dependency:
        """Return a dependency that admits callers and returns the caller's owner; None if the router has no owners."""
        if self.auth is None:
            return Depends(_no_owner)
        return Depends(self._guard(self.auth, scope))

    def _guard(self, auth: Authenticate, scope: Scope) -> Callable[..., Awaitable[str | None]]:
        authenticated = Security(auth, scopes=[scope])

        async def guard(caller: Any = authenticated) -> str | None:
            if self.owner is None:
                return None
            owner = self.owner(caller)
            return _owner_name(await owner if inspect.isawaitable(owner) else owner)

        return guard


async def _no_owner() -> None:
    return None


def _owner_name(owner: object) -> str:
    """Check the value of `owner`. Reading a wrong value as 'no owner' would show one owner's jobs to another."""
    try:
        return check_name("owner", owner if isinstance(owner, str) else "")
    except InvalidArguments as error:
        raise ConfigurationError(
            f"owner= returned {owner!r}; it returns a text of 1 to {MAX_NAME} characters for every caller."
        ) from error


def stored_id(owner: str | None, id: str) -> str:
    """
    Return the id in the queue of the job that has the id `id` for `owner`.

    Two owners may choose the same id. The prefix keeps their jobs apart; it is a hash, because owners' names may be as
    long as ids, and may contain any separator.
    """
    return id if owner is None else f"{_owner_prefix(owner)}.{id}"


def shown_id(owner: str | None, id: str) -> str:
    """Return the id for `owner` of the job that has the id `id` in the queue: the inverse of `stored_id`."""
    return id if owner is None else id.removeprefix(f"{_owner_prefix(owner)}.")


def _owner_prefix(owner: str) -> str:
    digest = hashlib.blake2b(owner.encode(), digest_size=16).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


_PREFIX_LENGTH = len(_owner_prefix(""))
