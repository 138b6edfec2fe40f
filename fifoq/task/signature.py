"""
A task's signature: checks its arguments at enqueue, and rebuilds them with their types in the worker; likewise results.

It depends on functions, pydantic and the codec, not on tasks, queues or jobs.
"""

from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_core import ArgsKwargs

from fifoq import codec
from fifoq.codec import EMPTY_CALL, MAX_PAYLOAD, NotSendable, encode_scalars
from fifoq.errors import ConfigurationError, FifoqError, InvalidArguments
from fifoq.record import fast_constructor
from fifoq.task.binding import Shape
from fifoq.task.parameters import POSITIONAL, RETURN, FunctionView
from fifoq.task.values import Value, describe

_RESERVED = frozenset(dir(BaseModel))

# ---- arguments as a pydantic model ----


class ArgumentsModel:
    """
    A model with a field per parameter. `*args` is a list, `**kwargs` an object.

    Names that pydantic keeps for itself (`copy`, `model_dump`, `_x`) become aliases of fields of other names, so that
    a document has the names of the parameters.
    """

    def __init__(self, name: str, parameters: tuple[Parameter, ...], types: Mapping[str, Any]) -> None:
        self._parameters = parameters
        self._fields = {each.name: _field_name(each.name, index) for index, each in enumerate(parameters)}
        fields = {self._fields[each.name]: _field(each, types[each.name]) for each in parameters}
        self.model = _create(f"{name}_arguments", name, fields)

    def call_of(self, body: BaseModel) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return (args, kwargs) of the call that `body`, an instance of the model, describes."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for parameter in self._parameters:
            value = getattr(body, self._fields[parameter.name])
            if parameter.kind in POSITIONAL:
                args.append(value)
            elif parameter.kind is Parameter.VAR_POSITIONAL:
                args += value
            elif parameter.kind is Parameter.VAR_KEYWORD:
                kwargs |= value
            else:
                kwargs[parameter.name] = value
        return tuple(args), kwargs


def _create(title: str, name: str, fields: dict[str, Any]) -> type[BaseModel]:
    try:
        config = ConfigDict(extra="forbid", title=title, protected_namespaces=())
        return create_model(title, __config__=config, **fields)
    except Exception as error:
        raise ConfigurationError(f"The parameters of {name} make no model: {str(error).splitlines()[0]}") from error


def _field_name(name: str, index: int) -> str:
    return f"parameter_{index}" if name in _RESERVED or name.startswith("_") else name


def _field(parameter: Parameter, type_: Any) -> tuple[Any, Any]:
    if parameter.kind is Parameter.VAR_POSITIONAL:
        return list[type_], _info(parameter.name, default_factory=list)
    if parameter.kind is Parameter.VAR_KEYWORD:
        return dict[str, type_], _info(parameter.name, default_factory=dict)
    if isinstance(parameter.default, FieldInfo):
        return type_, parameter.default
    if parameter.default is Parameter.empty:
        return type_, _info(parameter.name)
    return type_, _info(parameter.name, default=parameter.default)


def _info(name: str, **default: Any) -> Any:
    return Field(alias=name, title=name.strip("_").replace("_", " ").capitalize(), **default)


# ---- the signature ----


class Arguments(NamedTuple):
    """One checked call: its payload, and its arguments by parameter name, defaults filled in."""

    payload: bytes
    by_name: Mapping[str, Any]


