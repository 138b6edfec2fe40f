"""fifoq: background jobs in order. Its public names are those of fifoq.public."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fifoq.public import *  # noqa: F403
else:

    def __getattr__(name: str) -> Any:
        # The public names are imported when one is asked for: they take half a second on a slow machine, and the help
        # of the command line needs none of them. Only they begin with a capital letter; other names are modules.
        if name[:1].isupper() or name == "__all__":
            public = import_module("fifoq.public")
            globals().update({each: getattr(public, each) for each in ("__all__", *public.__all__)})
            if name in globals():
                return globals()[name]
        elif name[:1].isalpha():
            try:
                return import_module(f"fifoq.{name}")
            except ModuleNotFoundError as error:
                if error.name != f"fifoq.{name}":
                    raise
        raise AttributeError(f"module 'fifoq' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *import_module("fifoq.public").__all__})
