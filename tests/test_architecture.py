"""docs/architecture.md lists every module of the packages, and no other."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"


def listed() -> dict[str, list[str]]:
    """The modules of the page's tree, by folder."""
    [tree] = [block for block in re.findall(r"```text\n(.*?)```", PAGE.read_text(), re.DOTALL) if "fifoq/\n" in block]
    folders: dict[str, list[str]] = {}
    modules: list[str] = []
    for line in tree.splitlines():
        if line.endswith("/"):
            modules = folders[line.rstrip("/")] = []
        elif line:
            modules.append(line.split()[0])
    return folders


def modules(folder: Path) -> set[str]:
    """The modules and packages of a folder that are not folders of the tree themselves."""
    files = {path.stem for path in folder.glob("*.py") if path.stem not in ("__init__", "__main__")}
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    return files | {name for name in packages if str((folder / name).relative_to(ROOT)) not in listed()}


def test_every_package_has_a_folder_in_the_tree() -> None:
    packages = [path.parent for parent in ("backends", "adapters") for path in (ROOT / parent).glob("*/__init__.py")]
    assert {str(path.relative_to(ROOT)) for path in packages} <= set(listed())


@pytest.mark.parametrize("folder", listed())
def test_the_tree_lists_the_modules_of_a_folder_once_each(folder: str) -> None:
    names = listed()[folder]
    assert len(names) == len(set(names))
    assert set(names) == modules(ROOT / folder)


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_every_file_that_a_page_names_exists(page: str) -> None:
    paths = re.findall(r"`((?:fifoq|backends|adapters|tests|tools)/[\w/.-]+)`", (ROOT / page).read_text())
    assert [path for path in paths if not (ROOT / path).exists()] == []
