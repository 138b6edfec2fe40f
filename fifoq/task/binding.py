"""The binding of a task's calls: one canonical form for all ways to write the same call, checked by one validator."""

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from typing import Any, NamedTuple, Unpack, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ArgsKwargs

from fifoq import codec
from fifoq.task.parameters import POSITIONAL
from fifoq.task.values import Value, describe, make_adapter

_EXACT = (str, int, float, bool, bytes)
"""Types of arguments that need no validation if the value is of exactly that type."""


class Bound(NamedTuple):
    """One checked call in canonical form: its arguments by position, by name, and all of them by parameter name."""

    args: list[Any]
    kwargs: dict[str, Any]
    by_name: Mapping[str, Any]


class Shape:
    """
    The form of all calls of one function.

    Arguments are sent by name, in the order of the definition, except those that can only go by position:
    positional-only parameters, `*args`, and with `*args` all parameters before it. So equal calls make equal payloads.
    """

    def __init__(self, name: str, parameters: tuple[Parameter, ...], types: Mapping[str, Any]) -> None:
        self.is_empty = not parameters
        self.names = tuple(parameter.name for parameter in parameters if parameter.kind in POSITIONAL)
        self._rest = _name_of(parameters, Parameter.VAR_POSITIONAL)
        self._extra = _name_of(parameters, Parameter.VAR_KEYWORD)
        only = sum(parameter.kind is Parameter.POSITIONAL_ONLY for parameter in parameters)
        self._by_position = len(self.names) if self._rest else only
        self._is_simple = not (self._by_position or self._rest or self._extra)
        self._declared = frozenset(parameter.name for parameter in parameters) - {self._extra}
        self._values = {each: Value(f"{each!r} of {name}", type_) for each, type_ in _items(types, self._extra).items()}
        self.check = _call_adapter(name, parameters, types).validator.validate_python
        """Takes ArgsKwargs, returns (args, kwargs): arguments given by position and those by name, each in order."""
        self._is_plain = all(value.is_plain for value in self._values.values())
        # A Field as a default may give its parameter an alias or a serializer.
        self.is_fast = self._is_simple and self._is_plain and not any(_is_field(each.default) for each in parameters)
        """Calls need nothing but `check`, and go by name."""
        kinds = tuple(types[parameter.name] for parameter in parameters)
        exact = (
            self.is_fast and len(self.names) == len(kinds) and all(any(kind is one for one in _EXACT) for kind in kinds)
        )
        self.exact: tuple[Any, ...] | None = kinds if exact else None
        """Calls with values of exactly these types, in order, need no check either: it would return them unchanged."""

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound:
        """Check a call against the types and return its canonical form, defaults filled in. Raises ValidationError."""
        given, named = self.check(ArgsKwargs(args, kwargs), by_alias=True, by_name=True)
        if self._is_simple:
            by_name = dict(zip(self.names, given, strict=False))
            by_name.update(named)
            return Bound([], by_name, by_name)
        return self._bind_any(given, named)

    def dump(self, bound: Bound) -> tuple[list[Any], dict[str, Any]]:
        """Return (args, kwargs) in a form for the codec. Raises NotSendable if it could not be rebuilt."""
        if self._is_plain:
            return bound.args, bound.kwargs
        args = [self._dump(self._name_at(index), value) for index, value in enumerate(bound.args)]
        return args, {name: self._dump(name, value) for name, value in bound.kwargs.items()}

    def locate(self, where: tuple[int | str, ...]) -> tuple[str | None, str]:
        """Return the parameter of a location in a ValidationError, and the location as text."""
        if not where:
            return None, "A call"
        first, *others = where
        name = self._name_at(first) if isinstance(first, int) else first
        if name is None:
            return None, f"Argument {first}" if isinstance(first, str) else f"Argument {first + 1}"
        return name, ".".join(map(str, [name, *others]))

    def blame(self, args: list[Any], kwargs: dict[str, Any]) -> str | None:
        """Return the parameter of the first of these arguments that the codec cannot pack."""
        named = [(self._name_at(index), value) for index, value in enumerate(args)] + list(kwargs.items())
        return next((name for name, value in named if not _can_pack([name, value])), None)

    def blame_check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
        """Return the parameter of the first of these arguments whose check raises another error than pydantic's."""
        named = [(self._name_at(index), value) for index, value in enumerate(args)] + list(kwargs.items())
        return next((name for name, value in named if not self._can_check(name, value)), None)

    def _bind_any(self, given: tuple[Any, ...], named: dict[str, Any]) -> Bound:
        first, rest = list(given[: len(self.names)]), given[len(self.names) :]
        first += [named.pop(name) for name in self.names[len(first) :]]
        by_name = dict(zip(self.names, first, strict=True))
        by_name |= {name: value for name, value in named.items() if name in self._declared and name not in by_name}
        extra = {name: named[name] for name in sorted(named) if name not in by_name or name in self.names}
        kwargs = {name: value for name, value in by_name.items() if name not in self.names[: self._by_position]}
        if self._rest:
            by_name[self._rest] = rest
        if self._extra:
            by_name[self._extra] = extra
        return Bound([*first[: self._by_position], *rest], kwargs | extra, by_name)

    def _name_at(self, index: int) -> str | None:
        return self.names[index] if index < len(self.names) else self._rest

    def _can_check(self, name: str | None, value: Any) -> bool:
        kind = self._values.get(name or "") or self._values.get(self._extra or "")
        try:
            if kind is not None:
                kind.check(value)
        except ValidationError:
            return True
        except Exception:
            return False
        return True

    def _dump(self, name: str | None, value: Any) -> Any:
        kind = self._values.get(name or "") or self._values[self._extra or ""]
        try:
            return kind.dump(value)
        except Exception as error:  # a validator or serializer of the user's may raise anything
            raise codec.NotSendable(describe(error), parameter=name or "") from error


def _call_adapter(name: str, parameters: tuple[Parameter, ...], types: Mapping[str, Any]) -> TypeAdapter[Any]:
    """Return one validator for a whole call: that of a function with these parameters that returns its arguments."""

    def collect(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, kwargs

    typed = [parameter.replace(annotation=types[parameter.name]) for parameter in parameters]
    _set(collect, "__signature__", Signature(typed))
    collect.__annotations__ = dict(types)
    return make_adapter(f"the parameters of {name}", collect)


def _set(function: Callable[..., Any], attribute: str, value: object) -> None:
    setattr(function, attribute, value)


def _name_of(parameters: tuple[Parameter, ...], kind: Any) -> str | None:
    return next((parameter.name for parameter in parameters if parameter.kind is kind), None)


def _items(types: Mapping[str, Any], extra: str | None) -> dict[str, Any]:
    """Return the type of one argument per parameter. `**extra: Unpack[Some]` has one for each of its names."""
    whole = types.get(extra or "")
    if get_origin(whole) is not Unpack:
        return dict(types)
    return (
        get_type_hints(get_args(whole)[0]) | {extra or "": Any} | {each: types[each] for each in types if each != extra}
    )


def _is_field(default: object) -> bool:
    return isinstance(default, FieldInfo)


def _can_pack(value: Any) -> bool:
    try:
        codec.pack(value)
    except codec.NotSendable:
        return False
    return True
