"""The values of one parameter or result: checked, dumped for the codec, rebuilt, and proven to arrive as they are."""

import types
import warnings
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Mapping, Set
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from functools import cached_property, lru_cache
from types import WrapperDescriptorType
from typing import Annotated, Any, Literal, NamedTuple, Union, cast, get_args, get_origin
from uuid import UUID

from msgpack import Packer
from pydantic import BaseModel, TypeAdapter, ValidationError

from fifoq import codec
from fifoq.errors import ConfigurationError

SCALARS = frozenset(
    {str, int, float, bool, bytes, type(None), datetime, date, time, timedelta, Decimal, UUID},
)
"""Types whose values the codec encodes as they are, and decodes to the same."""

# ---- the type ----


class Value:
    """The type of one parameter or result. `what` names it in errors."""

    __slots__ = ("_dump", "_is_stable", "_read", "_takes_none", "is_plain", "takes_none")

    def __init__(self, what: str, type_: Any) -> None:
        self.is_plain = _is_plain(type_)
        self.takes_none = type_ is Any or type_ is object or type_ is None or type_ is type(None)
        """None is certainly one of its values: no validator need be called."""
        with warnings.catch_warnings():
            # A parameter's alias has a meaning only for the validator of the whole call.
            warnings.filterwarnings("ignore", message=".*'alias' attribute")
            adapter = make_adapter(what, type_)
        self._is_stable = self.is_plain or _is_stable(adapter.core_schema)
        """A value of exactly the types that the codec decodes arrives as it is: no dump and no proof are needed."""
        self._takes_none = self.takes_none or adapter.core_schema["type"] == "nullable"
        self._read = adapter.validator.validate_python
        self._dump = adapter.serializer.to_python

    def check(self, value: Any) -> Any:
        """Return `value` as one of the type, converted if need be. Raises ValidationError."""
        return self._read(value, by_alias=True, by_name=True)

    def rebuild(self, form: Any) -> Any:
        """Return the value of a `form` that `dump` made. Raises ValidationError."""
        return self._read(form, by_alias=False, by_name=True)

    def dump(self, value: Any) -> Any:
        """Return `value`, checked before, in a form for the codec. Raises ValueError if it would arrive changed."""
        if self.is_plain:
            return value
        if self._is_stable and (type(value) in SCALARS or codec.pack_exact(value) is not None):
            return value
        if value is None and self._takes_none:
            return value
        form = self._form(value)
        self._prove(value, codec.pack(form))
        return form

    def encode(self, value: Any) -> bytes:
        """Return the bytes of `dump`."""
        if self.is_plain:
            return codec.pack(value)
        data = codec.pack_exact(value) if self._is_stable else None
        if data is None:
            data = codec.pack(self._form(value))
            self._prove(value, data)
        return data

    def _form(self, value: Any) -> Any:
        # Models by field name and in full: validation reads that form, whatever their aliases.
        return self._dump(value, mode="python", by_alias=False, round_trip=True, warnings=False)

    def _prove(self, value: Any, data: bytes) -> None:
        change = find_change(value, self.rebuild(codec.unpack(data)))
        if change is not None:
            raise ValueError(str(change))


def _is_plain(type_: Any) -> bool:
    """Whether all values of the type are scalars, or made of scalars, which validation returns unchanged."""
    origin, parts = get_origin(type_), get_args(type_)
    if origin is Annotated:
        plain_extras = all(type(extra).__module__ == "annotated_types" for extra in parts[1:])
        return plain_extras and _is_plain(parts[0])
    if origin is Literal:
        return all(type(value) in SCALARS for value in parts)
    if origin in (Union, types.UnionType, list, dict):
        return all(_is_plain(part) for part in parts)
    return type_ in SCALARS if isinstance(type_, type) else type_ is None


_NO_CODE = {
    *("any", "str", "int", "float", "bool", "bytes", "none", "datetime", "date", "time", "timedelta", "decimal"),
    *("uuid", "literal", "nullable", "union", "list", "dict", "tuple", "set", "frozenset"),
}
"""Kinds of pydantic's schemas that run no code of the user's, and return an exact value of theirs unchanged."""


