"""Readers of a job's key, and of the value that a limit is by, from its arguments."""

import inspect
import json
import string
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from enum import Enum
from inspect import Parameter
from typing import Annotated, Any, cast, get_args, get_origin, get_type_hints
from uuid import UUID

from pydantic import BaseModel
from typing_extensions import is_typeddict

from fifoq.errors import ConfigurationError, InvalidArguments
from fifoq.names import MAX_NAME, check_name

Reader = Callable[[Mapping[str, Any]], str | None]
"""A function that returns a text from the arguments by parameter name, or None for none."""

KeyRule = str | Callable[..., str | int | UUID | Enum | None] | None
"""The types of `key=`: a parameter's name, a template of names and their attributes, or a callable of arguments."""

_ONLY = (
    "names of parameters in braces and nothing more than their public attributes, as in {order.customer}; for anything "
    "else, give a function of the arguments"
)
_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def text_of(value: object, what: str, parameter: str) -> str | None:
    """
    Return a str, int, UUID or Enum as text (an Enum's value), None for None.

    Raises InvalidArguments for other types: two different values may have the same text, or equal ones different texts.
    """
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return check_name(what, str.__str__(value))
    if isinstance(value, int | UUID):
        try:
            text = str(value)
        except ValueError as error:  # Python refuses to write an integer of thousands of digits
            raise InvalidArguments(
                f"A {what} has 1 to {MAX_NAME} characters; {parameter!r} gave a longer number.", parameter=parameter
            ) from error
        return check_name(what, text)
    if value is None:
        return None
    raise InvalidArguments(
        f"A {what} is a str, int, UUID or Enum; {parameter!r} gave a {type(value).__name__}.", parameter=parameter
    )


def key_reader(rule: KeyRule, parameters: tuple[Parameter, ...], task: str) -> Reader | None:
    """Return the reader of a task's key. Raises ConfigurationError if the rule names an unknown parameter."""
    if rule is None:
        return None
    if not isinstance(rule, str):
        return _read_by_callable(rule, parameters, task)
    if "{" in rule or "}" in rule:
        return _read_template(rule, parameters, task)
    if "." in rule:
        raise ConfigurationError(
            f"The key of task {task!r} names {rule!r}, which is no parameter of it. For an attribute of one, "
            f"write a template: {'{' + rule + '}'!r}."
        )
    _check_parameter(rule, parameters, f"The key of task {task!r}")

    def read(arguments: Mapping[str, Any]) -> str | None:
        value = arguments[rule]
        # Most keys are texts. The same as `text_of`, at a third of the cost.
        if type(value) is str and 0 < len(value) <= MAX_NAME and value.isprintable():
            return value
        return text_of(value, "key", rule)

    return read


def value_reader(by: tuple[str, ...], parameters: tuple[Parameter, ...], task: str) -> Reader | None:
    """
    Return the reader of the value that a task's limit is `by`; None if the limit is not by an argument.

    Several arguments make one text, different for each of their combinations. If all of them are None, the job has no
    value: only the limits of its task and its queue count for it.
    """
    for name in by:
        _check_parameter(name, parameters, f"The limit of task {task!r}")
    match by:
        case ():
            return None
        case (name,):
            return lambda arguments: text_of(arguments[name], "limit's value", name)
        case _:
            return lambda arguments: _joined(arguments, by)


def describe_key(rule: KeyRule) -> str:
    """Return a short text for a key rule, for the worker's banner."""
    return rule if isinstance(rule, str) else f"{getattr(rule, '__name__', 'key')}()"


def _joined(arguments: Mapping[str, Any], by: tuple[str, ...]) -> str | None:
    texts = [text_of(arguments[name], "limit's value", name) for name in by]
    if all(text is None for text in texts):
        return None
    return check_name("limit's value", json.dumps(texts, ensure_ascii=False, separators=(",", ":")))


def _read_template(template: str, parameters: tuple[Parameter, ...], task: str) -> Reader:
    paths = _paths_in(template, task)
    for first, *_ in paths:
        _check_parameter(first, parameters, f"The key {template!r} of task {task!r}")
    if not paths:
        raise ConfigurationError(
            f"The key {template!r} of task {task!r} names no parameter, so all jobs would share it. "
            "To run a whole queue in one line, write tasks.queue(name, ordered=True)."
        )
    form = "".join(
        literal.replace("{", "{{").replace("}", "}}") + ("" if field is None else "{}")
        for literal, field, _, _ in string.Formatter().parse(template)
    )

    def read(arguments: Mapping[str, Any]) -> str | None:
        return check_name("key", form.format(*[_part(arguments[path[0]], path) for path in paths]))

    return read


def _part(value: object, path: tuple[str, ...]) -> str:
    for end, name in enumerate(path[1:], 1):
        _refuse_none(value, path[:end])
        try:
            value = getattr(value, name)
        except Exception as error:  # a property may raise anything
            fault = (
                f"a {type(value).__name__} has no attribute {name!r}"
                if isinstance(error, AttributeError)
                else f"reading {name!r} of a {type(value).__name__} failed: {type(error).__name__}"
            )
            raise InvalidArguments(
                f"{'.'.join(path)!r} is a part of the job's key, but {fault}.", parameter=path[0]
            ) from error
    text = text_of(_refuse_none(value, path), "key", ".".join(path))
    return cast(str, text)


