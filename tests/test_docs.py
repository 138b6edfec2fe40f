"""
What the documents show is true: every block marked `python` runs, page by page, and prints what the page says.

A block without `await` at its top level runs as a program. Otherwise what comes before the first `await` runs first,
and the rest inside `async with tasks, tasks.worker():`, with the `tasks` of its page.
"""

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fifoq import Fifoq
from fifoq.task.definition import TaskSettings
from fifoq.task.options import TaskOptions

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
DOCUMENTS = [*PAGES, *ROOT.glob("*.md")]
BLOCK = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)


class Program(NamedTuple):
    """One block of a page, and what the page says that it prints."""

    code: str
    line: int
    prints: str | None


def programs(page: Path) -> Iterator[Program]:
    text = page.read_text()
    blocks = list(BLOCK.finditer(text))
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if block["kind"] == "python":
            line = text[: block.start("text")].count("\n")
            prints = following["text"] if following is not None and following["kind"] == "text" else None
            yield Program(block["text"], line, prints)


async def run_inside(rest: ast.Module, module: types.ModuleType, file: str) -> None:
    tasks = module.__dict__["tasks"]
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(tasks)
        await stack.enter_async_context(tasks.worker())
        code = compile(rest, file, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        done: Any = eval(code, module.__dict__)
        if inspect.isawaitable(done):
            await asyncio.wait_for(done, 60)


def run(program: Program, module: types.ModuleType, page: Path) -> None:
    # Empty lines in front, so that a traceback names the line of the page.
    tree = unguarded(ast.parse("\n" * program.line + program.code))
    awaits = [number for number, part in enumerate(tree.body) if is_awaiting(part)]
    first = awaits[0] if awaits else len(tree.body)
    exec(compile(ast.Module(tree.body[:first], []), str(page), "exec"), module.__dict__)
    if awaits:
        asyncio.run(run_inside(ast.Module(tree.body[first:], []), module, str(page)))


def is_guard(part: ast.stmt) -> bool:
    return isinstance(part, ast.If) and ast.unparse(part.test) == "__name__ == '__main__'"


def unguarded(tree: ast.Module) -> ast.Module:
    """The tree with the statements under `if __name__ == "__main__":` at its top level."""
    body: list[ast.stmt] = []
    for part in tree.body:
        body.extend(part.body if isinstance(part, ast.If) and is_guard(part) else [part])
    return ast.Module(body, [])


def is_awaiting(part: ast.stmt) -> bool:
    """Whether a statement awaits at its own level, not inside a function that it defines."""
    if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return False
    return any(isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith) for node in ast.walk(part))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_shows_runs_and_prints_what_it_says(
    page: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType(f"page_{page.stem.replace('-', '_')}")
    # Annotations are resolved in the module that a function comes from.
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for program in programs(page):
        run(program, module, page)
        if program.prints is not None:
            assert capsys.readouterr().out == program.prints, f"the block at line {program.line} of {page.name}"


def blocks_that_start(document: Path) -> list[str]:
    """The blocks of a document that start an event loop: programs."""
    code = [match["text"] for match in BLOCK.finditer(document.read_text()) if match["kind"] in ("python", "py")]
    return [block for block in code if "asyncio.run(" in block]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_program_starts_under_a_guard(document: Path) -> None:
    """A child process imports it, as soon as a reader gives it a task that runs in one."""
    for block in blocks_that_start(document):
        bare = [ast.unparse(part) for part in ast.parse(block).body if not is_guard(part)]
        starts = [part for part in bare if not part.startswith(("def ", "async def ")) and "asyncio.run(" in part]
        assert not starts


@pytest.mark.parametrize("number", range(3))
def test_a_program_of_the_quickstart_prints_the_same_with_its_task_in_a_process(tmp_path: Path, number: int) -> None:
    program = [one for one in programs(ROOT / "docs" / "quickstart.md") if "asyncio.run(" in one.code][number]
    code = program.code.replace("@tasks.task(", '@tasks.task(run_in="process", ')
    assert code != program.code
    (tmp_path / "first.py").write_text(code)
    environment = {name: value for name, value in os.environ.items() if name != "FIFOQ_URL"}
    done = subprocess.run(
        [sys.executable, "first.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    prints = program.prints or "m1 1\nm1 2\nm1 3\n"
    assert (done.returncode, done.stdout) == (0, prints), done.stderr


async def test_the_worker_of_the_readme_runs_tasks_in_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [program] = blocks_that_start(ROOT / "README.md")
    (tmp_path / "service.py").write_text(program)
    (tmp_path / "myapp.py").write_text(
        'from fifoq import Fifoq\n\ntasks = Fifoq()\n\n\n@tasks.task(run_in="process")\n'
        "def square(n: int) -> int:\n    return n * n\n"
    )
    monkeypatch.setenv("FIFOQ_URL", f"sqlite:///{tmp_path}/jobs.db")
    tasks = Fifoq()

    @tasks.task
    def square(n: int) -> int: ...

    service = await asyncio.create_subprocess_exec(sys.executable, "service.py", cwd=tmp_path)
    try:
        async with tasks:
            assert await square.options(wait=60).call(7) == 49
        service.terminate()
        assert await asyncio.wait_for(service.wait(), 60) == 0
    finally:
        if service.returncode is None:
            service.kill()


def test_the_suite_that_a_backend_begins_with_runs(tmp_path: Path) -> None:
    first = next(programs(ROOT / "docs" / "writing-a-backend.md"))
    (tmp_path / "test_mine.py").write_text(first.code)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "retry or stale"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    broken: list[str] = []
    for target in [match["target"] for match in LINK.finditer(document.read_text())]:
        if not target.startswith("https://"):
            name, _, anchor = target.partition("#")
            file = (document.parent / name).resolve() if name else document
            if not file.exists() or (anchor and anchor not in anchors(file)):
                broken.append(target)
    assert not broken


def anchors(document: Path) -> set[str]:
    """The anchors that a document's headings make, as code hosts make them."""
    titles = [match["title"] for match in HEADING.finditer(document.read_text())]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_table_of_settings_and_options_is_whole() -> None:
    rows = re.findall(
        r"^\| (`\w+`(?:, `\w+`)*) \| (yes)? ?\| (yes)? ?\|", (ROOT / "docs" / "tasks.md").read_text(), re.MULTILINE
    )
    settings = {name for names, setting, _ in rows if setting for name in re.findall(r"\w+", names)}
    options = {name for names, _, option in rows if option for name in re.findall(r"\w+", names)}
    assert settings == set(TaskSettings.__annotations__)
    assert options == set(TaskOptions.__annotations__)
