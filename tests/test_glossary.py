"""The words of the code are those of the glossary, or plain ones."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
#: Where each class, module, folder and Lua script is looked at.
SOURCES = [
    ROOT / "packages/spinach-core/src/spinach",
    ROOT / "packages/spinach-memory/src/spinach_memory",
    ROOT / "packages/spinach-redis/src/spinach_redis",
]
#: Threads and objects that users meet under these names.
PARTS = {"arbiter", "engine", "result notifier", "subscriber"}
#: The number of ideas, beside the parts, that may have a word of our own.
MOST_OWN_WORDS = 12

#: Words that meant something here once. The field has others for it: worker pool, jobs in flight,
#: pending outcomes, wake-up, fetch budget, callback, housekeeping, task table.
OLD_WORDS = [
    "appetite",
    "barren",
    "catalog",
    "crew",
    "doorbell",
    "errand",
    "hand-over",
    "handover",
    "maintenance",
    "outbox",
    "parcel",
    "upkeep",
]
#: Pages that tell of the past, or of measurements of the past.
PAST = ["docs/decisions/*", "docs/changelog.md", "docs/benchmarks*", "docs/review.md"]


def glossary() -> tuple[set[str], set[str]]:
    """Words of our own, and those of the field."""
    page = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    own, field = page.split("\n## ")[1:]
    return set(terms(own)), set(terms(field))


def terms(section: str) -> list[str]:
    return re.findall(r"^(.+)\n: ", section, re.MULTILINE)


def words_of(name: str) -> list[str]:
    """The words of a class or module: FailedStore and failed_store are made of two."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def names() -> Iterator[tuple[str, str]]:
    """Each name, and where it is made."""
    for source in SOURCES:
        for path in sorted(source.rglob("*.py")) + sorted(source.rglob("*.lua")):
            where = str(path.relative_to(ROOT))
            for part in path.relative_to(source).with_suffix("").parts:
                yield part, where
            if path.suffix == ".py":
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                    if isinstance(node, ast.ClassDef):
                        yield node.name, f"{where}:{node.lineno}"


def plain_words() -> list[str]:
    lines = (ROOT / "tests/words.txt").read_text(encoding="utf-8").splitlines()
    return [word for line in lines if not line.startswith("#") for word in line.split()]


def singular(word: str) -> set[str]:
    return {word, word.removesuffix("s"), word.removesuffix("es"), f"{word.removesuffix('ies')}y"}


def unknown(found: list[tuple[str, str]], known: set[str]) -> list[str]:
    """Words of the names that are not known, and where they are."""
    return sorted(
        f"{word}: {name} in {where}"
        for name, where in found
        for word in words_of(name)
        if not singular(word) & known
    )


def old_words(text: str) -> list[str]:
    """Old words in a text, also as parts of identifiers, and in the plural."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|_", "-", text).lower()
    pattern = rf"\b({'|'.join(OLD_WORDS)})(?:e?s)?\b"
    return re.findall(pattern, apart)


def readable() -> Iterator[Path]:
    """Code and pages that people read today."""
    for pattern in ("packages/*/src/**/*.py", "packages/*/src/**/*.lua", "docs/**/*.md", "*.md"):
        for path in sorted(ROOT.glob(pattern)):
            inside = path.relative_to(ROOT)
            if path.name != "CHANGELOG.md" and not any(map(inside.match, PAST)):
                yield path


def test_words_of_our_own_are_few() -> None:
    own, field = glossary()
    assert own >= PARTS
    assert len(own - PARTS) <= MOST_OWN_WORDS
    assert not own & field


def test_words_of_our_own_name_something_in_the_code() -> None:
    own, _ = glossary()
    identifiers = " ".join(
        "_".join(words_of(name))
        for source in SOURCES
        for path in source.rglob("*.py")
        for name in re.findall(r"[A-Za-z_]+", path.read_text(encoding="utf-8"))
    )
    assert [word for word in own if word.replace(" ", "_") not in identifiers] == []


def test_words_of_the_field_are_used() -> None:
    _, field = glossary()
    text = " ".join(
        path.read_text(encoding="utf-8").lower()
        for path in readable()
        if path.name != "glossary.md"
    )
    text = re.sub(r"[_-]", " ", text)
    assert len(field) > 20
    assert [word for word in field if word.replace("-", " ") not in text] == []


def test_names_are_made_of_words_that_are_known() -> None:
    own, field = glossary()
    found = list(names())
    assert len(found) > 200
    known = set(plain_words()) | {word for term in own | field for word in words_of(term)}
    assert unknown(found, known) == [], (
        "Take a word that the field has, see docs/glossary.md. A plain one goes into "
        "tests/words.txt; one of our own into the glossary, where there is little room."
    )


def test_list_of_plain_words_has_none_that_no_name_needs() -> None:
    own, field = glossary()
    plain = plain_words()
    used = {form for name, _ in names() for word in words_of(name) for form in singular(word)}
    assert [word for word in plain if word not in used] == [], "remove them from tests/words.txt"
    explained = {word for term in own | field for word in words_of(term)}
    assert sorted(explained.intersection(plain)) == [], "the glossary has them already"


@pytest.mark.parametrize("name", ["Doorbell", "_Parcel", "hand_over", "SlotWarden"])
def test_new_noun_is_noticed(name: str) -> None:
    own, field = glossary()
    known = set(plain_words()) | {word for term in own | field for word in words_of(term)}
    assert unknown([(name, "here")], known)


def test_old_words_are_gone() -> None:
    paths = {str(path.relative_to(ROOT)): path for path in readable()}
    assert len(paths) > 200
    found = [
        f"{word}: {name}:{number}"
        for name, path in paths.items()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for word in old_words(line)
    ]
    assert found == [], "take the word of docs/glossary.md"


def test_old_words_are_found_wherever_they_hide() -> None:
    assert old_words("HandOver: the hand-over of parcels") == ["hand-over", "hand-over", "parcel"]
    assert old_words("self._outboxes, MaxCrews, end_upkeep") == ["outbox", "crew", "upkeep"]
    assert old_words("to hand over a job") == []
