"""The parameters of a function, read from its definition: their types, and whether the first is a Context."""

import builtins
import inspect
import re
import sys
import typing
from collections.abc import Callable, Mapping
from functools import WRAPPER_ASSIGNMENTS
from inspect import Parameter
from types import FunctionType
from typing import Any, get_args

from fifoq.errors import ConfigurationError
from fifoq.task.context import Context

RETURN = "return"
POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def check_function(function: object) -> None:
    """Raise ConfigurationError unless `function` can be a task: a plain or async function, and no method."""
    name = getattr(function, "__qualname__", repr(function))
    if type(function) is not FunctionType:  # a task is an instance of FunctionType, too
        raise ConfigurationError(
            f"A task is a function defined with def or async def; {name} is a {type(function).__name__}. "
            "Write a function that calls it."
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigurationError(f"{name} yields; a task returns its result. Return a list, or enqueue a job per item.")
    if _is_method(function):
        raise ConfigurationError(
            f"{name} is a method; a worker in another process has no object to call it on. "
            "Make the task a function, and pass the object's id."
        )


def takes_context(function: FunctionType) -> bool:
    """
    Return whether the first parameter of `function` is the Context.

    Raises ConfigurationError if the Context is requested in another way: further on, or as `Context | None`.
    """
    parameters = list(_signature(function).parameters.values())
    for index, parameter in enumerate(parameters):
        request = _requests_context(parameter.annotation, function)
        if request == "no":
            continue
        if request == "in part" or index > 0 or parameter.kind not in POSITIONAL:
            raise ConfigurationError(
                f"{function.__qualname__} takes the Context as {parameter.name!r}. Take it as the first parameter, "
                "annotated as Context and nothing else: it is always there."
            )
    return bool(parameters) and _requests_context(parameters[0].annotation, function) == "yes"


def read_parameters(function: Callable[..., Any], *, skip_first: bool) -> tuple[Parameter, ...]:
    """Return the parameters of `function`, the Context left out, with their annotations as written."""
    parameters = tuple(_signature(function).parameters.values())
    return parameters[1:] if skip_first else parameters


def resolve_types(function: Callable[..., Any], parameters: tuple[Parameter, ...]) -> dict[str, Any]:
    """
    Return the types of `parameters` and, under "return", of the result. A parameter without annotation is Any.

    Raises ConfigurationError if an annotation names an object that does not exist (yet).
    """
    written = {parameter.name: parameter.annotation for parameter in parameters}
    written[RETURN] = _signature(function).return_annotation
    types = {name: _resolve(function, name, annotation) for name, annotation in written.items()}
    # `x: int = None` is an old way to write `int | None`, and common.
    optional = [parameter.name for parameter in parameters if parameter.default is None]
    return types | {name: types[name] | None for name in optional if types[name] is not Any}


def wrapper_attributes(function: Callable[..., Any], *, skip_first: bool) -> dict[str, Any]:
    """Return the attributes that `functools.wraps` copies, and the signature without the Context, if it takes one."""
    attributes = {name: getattr(function, name) for name in WRAPPER_ASSIGNMENTS if hasattr(function, name)}
    attributes["__wrapped__"] = function
    if skip_first:
        signature = _signature(function)
        attributes["__signature__"] = signature.replace(parameters=list(signature.parameters.values())[1:])
    return attributes


def _resolve(function: Callable[..., Any], name: str, annotation: Any) -> Any:
    if annotation is Parameter.empty:
        return Any
    namespace: Mapping[str, Any] = getattr(function, "__globals__", {})
    try:
        holder = FunctionType((lambda: None).__code__, {})
        holder.__annotations__ = {name: annotation}
        _copy_type_parameters(function, holder)
        return typing.get_type_hints(holder, dict(namespace), include_extras=True)[name]
    except Exception as error:
        raise ConfigurationError(
            f"The annotation of {name!r} in {function.__qualname__} cannot be resolved: {error}. "
            "Import or define that name at the top level of its module, before the Fifoq is opened."
        ) from error


def _copy_type_parameters(function: Callable[..., Any], holder: FunctionType) -> None:
    if sys.version_info >= (3, 12):
        holder.__type_params__ = getattr(function, "__type_params__", ())


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        if sys.version_info >= (3, 14):
            import annotationlib

            return inspect.signature(function, annotation_format=annotationlib.Format.FORWARDREF)
        return inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"The signature of {function!r} cannot be read: {error}") from error


def _is_method(function: FunctionType) -> bool:
    """Whether it is defined in a class and takes the object. A static method is a function like any other."""
    scope = function.__qualname__.rpartition(".")[0]
    if not scope or scope.endswith("<locals>"):
        return False
    return next(iter(_signature(function).parameters), None) in ("self", "cls")


def _requests_context(annotation: Any, function: FunctionType) -> typing.Literal["yes", "in part", "no"]:
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__forward_arg__", None)
    if text is None:
        return _classify(annotation)
    if not re.search(r"\bContext\b", text):
        return "no"
    try:
        return _classify(eval(text, {**vars(builtins), **function.__globals__}))
    except Exception:
        # Imported for type checkers only, or defined below: the name must suffice until the types are resolved.
        return "yes" if re.fullmatch(r"(\w+\.)*Context", text) else "in part"


def _classify(annotation: Any) -> typing.Literal["yes", "in part", "no"]:
    if isinstance(annotation, type) and issubclass(annotation, Context):
        return "yes"
    return "in part" if any(_classify(part) != "no" for part in get_args(annotation)) else "no"
