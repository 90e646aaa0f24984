"""Everything this repository can do to itself; `nox -l` lists it.

`nox` alone runs the sessions marked with an asterisk, on the Python that runs nox.
`nox -t matrix` repeats the tests on each supported Python that it finds.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import nox
from packaging.requirements import Requirement

ROOT = Path(__file__).parent
#: Distribution, without its prefix → the package it imports as.
PACKAGES = {
    "core": "spinach",
    "memory": "spinach_memory",
    "redis": "spinach_redis",
    "testing": "spinach_testing",
}
#: Supported Pythons. 3.13t is left out: msgspec has no wheels for it.
PYTHONS = ["3.11", "3.12", "3.13", "3.14", "3.14t"]
#: Explorations, the making of thousands of values, and projects of their own with other plugins.
#: Coverage is not measured in them: some would take ten times as long, and they run no line that
#: other tests do not run.
NOT_TRACED = [
    "packages/spinach-core/tests/interleaving",
    "packages/spinach-core/tests/test_fidelity.py",
    "packages/spinach-redis/tests/test_fidelity.py",
    "packages/spinach-testing/tests/conformance/test_third_party.py",
    "packages/spinach-testing/tests/test_companions.py",
]
#: Explorations of every order of steps. Those are the same on every Python, so that `tests` alone
#: has them.
EXPLORATIONS = ["packages/spinach-core/tests/interleaving/test_in_flight.py"]
#: Where `tests` leaves what it measured, for `together` to add up.
COVERAGE = ROOT / ".nox" / "coverage"
#: Tests run side by side. Many wait for servers and programs, so that two cores have room for
#: four processes; each has servers of its own, so that more cost more than they bring.
SIDE_BY_SIDE = ["-n", "4", "--dist", "worksteal"]
#: Times that the tests marked `concurrency` run in `flaky`.
ROUNDS = 50

nox.needs_version = ">=2025.10"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_external_run = True
os.environ.setdefault("UV_PYTHON_DOWNLOADS", "never")

each_package = nox.parametrize("package", list(PACKAGES), ids=list(PACKAGES))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and changelog fragments; `-- fix` repairs style."""
    session.install(*group("lint"))
    if session.posargs == ["fix"]:
        session.run("ruff", "check", "--fix", ".")
        session.run("ruff", "format", ".")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("towncrier", "build", "--draft", "--version", "next", silent=True)


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy, for POSIX and for Windows, and with pyright, and what imports what."""
    install_editable(session)
    session.install(*group("types"), *group("test"), *group("docs"))
    session.run("mypy", "--platform", "linux")
    # The benchmarks measure processes as Linux shows them, and run nowhere else.
    files = nox.project.load_toml(ROOT / "pyproject.toml")["tool"]["mypy"]["files"]
    portable = [path for name in files if name != "benchmarks" for path in ROOT.glob(name)]
    session.run("mypy", "--platform", "win32", *map(str, portable))
    session.run("pyright", "--warnings")
    # The calls that have to be refused: a setting that only a file can hold checks them.
    session.run("pyright", "-p", "tests/typing")
    session.run("lint-imports", "--no-cache")


@nox.session
def build(session: nox.Session) -> None:
    """Build each sdist, a wheel from each sdist, and check what they hold."""
    session.install(*group("build"))
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    for package in PACKAGES:
        # Without an order of its own, `build` makes the wheel from the sdist.
        session.run(
            "python", "-m", "build", "--no-isolation", "--outdir", str(dist),
            f"packages/spinach-{package}", silent=True,
        )  # fmt: skip
    session.run("twine", "check", "--strict", *map(str, sorted(dist.iterdir())))
    session.run("python", "tools/check_dist.py", str(dist))


@nox.session(requires=["build"])
@each_package
def tests(session: nox.Session, package: str) -> None:
    """Test one package: its wheel, with what it declares and nothing else; measures coverage."""
    install_wheel(session, package)
    if session.posargs:  # A part of the tests says nothing about coverage.
        run_tests(session, package)
        return
    session.install(coverage())
    of_package = [path for path in NOT_TRACED if path.startswith(f"packages/spinach-{package}/")]
    ignored = [f"--ignore={path}" for path in of_package]
    COVERAGE.mkdir(parents=True, exist_ok=True)
    # For these two alone: tests of the plugin measure coverage of their own.
    where = {"COVERAGE_FILE": str(COVERAGE / package)}
    session.run("coverage", "erase", env=where)
    session.run(
        "coverage", "run", "-m", "pytest", f"packages/spinach-{package}/tests", *SIDE_BY_SIDE,
        *ignored, *report(session, "+traced"), env=where,
    )  # fmt: skip
    if of_package:
        session.run("pytest", *of_package, *SIDE_BY_SIDE, *report(session))


@nox.session(python=PYTHONS, tags=["matrix"], requires=["build"], default=False)
@each_package
def matrix(session: nox.Session, package: str) -> None:
    """Do what `tests` does, without coverage and explorations, on each supported Python."""
    install_wheel(session, package)
    run_tests(session, package, *EXPLORATIONS)


@nox.session(python=PYTHONS[0], requires=["build"], default=False)
@each_package
def lowest(session: nox.Session, package: str) -> None:
    """Do what `matrix` does, with the lowest versions that the package admits."""
    install_wheel(session, package, *lower_bounds(package))
    run_tests(session, package, *EXPLORATIONS)


@nox.session
def together(session: nox.Session) -> None:
    """Run what crosses packages, on the sources, and add up the coverage that `tests` measured.

    With arguments of pytest: any part of all tests, such as `-- -k lease`.
    """
    measured = {package: sorted(COVERAGE.glob(f"{package}.*")) for package in PACKAGES}
    missing = [f'"tests({package})"' for package, files in measured.items() if not files]
    if missing and not session.posargs:
        session.error(
            f"There is no coverage to add up of {', '.join(missing)}. "
            "Run `nox -s tests together`, or `nox -s together -- tests` without coverage."
        )
    install_editable(session)
    session.install(*test_groups())
    run = ["python", "-m", "pytest", *SIDE_BY_SIDE]
    if session.posargs:
        session.run(*run, *session.posargs)
        return
    # All tests in one process: that no two modules, marks or fixtures are in each other's way.
    session.run("python", "-m", "pytest", "--collect-only", "-qq", silent=True)
    session.run(*run, *report(session), "tests")
    files = [str(path) for paths in measured.values() for path in paths]
    where = {"COVERAGE_FILE": str(COVERAGE / "all")}
    session.run("coverage", "combine", "--quiet", "--keep", *files, env=where)
    session.run("coverage", "report", env=where)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    install_editable(session)
    session.install(*group("docs"))
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")


@nox.session(default=False)
def flaky(session: nox.Session) -> None:
    """Run the tests marked `concurrency` 50 times; `-- N` for another number."""
    install_editable(session)
    session.install(*test_groups())
    rounds = int(session.posargs[0]) if session.posargs else ROUNDS
    for number in range(1, rounds + 1):
        session.log("Round %s of %s", number, rounds)
        session.run("python", "-m", "pytest", "-m", "concurrency", "-x", "-q")


@nox.session(default=False)
def fixtures(session: nox.Session) -> None:
    """Measure what the fixtures cost, run 200 tests 50 times; `-- N` for less, `--check` goals."""
    install_editable(session)
    session.install(*test_groups())
    session.run("python", "tools/fixture_cost.py", *session.posargs)


@nox.session(default=False)
def depth(session: nox.Session) -> None:
    """Measure calls about jobs in a queue of a million; `-- N` for fewer, `--check` the goal."""
    install_editable(session)
    session.install(*test_groups())
    session.run("python", "tools/long_queue.py", *session.posargs)


@nox.session(default=False)
def explore(session: nox.Session) -> None:
    """Explore the interleavings of a whole worker process; takes a quarter of an hour."""
    install_editable(session)
    session.install(*test_groups())
    session.run("python", "-m", "pytest", "-m", "exhaustive", "--durations=0", *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Break servers, connections and workers, a bounded number of times; `-- --full` all."""
    install_editable(session)
    session.install(*test_groups())
    # All of it measures, too, and has nothing else beside it.
    full = "--full" in session.posargs
    how = ["--page=docs/reference/faults.md"] if full else SIDE_BY_SIDE
    session.run(
        "python", "-m", "pytest", "packages/spinach-redis/faults",
        *how, *report(session), *session.posargs,
    )  # fmt: skip


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure Spinach beside its peers; `-- --quick` for a subset under two minutes."""
    install_editable(session)
    session.install(*group("bench"))
    # Each contestant gets an environment of its own, in benchmarks/.cache. Hosted machines
    # are too noisy for more than a look at whether it still runs.
    quick = ["--quick"] if os.environ.get("CI") and not session.posargs else []
    session.run("python", "-m", "benchmarks", *quick, *session.posargs)


@nox.session(default=False)
def bump(session: nox.Session) -> None:
    """Set the version of all packages and write the changelog: `-- X.Y.Z`."""
    session.install(*group("release"))
    session.run("python", "tools/bump.py", *session.posargs)
    session.run("towncrier", "build", "--yes", "--version", session.posargs[0])


# -- helpers -------------------------------------------------------------------


def group(name: str, table: dict[str, Any] | None = None) -> tuple[str, ...]:
    """Requirements of a dependency group, the repository's own or a package's."""
    if table is None:
        table = nox.project.load_toml(ROOT / "pyproject.toml")
    return nox.project.dependency_groups(table, name)


def metadata(package: str) -> dict[str, Any]:
    """The pyproject.toml of one package."""
    return nox.project.load_toml(ROOT / "packages" / f"spinach-{package}" / "pyproject.toml")


def split(requirements: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Part requirements into packages of this repository and what the index has."""
    ours: list[str] = []
    others: list[str] = []
    for requirement in requirements:
        prefix, _, package = Requirement(requirement).name.partition("-")
        if prefix == "spinach" and package in PACKAGES:
            ours.append(package)
        else:
            others.append(requirement)
    return ours, others