def _is_stable(schema: Any) -> bool:
    """Whether an exact value of the type is dumped and rebuilt as it is."""
    if schema["type"] not in _NO_CODE or "serialization" in schema:
        return False
    parts = [schema.get("schema"), *(schema.get(f"{part}_schema") for part in ("keys", "values"))]
    items = schema.get("items_schema")
    parts += items if isinstance(items, list) else [items]
    parts += [each[0] if isinstance(each, tuple) else each for each in schema.get("choices", ())]
    return all(_is_stable(part) for part in parts if part is not None)


# ---- the proof ----


class Change(NamedTuple):
    """A difference between a value that was sent and the one that arrives."""

    path: tuple[Any, ...] = ()
    confusion: str = ""
    """Which class would arrive as which, if that is it."""

    def __str__(self) -> str:
        path = ".".join(map(str, self.path))
        if not self.confusion:
            return f"it would arrive changed: {path}" if path else "it would arrive changed"
        where = f"{path}: " if path else ""
        return (
            f"{where}{self.confusion}; annotate it with its own type, give the models of a union a discriminator, or "
            "convert it"
        )

    def inside(self, name: Any) -> "Change":
        """Return it as one of the part of that name."""
        return Change((name, *self.path), self.confusion)


def find_change(sent: Any, arrived: Any) -> Change | None:
    """
    Return the first difference between `arrived` and `sent`, or None: field by field and class by class, also in fields
    that take no part in comparisons. No value is shown, because it may be a secret.

    An instance of a subclass of a plain type may arrive as the plain type, if it is equal.
    """
    if sent is arrived:
        return None
    kind, base = cast("type[Any]", type(sent)), cast("type[Any]", type(arrived))
    if kind is base:
        return _comparison(kind)(sent, arrived)
    if base in SCALARS and isinstance(sent, base) and not isinstance(sent, Enum):
        return _change_of_whole(sent, arrived)
    if arrived is None or kind in SCALARS or base is _Absent:
        return Change()
    return Change(confusion=f"a {kind.__name__} would arrive as a {base.__name__}")


@lru_cache(1024)
def _comparison(kind: type[Any]) -> Callable[[Any, Any], Change | None]:
    """Return the comparison of two values of exactly this class."""
    if kind in _COMPARED:
        return lambda sent, arrived: None if sent == arrived else Change()
    if issubclass(kind, BaseModel):
        return _change_of_model
    if is_dataclass(kind):
        names = [each.name for each in fields(kind)]
        return lambda sent, arrived: _change_of_parts(_state(sent, names), _state(arrived, names))
    if issubclass(kind, list | tuple):
        return _change_of_items
    if issubclass(kind, deque | Mapping | Set):
        return lambda sent, arrived: _change_of_parts(_parts(sent), _parts(arrived))
    return _change_of_whole


_COMPARED = SCALARS - {float, Decimal, datetime, time}
"""Scalars that are the same if they are equal."""


def _change_of_model(sent: BaseModel, arrived: BaseModel) -> Change | None:
    if not (sent.__pydantic_private__ or sent.__pydantic_extra__) and _have_same_bytes(vars(sent), vars(arrived)):
        return None
    return _change_of_parts(_state_of_model(sent), _state_of_model(arrived))


def _change_of_items(sent: list[Any] | tuple[Any, ...], arrived: list[Any] | tuple[Any, ...]) -> Change | None:
    for index, (one, other) in enumerate(zip(sent, arrived, strict=False)):
        change = find_change(one, other)
        if change is not None:
            names = getattr(sent, "_fields", None)
            return change.inside(index if names is None else names[index])
    return Change() if len(sent) != len(arrived) else None


def _change_of_parts(sent: Mapping[Any, Any], arrived: Mapping[Any, Any]) -> Change | None:
    names: dict[Any, Any] | None = None
    for name, part in sent.items():
        found, change = name, None
        if type(name) is not str:
            if names is None:
                names = {_name(each): each for each in arrived}
            found = names.get(_name(name), _ABSENT)
            change = find_change(name, found)
        change = change or find_change(part, arrived.get(found, _ABSENT))
        if change is not None:
            return change.inside(name)
    return Change() if len(sent) != len(arrived) else None


