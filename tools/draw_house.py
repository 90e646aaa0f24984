"""Draw the modules of a package as a house: folders in layers, and what imports what.

    python tools/draw_house.py                   write the committed pictures
    python tools/draw_house.py CHECKOUT FILE     draw another checkout, all in one picture

It reads the sources and imports nothing; imports for types count, too. A folder stands above
all that it imports. Where modules or folders import each other in a circle, it draws them in
red, names them, and ends with status 1. A test compares the committed pictures with the code.
"""

from __future__ import annotations

import ast
import sys
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

ROOT = Path(__file__).parent.parent
#: Folder of a distribution below `packages` → the package in it.
PACKAGES = {
    "spinach-core": "spinach",
    "spinach-memory": "spinach_memory",
    "spinach-redis": "spinach_redis",
}
#: The committed pictures, below `docs/design`, and what they show.
PICTURES = {
    "house-core.svg": ("spinach-core",),
    "house-memory.svg": ("spinach-memory",),
    "house-redis.svg": ("spinach-redis",),
}
RENEW = "run: python tools/draw_house.py"

#: Node → the nodes that it imports.
Graph = dict[str, set[str]]

# Lengths in pixels.
WIDTH, MARGIN, LANE = 860, 12, 10
ROW_GAP, FLOOR_GAP, BOX_GAP, PADDING = 30, 5, 16, 10
#: Of a line of text, of a letter, and of what a number of lines takes behind a name.
LINE, LETTER, NUMBER = 17, 6.4, 46

#: Grey text on transparent ground is readable on light and dark pages alike.
STYLE = """<style>
text { font: 12px sans-serif; fill: #4b5563 }
.title { font-size: 16px; font-weight: bold }
.name { font-weight: bold }
.note { font-size: 11px; font-style: italic }
.lines { text-anchor: end }
.bad { fill: #dc2626 }
rect { fill: #9ca3af; fill-opacity: 0.13; stroke: #9ca3af }
path { fill: none; stroke: #6b7280; marker-end: url(#tip) }
path.bad { stroke: #dc2626; fill: none }
@media (prefers-color-scheme: dark) { text { fill: #c9d1d9 } path { stroke: #9ca3af } }
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7"
orient="auto"><path d="M0 0L8 4L0 8z" style="fill:#6b7280;stroke:none;marker-end:none"/></marker>
</defs>"""


class Module(NamedTuple):
    """A file of a package."""

    lines: int
    #: First sentence of its docstring; empty without one.
    says: str
    imports: frozenset[str]


class House(NamedTuple):
    """A package as it is drawn."""

    package: str
    #: Dotted name, without the package's → module. The package itself is "__init__".
    modules: dict[str, Module]
    #: Folder → the Lua files below it, and their lines.
    scripts: dict[str, dict[str, int]]

    def room(self, module: str) -> str:
        """Where a module stands: its folder, with a slash, or itself at the root."""
        first, dot, _ = module.partition(".")
        return f"{first}/" if dot else first

    def rooms(self) -> Graph:
        """Which folders and modules of the root import which."""
        graph: Graph = {self.room(name): set() for name in self.modules}
        for name, module in self.modules.items():
            graph[self.room(name)] |= {self.room(other) for other in module.imports}
        return {name: others - {name} for name, others in graph.items()}

    def circles(self) -> list[list[str]]:
        """Modules, and then folders, that import each other in a circle."""
        modules = {name: set(module.imports) for name, module in self.modules.items()}
        found = circles(modules) + circles(self.rooms())
        return [each for number, each in enumerate(found) if each not in found[:number]]


class Box(NamedTuple):
    """A rectangle with modules in it."""

    title: str
    #: What the folder says of itself.
    says: str
    #: Name, lines.
    entries: list[tuple[str, int]]
    #: The rooms that it shows.
    rooms: frozenset[str]


# -- reading the code ------------------------------------------------------------------