def declared(package: str) -> tuple[list[str], list[str]]:
    """What a package depends on, as `split` does, with what its siblings bring."""
    ours, others = split(tuple(metadata(package)["project"]["dependencies"]))
    for sibling in list(ours):
        more_ours, more_others = declared(sibling)
        ours += more_ours
        others += more_others
    return ours, others


def wheels(*packages: str) -> list[str]:
    """Paths of the wheels that `build` left, so that the index is not asked for them."""
    found = {p: list((ROOT / "dist").glob(f"spinach_{p}-*.whl")) for p in packages}
    return [str(wheel) for paths in found.values() for wheel in paths]


def lower_bounds(package: str) -> list[str]:
    """The oldest release of each dependency, as a requirement."""
    bounds: set[str] = set()
    for text in declared(package)[1]:
        requirement = Requirement(text)
        # One without a bound of its own has that of the sibling that needs it, too.
        lower = [s.version for s in requirement.specifier if s.operator == ">="]
        bounds.update(f"{requirement.name}=={version}" for version in lower)
    return sorted(bounds)


def install_wheel(session: nox.Session, package: str, *bounds: str) -> None:
    """Install a wheel alone and import it all, then add its test group."""
    session.install(*wheels(package, *declared(package)[0]), *bounds)
    # What a package forgot to declare would come in with its test group.
    session.run("python", "-I", "tools/import_all.py", PACKAGES[package])
    session.run("python", "-I", "tools/ask_for_brokers.py")
    if package == "testing":
        session.run("python", "-I", "tools/plugin_alone.py")
    ours, others = split(group("test", metadata(package)))
    for sibling in list(ours):
        ours += declared(sibling)[0]
    session.install(*wheels(*ours), *others, *bounds)


def run_tests(session: nox.Session, package: str, *without: str) -> None:
    """Run the tests of one package, but for those in some files."""
    ignored = [f"--ignore={path}" for path in without]
    session.run(
        "pytest", f"packages/spinach-{package}/tests", *SIDE_BY_SIDE, *ignored,
        *report(session), *session.posargs,
    )  # fmt: skip


def install_editable(session: nox.Session) -> None:
    """Install all packages from their sources."""
    session.install(*(arg for p in PACKAGES for arg in ("-e", f"packages/spinach-{p}")))


def test_groups() -> set[str]:
    """What all tests need beside the packages."""
    per_package = (split(group("test", metadata(p)))[1] for p in PACKAGES)
    return {*group("test"), *(requirement for part in per_package for requirement in part)}


def coverage() -> str:
    """The release of coverage that all sessions take, as a requirement."""
    return next(name for name in group("test") if Requirement(name).name == "coverage")


def report(session: nox.Session, part: str = "") -> list[str]:
    """Have pytest write its counts where .ci/run adds them up; for a part of the session."""
    folder = os.environ.get("SPINACH_REPORTS")
    return [f"--junitxml={folder}/{session.name}{part}.xml"] if folder else []
