"""One value of a known type on its way: checked, put into a form that can be sent, and rebuilt on the other side."""

import types
import warnings
from collections.abc import Mapping
from dataclasses import is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel, TypeAdapter, ValidationError

from fifoq import codec
from fifoq.errors import ConfigurationError

SCALARS = frozenset(
    {str, int, float, bool, bytes, type(None), datetime, date, time, timedelta, Decimal, UUID},
)
"""Types whose values travel as they are and come back the same."""


class Value:
    """The type of one parameter or result. `what` names it in errors."""

    __slots__ = ("_dump", "_read", "is_any", "is_plain", "takes_none")

    def __init__(self, what: str, type_: Any) -> None:
        self.is_any = type_ is Any or type_ is object
        self.is_plain = _is_plain(type_)
        self.takes_none = self.is_any or type_ is None or type_ is type(None)
        """None is one of its values, for certain: nothing has to be asked."""
        with warnings.catch_warnings():
            # A parameter's alias means something to the validator of the whole call only.
            warnings.filterwarnings("ignore", message=".*'alias' attribute")
            adapter = make_adapter(what, type_)
        self._read = adapter.validator.validate_python
        self._dump = adapter.serializer.to_python

    def check(self, value: Any) -> Any:
        """Return `value` as one of the type, converted if need be. Raises ValidationError."""
        return self._read(value, by_alias=True, by_name=True)

    def dump(self, value: Any) -> Any:
        """Return `value`, checked before, in a form that the codec knows. Raises ValueError or NotSendable."""
        if self.is_plain or value is None or (self.is_any and type(value) in SCALARS):
            return value
        # Models by field name and in full: the form that validation reads back, whatever aliases are for.
        return self._dump(value, mode="python", by_alias=False, round_trip=True, warnings=False)

    def rebuild(self, form: Any) -> Any:
        """Return the value that `dump` made `form` of. Raises ValidationError."""
        return self._read(form, by_alias=False, by_name=True)

    def dump_for_sure(self, value: Any) -> Any:
        """As `dump`, but raises ValueError too if the value would not be rebuilt, or be rebuilt as another type."""
        form = self.dump(value)
        if form is not value or not (self.is_plain or type(value) in SCALARS):
            confusion = _confusion(value, self.rebuild(codec.unpack(codec.pack(form))))
            if confusion is not None:
                raise ValueError(confusion)
        return form


def make_adapter(what: str, type_: Any) -> TypeAdapter[Any]:
    """Return pydantic's view of a type. Raises ConfigurationError, naming `what`, if pydantic does not know it."""
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
    """Say what is wrong, without the value that is: it may be a secret."""
    if not isinstance(error, ValidationError):
        return str(error)
    detail = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(map(str, detail["loc"]))
    return f"{where}: {detail['msg']}" if where else detail["msg"]


def _is_plain(type_: Any) -> bool:
    """Whether every value of the type is a scalar, or made of scalars, and validation gives back what it is given."""
    origin, parts = get_origin(type_), get_args(type_)
    if origin is Annotated:
        plain_extras = all(type(extra).__module__ == "annotated_types" for extra in parts[1:])
        return plain_extras and _is_plain(parts[0])
    if origin is Literal:
        return all(type(value) in SCALARS for value in parts)
    if origin in (Union, types.UnionType, list, dict):
        return all(_is_plain(part) for part in parts)
    return type_ in SCALARS if isinstance(type_, type) else type_ is None


def _confusion(sent: Any, read: Any) -> str | None:
    """Why `read` is not what was sent, if it is not: the first object that would arrive as one of another class."""
    if _has_fields(sent) and type(read) is not type(sent):
        return f"a {type(sent).__name__} would arrive as a {type(read).__name__}; annotate it with its own type"
    for one, other in zip(_parts(sent), _parts(read), strict=False):
        confusion = _confusion(one, other)
        if confusion is not None:
            return confusion
    return None


def _has_fields(value: object) -> bool:
    return isinstance(value, BaseModel) or is_dataclass(value) or hasattr(value, "_fields")


def _parts(value: object) -> list[Any]:
    if isinstance(value, list | tuple):
        return list(cast("list[Any]", value))
    if isinstance(value, Mapping):
        return list(cast("Mapping[Any, Any]", value).values())
    return list(vars(value).values()) if _has_fields(value) and hasattr(value, "__dict__") else []