def _refuse_none(value: object, path: tuple[str, ...]) -> object:
    if value is None:
        # Two jobs without different parts must not share one key, nor lose their order silently.
        raise InvalidArguments(
            f"{'.'.join(path)!r} is a part of the job's key, so it cannot be None.", parameter=path[0]
        )
    return value


def _paths_in(template: str, task: str) -> tuple[tuple[str, ...], ...]:
    """Return the parameters that a template names, each with the attributes that follow it."""
    try:
        fields = [field for field in string.Formatter().parse(template) if field[1] is not None]
    except ValueError as error:
        raise ConfigurationError(f"The key {template!r} of task {task!r} is no template: {error}.") from error
    paths = [tuple((name or "").split(".")) for _, name, _, _ in fields]
    for path, (_, _, spec, conversion) in zip(paths, fields, strict=True):
        if spec or conversion or not all(map(str.isidentifier, path)) or any(part[0] == "_" for part in path[1:]):
            raise ConfigurationError(f"The key {template!r} of task {task!r} may hold {_ONLY}.")
    return tuple(paths)


# ---- attributes in templates, against the types ----


def check_attributes(rule: KeyRule, types: Mapping[str, Any], task: str) -> None:
    """
    Raise ConfigurationError if a template names an attribute that no value of its parameter's type can have.

    A type that is not a class, or one that may have attributes of any name, is left to the check of each call.
    """
    if not isinstance(rule, str) or "{" not in rule:
        return
    for path in _paths_in(rule, task):
        holder: Any = types.get(path[0], Any)
        for name in path[1:]:
            holder = get_args(holder)[0] if get_origin(holder) is Annotated else holder
            found = _attributes_of(holder)
            if found is None:
                break
            if name not in found and not hasattr(holder, name):
                raise ConfigurationError(
                    f"The key {rule!r} of task {task!r} names {'.'.join(path)!r}, but a {holder.__name__} has no "
                    f"attribute {name!r}. It has: {', '.join(found) or 'none'}. A key may hold {_ONLY}."
                )
            holder = found.get(name, Any)


def _attributes_of(kind: Any) -> dict[str, Any] | None:
    """Return the attributes of all instances of a class, with their types; None if they cannot be listed."""
    if is_typeddict(kind):
        return {}
    if not isinstance(kind, type):
        return None
    kind = cast("type[Any]", kind)
    if issubclass(kind, BaseModel):
        fields = {name: field.annotation for name, field in kind.model_fields.items()}
        return None if kind.model_config.get("extra") == "allow" else fields
    if hasattr(kind, "__getattr__"):
        return None
    if not (is_dataclass(kind) or getattr(kind, "_fields", None) or kind.__dictoffset__ == 0):
        return None  # each instance may have others
    try:
        return get_type_hints(cast(Any, kind))
    except Exception:  # a name that exists for type checkers only
        return None


def _read_by_callable(rule: Callable[..., object], parameters: tuple[Parameter, ...], task: str) -> Reader:
    names = _arguments_of(rule, parameters, task)

    def read(arguments: Mapping[str, Any]) -> str | None:
        try:
            key = rule(**{name: arguments[name] for name in names})
        except Exception as error:
            raise InvalidArguments(
                f"The key function of task {task!r} failed: {type(error).__name__}: {error}.", parameter="key"
            ) from error
        return text_of(key, "key", "key")

    return read


def _arguments_of(rule: Callable[..., object], parameters: tuple[Parameter, ...], task: str) -> tuple[str, ...]:
    """Return the arguments that a key function takes: those its parameters name, or all if it has `**kwargs`."""
    try:
        given = list(inspect.signature(rule).parameters.values())
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"The key function of task {task!r} has no signature that can be read. Wrap it in a function that names "
            f"the parameters it needs."
        ) from error
    if any(each.kind is Parameter.VAR_KEYWORD for each in given):
        return tuple(each.name for each in parameters)
    names = tuple(each.name for each in given if each.kind is not Parameter.VAR_POSITIONAL)
    for each in given:
        if each.kind is Parameter.POSITIONAL_ONLY:
            raise ConfigurationError(f"The key function of task {task!r} takes {each.name!r} by position only.")
    known = {each.name for each in parameters}
    optional = {each.name for each in given if each.default is not Parameter.empty}
    for name in names:
        if name not in known and name not in optional:
            _check_parameter(name, parameters, f"The key function of task {task!r}", variadic=True)
    return tuple(name for name in names if name in known)


def _check_parameter(name: str, parameters: tuple[Parameter, ...], what: str, *, variadic: bool = False) -> None:
    known = [each.name for each in parameters if variadic or each.kind not in _VARIADIC]
    if name not in known:
        names = ", ".join(known) or "none"
        raise ConfigurationError(f"{what} names {name!r}, which is no parameter of it. Its parameters: {names}.")