class Signature:
    """
    The parameters and the result of one function, without its Context.

    Annotations are read when it is made, and resolved by `resolve()` or at first use: they may name classes that are
    defined later. `limit` is the largest payload or result in bytes.
    """

    def __init__(self, function: Callable[..., Any] | FunctionView, *, takes_context: bool = False) -> None:
        self._view = function if isinstance(function, FunctionView) else FunctionView(function)
        self.name = getattr(self._view.function, "__name__", repr(function))
        self.limit = MAX_PAYLOAD
        self.parameters: tuple[Parameter, ...] = self._view.parameters(skip_first=takes_context)
        self.check_types: Callable[[dict[str, Any]], None] = lambda _: None
        """Called with the resolved types of the parameters. May raise ConfigurationError."""
        self._resolved: _Resolved | None = None
        self._exact: tuple[Any, ...] | None = None
        self._names: tuple[str, ...] = ()
        """The names of the shape, once resolved. A copy here, because every call begins with them."""

    def resolve(self) -> "_Resolved":
        """Resolve the annotations and prepare the checks, once. Raises ConfigurationError if that cannot be done."""
        if self._resolved is None:
            types = self._view.types(self.parameters)
            result = Value(f"the result of {self.name}", types.pop(RETURN))
            shape = Shape(self.name, self.parameters, types)
            self.check_types(types)
            self._resolved = _Resolved(shape, result, types)
            self._exact, self._names = shape.exact, shape.names
        return self._resolved

    def encode(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        """Check one call and encode it. Raises InvalidArguments, naming the parameter, or PayloadTooLarge."""
        if not kwargs and self._exact == tuple(map(type, args)):
            if not args:
                return _NO_ARGUMENTS
            by_name = dict(zip(self._names, args))  # noqa: B905  # naming `strict` costs 0.15 µs
            payload = encode_scalars(by_name)
            if payload is not None and len(payload) <= self.limit:
                return _arguments((payload, by_name))
        shape = (self._resolved or self.resolve()).shape
        try:
            if shape.is_fast:
                # The same as `bind` and `dump`, for plain types, without their 0.8 µs.
                given, named = shape.check(ArgsKwargs(args, kwargs))
                by_name: dict[str, Any] = dict(zip(shape.names, given))  # noqa: B905
                by_name.update(named)
                arguments = _arguments((self._pack(shape, [], by_name), by_name))
            else:
                arguments = self._encode(shape, args, kwargs)
        except ValidationError as error:
            raise self._misfit(shape, error) from error
        except FifoqError:
            raise
        except Exception as error:
            raise self._check_failed(shape.blame_check(args, kwargs), error) from error
        if len(arguments.payload) > self.limit:
            codec.check_size(arguments.payload, self.limit, f"A call of {self.name}")
        return arguments

    def decode(self, payload: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Rebuild the arguments of a payload, with their types. Raises InvalidArguments."""
        shape = (self._resolved or self.resolve()).shape
        if shape.is_empty and payload == EMPTY_CALL:
            return (), {}
        try:
            args, kwargs = codec.decode_call(payload, self.limit)
            if (
                shape.exact is not None
                and not args
                and shape.names == tuple(kwargs)
                and shape.exact == tuple(map(type, kwargs.values()))
            ):
                return args, kwargs
            return shape.check(ArgsKwargs(args, kwargs), by_alias=False, by_name=True)
        except ValidationError as error:
            raise self._misfit(shape, error) from error
        except ValueError as error:
            raise InvalidArguments(f"The stored arguments of {self.name} cannot be read: {error}.") from error
        except Exception as error:
            raise self._check_failed(None, error) from error

    def encode_result(self, value: Any) -> bytes:
        """Return the stored form of a result. Raises InvalidArguments if it does not fit or cannot be sent."""
        result = (self._resolved or self.resolve()).result
        if value is None and result.takes_none:
            return codec.NONE
        try:
            data = result.encode(result.check(value))
        except Exception as error:  # a validator or serializer of the user's may raise anything
            raise InvalidArguments(
                f"The return value of {self.name} does not fit its annotation, or cannot be sent: {describe(error)}.",
                parameter=RETURN,
            ) from error
        return codec.check_size(data, self.limit, f"The result of {self.name}")

    def decode_result(self, data: bytes) -> Any:
        """Rebuild a result, with the type of the return annotation. Raises InvalidArguments if that has changed."""
        result = (self._resolved or self.resolve()).result
        try:
            return result.rebuild(codec.unpack(data))
        except Exception as error:
            raise InvalidArguments(
                f"The stored result of {self.name} does not fit its return annotation: {describe(error)}. "
                "Was it stored by another version of the task?",
                parameter=RETURN,
            ) from error

    def arguments_model(self) -> type[BaseModel]:
        """Return a model whose fields are the parameters, for a request body; see `call_of`."""
        return self._model().model

    def call_of(self, body: BaseModel) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return (args, kwargs) of the call that an instance of `arguments_model()` describes."""
        return self._model().call_of(body)

    def _model(self) -> ArgumentsModel:
        resolved = self.resolve()
        if resolved.model is None:
            resolved.model = ArgumentsModel(self.name, self.parameters, resolved.types)
        return resolved.model

    def _encode(self, shape: Shape, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        bound = shape.bind(args, kwargs)
        try:
            positional, named = shape.dump(bound)
        except NotSendable as error:
            raise self._not_sendable(error.parameter, error) from error
        return Arguments(self._pack(shape, positional, named), bound.by_name)

    def _pack(self, shape: Shape, args: list[Any], kwargs: dict[str, Any]) -> bytes:
        try:
            return codec.encode_call(args, kwargs)
        except NotSendable as error:
            raise self._not_sendable(shape.blame(args, kwargs), error) from error

    def _not_sendable(self, parameter: str | None, reason: NotSendable) -> InvalidArguments:
        return InvalidArguments(f"{parameter!r} of {self.name} cannot be sent: {reason}.", parameter=parameter)

    def _check_failed(self, parameter: str | None, error: Exception) -> InvalidArguments:
        """A validator raised another error than pydantic translates. Its text may hold the value, so it is left out."""
        subject = "The arguments" if parameter is None else repr(parameter)
        return InvalidArguments(
            f"{subject} of {self.name} cannot be checked: a validator raised {type(error).__name__}. Raise ValueError "
            "for a value that does not fit.",
            parameter=parameter,
        )

    def _misfit(self, shape: Shape, error: ValidationError) -> InvalidArguments:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        parameter, path = shape.locate(details[0]["loc"])
        more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
        return InvalidArguments(f"{path} of {self.name}: {details[0]['msg']}{more}.", parameter=parameter)


class _Resolved:
    """The checks that need the resolved annotations."""

    __slots__ = ("model", "result", "shape", "types")

    def __init__(self, shape: Shape, result: Value, types: dict[str, Any]) -> None:
        self.shape = shape
        self.result = result
        self.types = types
        self.model: ArgumentsModel | None = None


_arguments = fast_constructor(Arguments)
_NO_ARGUMENTS = Arguments(EMPTY_CALL, {})
