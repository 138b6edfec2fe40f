"""The public names: `fifoq` has them, and imports them only when one is asked for."""

import subprocess
import sys

import pytest

import fifoq
from fifoq import public


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_fifoq_has_each_public_name_and_lists_it() -> None:
    assert {name for name in public.__all__ if getattr(fifoq, name) is not getattr(public, name)} == set()
    assert set(public.__all__) <= set(dir(fifoq))
    assert run("from fifoq import *; print(Fifoq.__name__, Retry.__name__)") == "Fifoq Retry"


def test_import_alone_loads_nothing_and_modules_are_attributes() -> None:
    assert run("import fifoq, sys; print([name for name in sys.modules if name.startswith('fifoq.')])") == "[]"
    assert run("import fifoq; print(fifoq.errors.GiveUp.__name__, fifoq.Job.__name__)") == "GiveUp Job"


@pytest.mark.parametrize("name", ["Nothing", "nothing", "__wrapped__"])
def test_another_name_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'fifoq' has no attribute '{name}'"):
        getattr(fifoq, name)
    with pytest.raises(ImportError):
        exec(f"from fifoq import {name}")