def _change_of_whole(sent: Any, arrived: Any) -> Change | None:
    if not _equal(sent, arrived):
        return Change()
    kind = cast("type[Any]", type(sent))
    # An equality made in C compares no attributes: that of object, or of str for a class derived from it.
    if isinstance(kind.__eq__, WrapperDescriptorType) and hasattr(sent, "__dict__") and not isinstance(sent, Enum):
        return _change_of_parts(_state(sent, ()), _state(arrived, ()))
    return None


class _Absent: ...


_ABSENT = _Absent()


def _name(name: Any) -> Any:
    """NaN equals itself here."""
    return name if name == name else repr(name)


def _parts(value: Any) -> Mapping[Any, Any]:
    """Return the parts of a container by name."""
    match value:
        case deque():
            items = cast("deque[Any]", value)
            return {**dict(enumerate(items)), "maxlen": items.maxlen}
        case defaultdict():
            items = cast("defaultdict[Any, Any]", value)
            return {**items, _FACTORY: items.default_factory}
        case Mapping():
            return cast("Mapping[Any, Any]", value)
        case _:
            return dict.fromkeys(value)


_FACTORY = ("default_factory",)
"""The name of a part that no key of a dict is likely to have."""


def _have_same_bytes(sent: dict[str, Any], arrived: dict[str, Any]) -> bool:
    """Whether two states are certainly the same, because they hold nothing but what msgpack has: most models."""
    packer = Packer(strict_types=True, buf_size=1024)
    try:
        return packer.pack(sent) == packer.pack(arrived)
    except (TypeError, ValueError, OverflowError):
        return False


def _state_of_model(model: BaseModel) -> Mapping[Any, Any]:
    private, extra = model.__pydantic_private__, model.__pydantic_extra__
    state = _state(model, type(model).__pydantic_fields__)
    if private:
        # An object that cannot be asked for equality (a lock, a connection) is made anew with its model.
        private = {name: each for name, each in private.items() if type(each).__eq__ is not object.__eq__}
    return {**state, **(extra or {}), **(private or {})}


def _state(value: Any, names: Collection[str]) -> dict[Any, Any]:
    """Return the attributes of an instance, at least those of `names`. The cache of a property is none."""
    kind = cast("type[Any]", type(value))
    state: dict[Any, Any] = {name: getattr(value, name) for name in names if hasattr(value, name)}
    for name, each in getattr(value, "__dict__", {}).items():
        if name not in state and not isinstance(getattr(kind, name, None), cached_property):
            state[name] = each
    return state


def _equal(sent: Any, arrived: Any) -> bool:
    match sent:
        case float() | Decimal():
            return repr(type(arrived)(sent)) == repr(arrived)  # NaN, and 1.10 is not 1.1
        case datetime() | time():
            # Not ==: it is False for times that a change of the clocks makes ambiguous. Of all fixed offsets only a
            # `timezone` has a name of the user's.
            if type(sent.tzinfo) is timezone and sent.tzname() != arrived.tzname():
                return False
            return _moment(sent) == _moment(arrived)
        case Enum():
            return sent == arrived
        case _ if type(sent).__eq__ is object.__eq__:
            return True  # it cannot be asked
        case _:
            return bool(sent == arrived)


def _moment(value: datetime | time) -> tuple[Any, ...]:
    return value.isoformat(), value.fold, getattr(value.tzinfo, "key", None)


# ---- adapters ----


def make_adapter(what: str, type_: Any) -> TypeAdapter[Any]:
    """Return pydantic's adapter of a type. Raises ConfigurationError, naming `what`, if pydantic has none."""
    try:
        adapter = TypeAdapter[Any](type_)
        if not adapter.pydantic_complete:
            adapter.rebuild()
    except Exception as error:
        raise ConfigurationError(
            f"The type of {what} cannot be checked or sent: {str(error).splitlines()[0]} "
            "Use plain types, dataclasses, TypedDicts, NamedTuples, enums or pydantic models."
        ) from error
    return adapter


def describe(error: Exception) -> str:
    """Return the message of an error without the wrong value, which may be a secret."""
    if not isinstance(error, ValidationError):
        return str(error) if isinstance(error, ValueError | TypeError | RecursionError) else type(error).__name__
    detail = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(map(str, detail["loc"]))
    return f"{where}: {detail['msg']}" if where else detail["msg"]
