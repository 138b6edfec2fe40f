"""A function as its innermost definition is written: its parameters, their types, and whether it takes the Context."""

import builtins
import inspect
import re
import sys
import typing
from collections.abc import Callable
from functools import WRAPPER_ASSIGNMENTS, cached_property, partial
from inspect import Parameter
from types import FunctionType
from typing import Any, get_args

from fifoq.errors import ConfigurationError
from fifoq.task.context import Context

RETURN = "return"
POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class FunctionView:
    """
    One function under its decorators, as `inspect.unwrap` finds it: all that is read of it is read of that one.

    A decorator that leaves no `__wrapped__` hides its function: then the wrapper is the function.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        """The function with its decorators: the one to call."""
        self.name: str = getattr(function, "__qualname__", repr(function))
        self._layers = _layers(function)
        self._innermost = self._layers[-1]
        self.is_async = any(map(inspect.iscoroutinefunction, self._layers))
        """A call gives an awaitable, also where a decorator is a plain def that passes it on."""

    def check(self) -> None:
        """Raise ConfigurationError if it cannot be a task: it is no function, yields, or is a method."""
        if type(self.function) is not FunctionType:  # a task is an instance of FunctionType, too
            raise ConfigurationError(
                f"A task is a function defined with def or async def; {self.name} is a {type(self.function).__name__}. "
                "Write a function that calls it."
            )
        for function in self._layers:
            if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
                raise ConfigurationError(
                    f"{self.name} yields; a task returns its result. Return a list, or enqueue a job per item."
                )
        if self._is_method():
            raise ConfigurationError(
                f"{self.name} is a method; a worker in another process has no object to call it on. "
                "Make the task a function, and pass the object's id."
            )

    def takes_context(self) -> bool:
        """
        Return whether the first parameter is the Context.

        Raises ConfigurationError if the Context is requested in another way: further on, or as `Context | None`.
        """
        parameters = list(self._signature.parameters.values())
        for index, parameter in enumerate(parameters):
            request = self._requests_context(parameter.annotation)
            if request == "no":
                continue
            if request == "in part" or index > 0 or parameter.kind not in POSITIONAL:
                raise ConfigurationError(
                    f"{self.name} takes the Context as {parameter.name!r}. Take it as the first parameter, "
                    "annotated as Context and nothing else: it is always there."
                )
        return bool(parameters) and self._requests_context(parameters[0].annotation) == "yes"

    def parameters(self, *, skip_first: bool) -> tuple[Parameter, ...]:
        """Return the parameters, the Context left out, with their annotations as written."""
        parameters = tuple(self._signature.parameters.values())
        return parameters[1:] if skip_first else parameters

    def types(self, parameters: tuple[Parameter, ...]) -> dict[str, Any]:
        """
        Return the types of `parameters` and, under "return", of the result. A parameter without annotation is Any.

        Raises ConfigurationError if an annotation names an object that does not exist (yet).
        """
        written = {parameter.name: parameter.annotation for parameter in parameters}
        written[RETURN] = self._signature.return_annotation
        types = {name: self._resolve(name, annotation) for name, annotation in written.items()}
        # `x: int = None` is an old way to write `int | None`, and common.
        optional = [parameter.name for parameter in parameters if parameter.default is None]
        return types | {name: types[name] | None for name in optional if types[name] is not Any}

    def attributes(self, *, skip_first: bool) -> dict[str, Any]:
        """
        Return the attributes by which a function is known: those that `functools.wraps` copies, those that `inspect`
        asks for, the user's own; and the signature without the Context, if it takes that.
        """
        function = self.function
        names = (*WRAPPER_ASSIGNMENTS, *_OF_FUNCTIONS, *vars(function))
        attributes = {name: getattr(function, name) for name in names if hasattr(function, name)}
        attributes["__wrapped__"] = function
        if skip_first:
            attributes["__signature__"] = self._signature.replace(parameters=self.parameters(skip_first=True))
        return attributes

    def in_loop(self) -> Callable[..., Any]:
        """Return the function as one to await: itself, unless a plain def decorates an async function."""
        function = self.function
        if inspect.iscoroutinefunction(function):
            return function

        async def call(*args: Any, **kwargs: Any) -> Any:
            value = function(*args, **kwargs)
            return await value if inspect.isawaitable(value) else value

        return call

    def _is_method(self) -> bool:
        """Whether it is defined in a class and takes the object. A static method is a function like any other."""
        scope = getattr(self._innermost, "__qualname__", "").rpartition(".")[0]
        if not scope or scope.endswith("<locals>"):
            return False
        return next(iter(self._signature.parameters), None) in ("self", "cls")

    @cached_property
    def _signature(self) -> inspect.Signature:
        return _signature(self.function)

    @property
    def _namespace(self) -> dict[str, Any]:
        return getattr(self._innermost, "__globals__", {})

    def _resolve(self, name: str, annotation: Any) -> Any:
        if annotation is Parameter.empty:
            return Any
        try:
            holder = FunctionType((lambda: None).__code__, {})
            holder.__annotations__ = {name: annotation}
            if sys.version_info >= (3, 12):
                holder.__type_params__ = getattr(self._innermost, "__type_params__", ())
            return typing.get_type_hints(holder, dict(self._namespace), include_extras=True)[name]
        except Exception as error:
            raise ConfigurationError(
                f"The annotation of {name!r} in {self.name} cannot be resolved: {error}. "
                "Import or define that name at the top level of its module, before the Fifoq is opened."
            ) from error

    def _requests_context(self, annotation: Any) -> typing.Literal["yes", "in part", "no"]:
        text = annotation if isinstance(annotation, str) else getattr(annotation, "__forward_arg__", None)
        if text is None:
            return _classify(annotation)
        if not re.search(r"\bContext\b", text):
            return "no"
        try:
            return _classify(eval(text, {**vars(builtins), **self._namespace}))
        except Exception:
            # Imported for type checkers only, or defined below: the name must suffice until the types are resolved.
            return "yes" if re.fullmatch(r"(\w+\.)*Context", text) else "in part"


_OF_FUNCTIONS = ("__code__", "__globals__", "__closure__", "__defaults__", "__kwdefaults__", "__builtins__")


def _layers(function: Callable[..., Any]) -> list[Any]:
    """Return the function and all that it wraps, as `inspect.unwrap` finds it, the innermost last."""
    layers: list[Any] = [function]
    while True:
        layer = layers[-1]
        inner = getattr(layer, "__wrapped__", layer.func if isinstance(layer, partial) else None)  # pyright: ignore[reportUnknownMemberType]
        if inner is None:
            return layers
        if any(inner is each for each in layers):
            raise ConfigurationError(f"The decorators of {function!r} wrap each other in a circle.")
        layers.append(inner)


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        if sys.version_info >= (3, 14):
            import annotationlib

            return inspect.signature(function, annotation_format=annotationlib.Format.FORWARDREF)
        return inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"The signature of {function!r} cannot be read: {error}") from error


def _classify(annotation: Any) -> typing.Literal["yes", "in part", "no"]:
    if isinstance(annotation, type) and issubclass(annotation, Context):
        return "yes"
    return "in part" if any(_classify(part) != "no" for part in get_args(annotation)) else "no"
