"""Write down every name that users import, with signatures and defaults, as text.

Usage: python tools/public_api.py > tests/public-api.txt

It reads the sources and imports nothing, so the text is the same on every Python. A test
compares it with tests/public-api.txt: a change of a public name is seen in review.
"""

from __future__ import annotations

import ast
import copy
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent

#: Modules that people import from. What they offer is what their `__all__` names, and
#: what `spinach` imports on demand.
PUBLIC = (
    "spinach",
    "spinach.brokers.base",
    "spinach.brokers.calls",
    "spinach.clock",
    "spinach.engine",
    "spinach.exc",
    "spinach.failed",
    "spinach.job",
    "spinach.jobs",
    "spinach.operating.flow",
    "spinach.operating.limits",
    "spinach.operating.periodic",
    "spinach.operating.queues",
    "spinach.operating.workers",
    "spinach.options",
    "spinach.outcome",
    "spinach.signals",
    "spinach.task",
    "spinach.utils",
    "spinach_memory",
    "spinach_redis",
    "spinach_redis.migrate",
    "spinach_testing",
    "spinach_testing.clock",
    "spinach_testing.conformance",
    "spinach_testing.conformance.breakers",
    "spinach_testing.plugin",
)

#: Modules of the broker's roles. Nobody imports them: their methods are told where they are
#: joined, in `spinach.brokers.base.Broker`.
ROLES = (
    "spinach.brokers.role",
    "spinach.brokers.storing",
    "spinach.brokers.working",
    "spinach.brokers.housekeeping",
    "spinach.brokers.management",
    "spinach.brokers.operating",
    "spinach.brokers.jobs",
    "spinach.brokers.failed_store",
    "spinach.brokers.results",
)

#: Where a name is told in full that several public modules offer, and none of them makes.
#: Others are told where they are offered first.
TOLD = {"Task": "spinach.task"}

#: Methods with two underscores that users call, if not by name.
SPOKEN = {"__init__", "__enter__", "__exit__", "__aenter__", "__aexit__", "__iter__", "__len__"}
INDENT = "    "


class Definition(NamedTuple):
    """Where a name is made, and how."""

    module: str
    node: ast.stmt


class Part(NamedTuple):
    """A class whose members are told as those of the class that joins it with others."""

    module: str
    node: ast.ClassDef


def source(module: str) -> Path | None:
    """The file of a module of ours; None for modules of others."""
    parts = module.split(".")
    for folder in ROOT.glob(f"packages/*/src/{parts[0]}"):
        for path in (
            folder.joinpath(*parts[1:], "__init__.py"),
            folder.joinpath(*parts[1:]).with_suffix(".py") if parts[1:] else folder,
        ):
            if path.is_file():
                return path
    return None


@cache
def tree(module: str) -> ast.Module:
    """The syntax tree of a module of ours."""
    path = source(module)
    if path is None:
        raise LookupError(f"there is no module {module} in packages/")
    return ast.parse(path.read_text(encoding="utf-8"))


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a body, those for type checkers included."""
    for node in body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from statements(node.body)
        else:
            yield node


def names_of(node: ast.stmt) -> list[str]:
    """What a statement defines."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


def origin(module: str, node: ast.ImportFrom) -> str:
    """The module that an import names."""
    path = source(module)
    package = module.split(".")
    if path is not None and path.name != "__init__.py":
        package = package[:-1]
    if not node.level:
        return node.module or ""
    package = package[: len(package) - node.level + 1]
    return ".".join([*package, *([node.module] if node.module else [])])


@cache
def definitions(module: str, name: str) -> tuple[Definition, ...]:
    """Where a name of a module comes from; several for overloads, none if it is not ours."""
    found = []
    for node in statements(tree(module).body):
        if name in names_of(node):
            found.append(Definition(module, node))
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name and source(origin(module, node)):
                    found += definitions(origin(module, node), alias.name)
    return tuple(found)


def exported(module: str) -> list[str]:
    """What a module offers: its `__all__`, and the brokers that `spinach` imports on demand."""
    names: list[str] = []
    for node in statements(tree(module).body):
        if names_of(node) == ["__all__"]:
            value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
            names += ast.literal_eval(value) if value is not None else []
        # `import X as X` where only type checkers look: found by a `__getattr__`.
        elif isinstance(node, ast.ImportFrom):
            names += [alias.name for alias in node.names if alias.asname == alias.name]
    return sorted(set(names))


def place(name: str, home: str) -> str:
    """The one public module under which a name is told in full."""
    offering = [m for m in PUBLIC if any(d.module == home for d in definitions(m, name))]
    own = [m for m in offering if m.split(".")[0] == home.split(".", maxsplit=1)[0]]
    return home if home in offering else TOLD.get(name, [*own, *offering][0])


def default(module: str, node: ast.expr) -> ast.expr:
    """A default value; a constant of ours is replaced by its value, which is the promise."""
    if isinstance(node, ast.Name):
        for found in definitions(module, node.id):
            if isinstance(found.node, ast.Assign | ast.AnnAssign) and found.node.value is not None:
                return equal_text(found.module, found.node.value)
    return node


