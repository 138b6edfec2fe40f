"""
Validation of request bodies that ends early: a body may be wrong in 600,000 places, and one of them is enough.

pydantic collects all errors before it raises. Here each list, set, tuple and dict ends at its first wrong item. Where
there are too many all the same (members that are not declared, trees of models), one error stands for them.
"""

import inspect
from collections.abc import Mapping
from typing import Annotated, Any, cast

from pydantic import BaseModel, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError, SchemaError, SchemaValidator, core_schema

MAX_COLLECTED = 1_000
"""The most errors that are looked at one by one: each costs about 5 µs."""

_CONTAINERS = ("list", "tuple", "set", "frozenset", "dict", "deque", "counter", "frozendict", "ordered-dict")
_NO_SCHEMAS = frozenset({"default", "metadata", "serialization", "expected", "config", "computed_fields"})
"""Members of a core schema that hold values of the user's, or nothing that validates."""


def bounded_body(model: type[BaseModel]) -> Any:
    """Return the type of a body that is validated as `model` is, and ends early."""
    validator: SchemaValidator | None = None

    def check(body: Any, plain: ValidatorFunctionWrapHandler) -> Any:
        nonlocal validator
        if validator is None:
            validator = _validator(model)
        try:
            return plain(body) if validator is None else validator.validate_python(body, from_attributes=True)
        except ValidationError as error:
            count = error.error_count()
            if count <= MAX_COLLECTED:
                raise
            raise PydanticCustomError("too_many_errors", "{count} parts do not fit", {"count": count}) from None

    return Annotated[model, WrapValidator(check)]


def _validator(model: type[BaseModel]) -> SchemaValidator | None:
    """Return a validator of `model` that ends early; None if its schema cannot be read."""
    try:
        return SchemaValidator(fail_fast(model.__pydantic_core_schema__), **_ANEW)
    except SchemaError:
        return None


def fail_fast(schema: Any) -> Any:
    """Return a copy of a core schema in which each container ends at its first wrong item."""
    if isinstance(schema, list | tuple):
        items = cast("list[Any] | tuple[Any, ...]", schema)
        return type(items)(fail_fast(item) for item in items)
    if not isinstance(schema, dict):
        return schema
    members = cast("dict[str, Any]", schema)
    copy = {name: member if name in _NO_SCHEMAS else _of_member(name, member) for name, member in members.items()}
    if isinstance(copy.get("type"), str) and copy["type"] in _FAIL_FAST:
        copy["fail_fast"] = True
    return copy


def _of_member(name: str, member: Any) -> Any:
    if name in ("fields", "choices") and isinstance(member, dict):  # by names of the user's, such as `default`
        return {key: fail_fast(each) for key, each in cast("dict[str, Any]", member).items()}
    return fail_fast(member)


def _parameters(function: Any) -> Mapping[str, Any]:
    return inspect.signature(function).parameters


def _has_fail_fast(container: str) -> bool:
    make = getattr(core_schema, f"{container.replace('-', '_')}_schema", None)
    return make is not None and "fail_fast" in _parameters(make)


_FAIL_FAST = frozenset(filter(_has_fail_fast, _CONTAINERS))
"""The types of core schemas that have `fail_fast` in this version of pydantic."""
_ANEW: dict[str, Any] = {"_use_prebuilt": False} if "_use_prebuilt" in _parameters(SchemaValidator) else {}
"""Without it, pydantic takes the validators that models have already, which collect all errors."""