def read(checkout: Path, distribution: str) -> House:
    """The modules of a distribution, and what they import of its own."""
    package = PACKAGES[distribution]
    base = checkout / "packages" / distribution / "src" / package
    files: dict[str, Path] = {}
    for path in sorted(base.rglob("*.py")):
        files[".".join(path.relative_to(base).with_suffix("").parts)] = path
    modules = {name: _module(package, name, path, files) for name, path in files.items()}
    scripts: dict[str, dict[str, int]] = {}
    for path in sorted(base.rglob("*.lua")):
        inside = path.relative_to(base)
        name = "/".join(inside.parts[1:])
        scripts.setdefault(f"{inside.parts[0]}/", {})[name] = _lines(path)
    return House(package, modules, scripts)


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def _module(package: str, name: str, path: Path, known: Collection[str]) -> Module:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {_known(alias.name, package, known) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                above = [package, *name.split(".")][: -node.level]
                origin = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                inner = _known(f"{origin}.{alias.name}", package, known)
                found.add(inner or _known(origin, package, known))
    paragraph = (ast.get_docstring(tree) or "").partition("\n\n")[0].replace("\n", " ")
    says = paragraph.partition(". ")[0].replace("`", "")
    return Module(_lines(path), says, frozenset(found - {"", name}))


def _known(dotted: str, package: str, known: Collection[str]) -> str:
    """The module of that name; empty if it is none of this package."""
    if dotted == package:
        return "__init__"
    if not dotted.startswith(f"{package}."):
        return ""
    inside = dotted.removeprefix(f"{package}.")
    if inside in known:
        return inside
    return f"{inside}.__init__" if f"{inside}.__init__" in known else ""


# -- graphs ----------------------------------------------------------------------------


def reach(graph: Mapping[str, Iterable[str]], start: str) -> set[str]:
    """All nodes that a node leads to; itself only if it stands in a circle."""
    seen: set[str] = set()
    ahead = list(graph[start])
    while ahead:
        node = ahead.pop()
        if node not in seen:
            seen.add(node)
            ahead += graph[node]
    return seen


def circles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """The groups of nodes that lead to each other, in order of their names."""
    reached = {node: reach(graph, node) for node in graph}
    groups = {
        tuple(sorted(other for other in reached[node] if node in reached[other]))
        for node in graph
        if node in reached[node]
    }
    return [list(group) for group in sorted(groups)]


def floors(graph: Graph, *, folders_apart: bool) -> list[list[str]]:
    """Nodes from top to bottom: each stands above all that it imports, as high as it can.

    Args:
        graph: nodes of a circle stand on one floor.
        folders_apart: whether modules of the root share no floor with folders.
    """
    reached = {node: reach(graph, node) for node in graph}
    left = set(graph)
    result: list[list[str]] = []
    while left:
        free = {
            node
            for node in left
            if not any(
                node in reached[other] and other not in reached[node] for other in left - {node}
            )
        }
        if folders_apart:
            roots = {node for node in free if not node.endswith("/")}
            if roots and result and not result[-1][0].endswith("/"):
                result[-1] = sorted({*result[-1], *roots})
                left -= roots
                continue
            free = roots or free
        result.append(sorted(free))
        left -= free
    return result


def direct(graph: Graph) -> Graph:
    """The graph without arrows that others imply."""
    reached = {node: reach(graph, node) for node in graph}
    return {
        node: {
            other
            for other in others
            if not any(
                other in reached[via] and node not in reached[via] for via in others - {other}
            )
        }
        for node, others in graph.items()
    }


# -- the picture -----------------------------------------------------------------------


def about(lines: int) -> int:
    """A number of lines, rounded so that small edits change no picture."""
    step = 10 if lines < 100 else 50 if lines < 1000 else 500
    return max(step, (lines + step // 2) // step * step)


def boxes(house: House) -> list[list[Box]]:
    """Rows of boxes: a folder each, and the modules of the root between them."""
    rooms = house.rooms()
    folders = any(room.endswith("/") for room in rooms)
    rows: list[list[Box]] = []
    for floor in floors(rooms, folders_apart=folders):
        if floor[0].endswith("/"):
            rows.append([_folder(house, room) for room in floor])
        else:
            entries = [(name, house.modules[name].lines) for name in floor]
            title = house.package if folders else ""
            rows.append([Box(title, "", entries, frozenset(floor))])
    return rows


def _folder(house: House, room: str) -> Box:
    inside = {
        name.partition(".")[2]: module
        for name, module in house.modules.items()
        if house.room(name) == room
    }
    entries = [
        (name, module.lines)
        for name, module in inside.items()
        if name != "__init__" or module.lines > 1
    ]
    entries += house.scripts.get(room, {}).items()
    says = inside["__init__"].says if "__init__" in inside else ""
    return Box(room, says, entries, frozenset([room]))


def picture(houses: Iterable[House]) -> str:
    """The SVG of some packages, one below the other."""
    parts: list[str] = []
    top = MARGIN
    for house in houses:
        drawn, top = _draw(house, top)
        parts += drawn
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" '
        f'width="{WIDTH}" height="{top}" role="img">'
    )
    return "\n".join([head, STYLE, *parts, "</svg>", ""])


def _draw(house: House, top: int) -> tuple[list[str], int]:
    total = sum(module.lines for module in house.modules.values())
    lua = sum(sum(files.values()) for files in house.scripts.values())
    title = f"{house.package}: {len(house.modules)} modules, about {about(total)} lines"
    parts = [_text(MARGIN, top + 14, title + (f", {about(lua)} of Lua" if lua else ""), "title")]
    top += 26
    found = house.circles()
    for circle in found:
        for line in _wrapped("circle: " + ", ".join(circle), WIDTH - 2 * MARGIN):
            parts.append(_text(MARGIN, top + 12, line, "bad"))
            top += LINE
    in_circle = {name for circle in found for name in circle}
    rows = boxes(house)
    arrows = _arrows(house, rows)
    # Arrows that pass rows by run in lanes at the right.
    lanes = sum(1 for _, _, rows_apart in arrows if rows_apart > 1)
    right = WIDTH - MARGIN - LANE * lanes - (LANE if lanes else 0)
    places: dict[str, tuple[int, int, int, int]] = {}
    for row in rows:
        for box, (x, width, height) in _row(row, right):
            places[_key(box)] = (x, top, width, height)
            parts += _box(box, x, top, width, height, in_circle)
        top += max(height for _, (_, _, height) in _row(row, right))
        top += ROW_GAP if arrows else FLOOR_GAP
    parts += _paths(arrows, places, right)
    return parts, top + MARGIN


def _key(box: Box) -> str:
    return " ".join(sorted(box.rooms))


def _arrows(house: House, rows: list[list[Box]]) -> list[tuple[str, str, int]]:
    """From box to box, and how many rows apart; none where each module is a box of its own."""
    rooms = house.rooms()
    if not any(room.endswith("/") for room in rooms):
        return []
    owner = {room: box for row in rows for box in row for room in box.rooms}
    level = {_key(box): number for number, row in enumerate(rows) for box in row}
    graph: Graph = {_key(box): set() for row in rows for box in row}
    for room, others in rooms.items():
        source = _key(owner[room])
        graph[source] |= {_key(owner[other]) for other in others} - {source}
    return [
        (source, target, level[target] - level[source])
        for source, targets in direct(graph).items()
        for target in sorted(targets)
    ]


def _row(row: list[Box], right: int) -> list[tuple[Box, tuple[int, int, int]]]:
    """Place and size of the boxes of a row: x, width, height."""
    left = MARGIN
    space = right - left - BOX_GAP * (len(row) - 1)
    # Room in proportion to what is in them.
    weights = [max(5, len(box.entries)) for box in row]
    placed = []
    for box, weight in zip(row, weights, strict=True):
        width = space * weight // sum(weights)
        lines = bool(box.title) + len(_wrapped(box.says, width - 2 * PADDING))
        lines += -(-len(box.entries) // _columns(box, width))
        placed.append((box, (left, width, lines * LINE + PADDING)))
        left += width + BOX_GAP
    return placed


def _columns(box: Box, width: int) -> int:
    widest = max(len(name) for name, _ in box.entries) * LETTER + NUMBER
    return max(1, min(5, int((width - PADDING) // widest)))


def _box(
    box: Box, x: int, top: int, width: int, height: int, in_circle: Collection[str]
) -> list[str]:
    # What is in it is placed from its corner, so that a box that moves is one changed line.
    parts = [
        f'<g transform="translate({x} {top})">',
        f'<rect width="{width}" height="{height}" rx="5"/>',
    ]
    y = 0
    if box.title:
        y += LINE
        parts.append(_text(PADDING, y, box.title, "name"))
    for text in _wrapped(box.says, width - 2 * PADDING):
        y += LINE
        parts.append(_text(PADDING, y, text, "note"))
    columns = _columns(box, width)
    rows = -(-len(box.entries) // columns)
    pitch = (width - PADDING) // columns
    folder = next(iter(box.rooms)) if len(box.rooms) == 1 else ""
    for number, (name, lines) in enumerate(box.entries):
        column, row = divmod(number, rows)
        left = PADDING + column * pitch
        below = y + (row + 1) * LINE
        full = folder.replace("/", ".") + name if folder.endswith("/") else name
        parts.append(_text(left, below, name, "bad" if full in in_circle else ""))
        parts.append(_text(left + pitch - PADDING - 6, below, str(about(lines)), "lines"))
    return [*parts, "</g>"]


def _paths(
    arrows: list[tuple[str, str, int]],
    places: Mapping[str, tuple[int, int, int, int]],
    right: int,
) -> list[str]:
    """Arrows: straight to the next row, otherwise through a lane of their own."""
    leaving: dict[str, list[int]] = {}
    coming: dict[str, list[int]] = {}
    for number, (source, target, _) in enumerate(arrows):
        leaving.setdefault(source, []).append(number)
        coming.setdefault(target, []).append(number)

    def port(numbers: list[int], number: int, place: tuple[int, int, int, int]) -> int:
        x, _, width, _ = place
        return x + width * (numbers.index(number) + 1) // (len(numbers) + 1)

    parts: list[str] = []
    lane = 0
    for number, (source, target, apart) in enumerate(arrows):
        x1 = port(leaving[source], number, places[source])
        x2 = port(coming[target], number, places[target])
        y1 = places[source][1] + places[source][3]
        y2 = places[target][1]
        if apart == 1:
            parts.append(f'<path d="M{x1} {y1}L{x2} {y2}"/>')
        elif apart > 1:
            lane += 1
            x = right + LANE * lane
            out, into = y1 + 4 + 3 * (lane % 4), y2 - 14 + 3 * (lane % 3)
            parts.append(f'<path d="M{x1} {y1}V{out}H{x}V{into}H{x2}V{y2}"/>')
        else:  # Of a circle.
            parts.append(f'<path class="bad" d="M{x1} {y1}L{x2} {y2}"/>')
    return parts


def _text(x: int, y: int, text: str, kind: str = "") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x}" y="{y}"{style}>{escape(text)}</text>'


def _wrapped(text: str, width: float) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and (len(lines[-1]) + 1 + len(word)) * LETTER <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


# -- the command -----------------------------------------------------------------------


def drawings(checkout: Path = ROOT) -> dict[str, str]:
    """The committed pictures as they should be: file name → SVG."""
    return {
        name: picture(read(checkout, distribution) for distribution in distributions)
        for name, distributions in PICTURES.items()
    }


def main(arguments: list[str]) -> int:
    """Write what was asked for; 1 when there is a circle."""
    checkout = Path(arguments[0]) if arguments else ROOT
    houses = {name: read(checkout, name) for name in PACKAGES}
    if arguments:
        Path(arguments[1]).write_text(picture(houses.values()), encoding="utf-8")
    else:
        for name, text in drawings().items():
            (ROOT / "docs/design" / name).write_text(text, encoding="utf-8")
    found = [(house.package, circle) for house in houses.values() for circle in house.circles()]
    for package, circle in found:
        print(f"{package}: a circle of imports: {', '.join(circle)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