def equal_text(module: str, node: ast.expr) -> ast.expr:
    """The text that an instance of a subclass of `str` equals; else the node itself."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 1:
        for found in definitions(module, node.func.id):
            if isinstance(found.node, ast.ClassDef) and "str" in map(ast.unparse, found.node.bases):
                return default(module, node.args[0])
    return node


def annotation(module: str, node: ast.expr) -> ast.expr:
    """The type of a field; of a `NewType` of ours the base, which is what a value is made of."""
    if isinstance(node, ast.Name):
        for found in definitions(module, node.id):
            match found.node:
                case ast.Assign(value=ast.Call(func=ast.Name(id="NewType"), args=[_, base])):
                    return base
                case _:
                    pass
    return node


def signature(module: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """The head of a function on one line."""
    given = node.args
    # One with an underscore is for tests of ours.
    named = [
        (argument, value and default(module, value))
        for argument, value in zip(given.kwonlyargs, given.kw_defaults, strict=True)
        if not argument.arg.startswith("_")
    ]
    arguments = ast.arguments(
        posonlyargs=given.posonlyargs,
        args=given.args,
        vararg=given.vararg,
        kwonlyargs=[argument for argument, _ in named],
        kw_defaults=[value for _, value in named],
        kwarg=given.kwarg,
        defaults=[default(module, each) for each in given.defaults],
    )
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    kind = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    return f"{kind} {node.name}({ast.unparse(arguments)}){returns}"


def role(module: str, base: ast.expr) -> Part | None:
    """The base of a class as a part of it: one of the modules of roles; None of other bases."""
    if not isinstance(base, ast.Name) or any(base.id in exported(each) for each in PUBLIC):
        return None
    for found in definitions(module, base.id):
        if found.module in ROLES and isinstance(found.node, ast.ClassDef):
            return Part(found.module, found.node)
    return None


def roles(module: str, node: ast.ClassDef) -> list[Part]:
    """The roles that a class joins and what these have in common, each once, that first."""
    parts: list[Part] = []
    for base in node.bases:
        part = role(module, base)
        if part is not None:
            parts += [*roles(*part), part]
    return list(dict.fromkeys(parts))


def typed_as(module: str, node: ast.expr) -> list[ast.FunctionDef]:
    """The overloads that `@typed_as(Holder.method)` gives a method; empty of others."""
    match node:
        case ast.Call(
            func=ast.Name(id="typed_as"),
            args=[ast.Attribute(value=ast.Name(id=holder), attr=method)],
        ):
            [found] = definitions(module, holder)
        case _:
            return []
    assert isinstance(found.node, ast.ClassDef)
    overloads = []
    for member in found.node.body:
        if isinstance(member, ast.FunctionDef) and member.name == method and member.decorator_list:
            overload = copy.deepcopy(member)
            overload.args.posonlyargs[0].annotation = None  # of self
            overloads.append(overload)
    return overloads


def shown(module: str, node: ast.stmt, indent: str = "") -> Iterator[str]:
    """The lines that tell what a definition promises."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        for decorator in node.decorator_list:
            if overloads := typed_as(module, decorator):
                for each in overloads:
                    yield from shown(module, each, indent)
            else:
                yield f"{indent}@{ast.unparse(decorator)}"
        yield indent + signature(module, node)
    elif isinstance(node, ast.ClassDef):
        for decorator in node.decorator_list:
            yield f"{indent}@{ast.unparse(decorator)}"
        parts = roles(module, node)
        inherited = [
            base for part in parts for base in part.node.bases if not role(part.module, base)
        ]
        own = [base for base in node.bases if not role(module, base)]
        keywords = [ast.unparse(each) for each in node.keywords]
        bases = [*dict.fromkeys(map(ast.unparse, [*inherited, *own])), *keywords]
        yield (
            f"{indent}class {node.name}({', '.join(bases)})"
            if bases
            else (f"{indent}class {node.name}")
        )
        for part in [*parts, Part(module, node)]:
            for member in statements(part.node.body):
                if all(name in SPOKEN or not name.startswith("_") for name in names_of(member)):
                    yield from shown(part.module, member, indent + INDENT)
    elif isinstance(node, ast.AnnAssign):
        value = f" = {ast.unparse(default(module, node.value))}" if node.value else ""
        annotated = ast.unparse(annotation(module, node.annotation))
        yield f"{indent}{ast.unparse(node.target)}: {annotated}{value}"
    elif isinstance(node, ast.Assign):
        yield f"{indent}{ast.unparse(node)}"


def page() -> str:
    """All of it."""
    lines = ["# Written by tools/public_api.py; the first line there says how."]
    for module in PUBLIC:
        lines += ["", f"module {module}", ""]
        for name in exported(module):
            found = definitions(module, name)
            if not found:
                raise LookupError(f"{module}.__all__ names {name!r}, which is not to be found")
            told = place(name, found[0].module)
            if told != module:
                lines.append(f"{INDENT}{name}: see {told}")
                continue
            for each in found:
                lines += shown(each.module, each.node, INDENT)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr] # a console everywhere
    print(page(), end="")
