"""What to do in a test about errors of tasks that are not attached."""

from __future__ import annotations

from spinach.exc import TasksNotAttached, UnknownTask

__all__ = ["ATTACH", "HINT", "add_hint"]

#: For errors of a task that the test's engine does not know.
HINT = (
    "The engine of this test knows the tasks that the fixture spinach_tasks returns. Override it "
    "in conftest.py: @pytest.fixture(scope='session') def spinach_tasks(): return [your_tasks]"
)

#: For the error of a registry in a test that has no engine of the plugin.
ATTACH = (
    "In a test the fixture spinach_engine attaches the tasks that the fixture spinach_tasks "
    "returns; spinach_jobs and spinach_worker bring it along. Let the test, or the fixture that "
    "schedules, take one of them as an argument: def test_it(spinach_worker)"
)


def add_hint(error: BaseException, *, engine: bool) -> None:
    """Add the hint to the notes of errors of unknown tasks, also of those inside groups.

    Args:
        error: that a test raised.
        engine: the test has an engine of the plugin. Otherwise it may have one of its own, and
            the plugin does not know which tasks that should have.
    """
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            add_hint(each, engine=engine)
        return
    if isinstance(error, UnknownTask | TasksNotAttached) and engine:
        hint = HINT
    elif isinstance(error, TasksNotAttached):
        hint = ATTACH
    else:
        return
    if hint not in getattr(error, "__notes__", ()):
        error.add_note(hint)
