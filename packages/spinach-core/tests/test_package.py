"""What the package exports, and where the brokers come from."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import pkgutil
import sys
from collections.abc import Sequence
from types import ModuleType

import pytest

import spinach
import spinach_memory

MODULES = sorted(
    module.name for module in pkgutil.walk_packages(spinach.__path__, prefix="spinach.")
)


def test_all_is_what_is_promised() -> None:
    assert set(spinach.__all__) == {
        "ALL_QUEUES",
        "AbortException",
        "Backoff",
        "Batch",
        "CurrentJob",
        "Engine",
        "FailedRetention",
        "Job",
        "JobCancelled",
        "JobFilter",
        "JobReleased",
        "JobStatus",
        "RetryException",
        "Task",
        "Tasks",
        "__version__",
        "current_job",
    }


@pytest.mark.parametrize("name", ["spinach", *MODULES])
def test_everything_in_all_exists(name: str) -> None:
    module = importlib.import_module(name)
    for export in getattr(module, "__all__", ()):
        assert hasattr(module, export)
    names = list(getattr(module, "__all__", ()))
    assert len(names) == len(set(names))


def test_all_is_every_public_name_of_the_package_that_is_no_module() -> None:
    public = {
        name
        for name, value in vars(spinach).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and getattr(value, "__module__", "").startswith("spinach")
    }
    assert public <= {*spinach.__all__}


@pytest.mark.parametrize(
    "path",
    [
        "spinach.engine.Engine",
        "spinach.brokers.base.Broker",
        "spinach.task.Tasks",
        "spinach.task.Batch",
        "spinach.task.RetryException",
        "spinach.task.AbortException",
        "spinach.utils.exponential_backoff",
        "spinach.signals.job_failed",
    ],
)
def test_the_dotted_paths_that_users_know_exist(path: str) -> None:
    module, _, name = path.rpartition(".")
    assert hasattr(importlib.import_module(module), name)


def test_the_version_is_that_of_the_distribution() -> None:
    try:
        installed = importlib.metadata.version("spinach-core")
    except importlib.metadata.PackageNotFoundError:  # the sources on the path
        installed = spinach.__version__
    assert spinach.__version__ == installed


def test_the_memory_broker_is_importable_from_the_package() -> None:
    from spinach import MemoryBroker

    assert MemoryBroker is spinach_memory.MemoryBroker
    assert "MemoryBroker" not in vars(spinach)


def test_the_path_that_it_had_in_the_older_spinach_leads_to_it() -> None:
    from spinach.brokers.memory import MemoryBroker

    assert MemoryBroker is spinach_memory.MemoryBroker


@pytest.mark.parametrize("name", ["redis", "memory"])
def test_other_names_of_those_paths_are_gone(name: str) -> None:
    with pytest.raises(ImportError, match="cannot import name 'recommended_socket_opts'"):
        exec(f"from spinach.brokers.{name} import recommended_socket_opts")


def test_a_name_that_is_nowhere_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'spinach' has no attribute 'Nonsense'"):
        _ = spinach.Nonsense


@pytest.mark.parametrize(
    ("broker", "module", "distribution"),
    [
        ("RedisBroker", "spinach_redis", "spinach-redis"),
        ("MemoryBroker", "spinach_memory", "spinach-memory"),
    ],
)
@pytest.mark.parametrize("older", [False, True], ids=["", "by its older path"])
def test_a_missing_distribution_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, broker: str, module: str, distribution: str, older: bool
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not there
    place = module.replace("spinach_", "spinach.brokers.") if older else "spinach"
    with pytest.raises(ImportError) as info:
        exec(f"from {place} import {broker}")
    assert f"{broker} comes with the distribution {distribution}" in str(info.value)
    assert f"pip install {distribution}" in str(info.value)
    assert info.value.name == module


class Failing(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a module whose body raises."""

    def __init__(self, name: str, error: Exception) -> None:
        self._name = name
        self._error = error

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self) if name == self._name else None

    def exec_module(self, module: ModuleType) -> None:
        raise self._error


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'redis'", name="redis"),
        ModuleNotFoundError("No module named 'x'", name="spinach_redis.x"),
        ImportError("libssl is too old"),
        RuntimeError("broken"),
    ],
    ids=repr,
)
def test_a_failure_inside_the_brokers_module_is_not_masked(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.delitem(sys.modules, "spinach_redis", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Failing("spinach_redis", error), *sys.meta_path])
    with pytest.raises(type(error)) as info:
        _ = spinach.RedisBroker
    assert info.value is error
