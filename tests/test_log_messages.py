"""The page of log messages names each that the code can write, as it is written."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "log-messages.md"

LEVELS = ("debug", "info", "warning", "error", "exception", "critical")

#: Of `logging`'s formats.
PLACEHOLDER = re.compile(r"%[-+ #0-9.]*[a-zA-Z]")

#: Loggers that modules import from others, by the names that they have there.
IMPORTED = {
    "ENGINE_LOGGER": "spinach.engine",
    "JOB_LOGGER": "spinach.job",
    "WORKER_LOGGER": "spinach.worker",
    "LOGGER": "spinach.broker.redis",
}

#: (logger, level, message with an ellipsis for each value).
Message = tuple[str, str, str]


def loggers_of(tree: ast.Module) -> dict[str, str]:
    """Name of a variable → name of its logger."""
    own = {
        node.targets[0].id: node.value.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) == "logging.getLogger"
        and isinstance(node.value.args[0], ast.Constant)
    }
    return IMPORTED | own


def messages_in(path: Path) -> set[Message]:
    """What a module can log."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    loggers = loggers_of(tree)
    found: set[Message] = set()
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner = node.func.value
        if not (isinstance(owner, ast.Name) and owner.id.endswith("LOGGER")):
            continue
        if node.func.attr in ("isEnabledFor", "addHandler"):
            continue
        where = f"{path.relative_to(ROOT)}:{node.lineno}"
        assert node.func.attr in LEVELS, f"{where}: call the method of a level, so that one is read"
        text = node.args[0]
        assert isinstance(text, ast.Constant), f"{where}: a message is a fixed text with %s in it"
        assert isinstance(text.value, str)
        level = {"exception": "error"}.get(node.func.attr, node.func.attr).upper()
        found.add((loggers[owner.id], level, PLACEHOLDER.sub("…", text.value)))
    return found


def messages_of_the_code() -> set[Message]:
    modules = ROOT.glob("packages/*/src/**/*.py")
    return set().union(*(messages_in(module) for module in modules))


def messages_of_the_page() -> list[Message]:
    """The first two cells of each row, under the logger of its heading."""
    found = []
    logger = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## `"):
            logger = line.split("`")[1]
        elif match := re.match(r"\| ([A-Z]+) \| `(.+?)` \| ", line):
            found.append((logger, match[1], match[2]))
    return found


def test_the_page_has_each_message_and_no_other() -> None:
    code, page = messages_of_the_code(), messages_of_the_page()
    assert len(code) > 30
    missing = "\n".join(f"  {m}" for m in sorted(code - set(page)))
    gone = "\n".join(f"  {m}" for m in sorted(set(page) - code))
    assert code == set(page), (
        f"{PAGE.name} lacks a row, under its logger, for each of:\n{missing}\n"
        f"and has rows for what no code logs:\n{gone}"
    )


def test_no_message_stands_there_twice() -> None:
    page = messages_of_the_page()
    assert sorted(page) == sorted(set(page))
