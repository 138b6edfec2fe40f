"""A task's parameters as a pydantic model, for those who take calls as documents: a request's body, a form."""

from collections.abc import Mapping
from inspect import Parameter
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo

from fifoq.errors import ConfigurationError
from fifoq.signature.parameters import POSITIONAL

_RESERVED = frozenset(dir(BaseModel))


class ArgumentsModel:
    """
    A model with a field per parameter. `*args` is a list, `**kwargs` an object.

    Names that pydantic keeps for itself (`copy`, `model_dump`, `_x`) are aliases of fields of other names, so that a
    document has the parameters' own.
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
