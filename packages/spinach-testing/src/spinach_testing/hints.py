"""What a test's author has to do about errors that the engine cannot explain."""

from __future__ import annotations

from spinach.exc import TasksNotAttached, UnknownTask

__all__ = ["HINT", "add_hint"]

#: Written on the errors of a task that the test's engine does not know.
HINT = (
    "The engine of this test knows the tasks that the fixture spinach_tasks returns. Override it "
    "in conftest.py: @pytest.fixture(scope='session') def spinach_tasks(): return [your_tasks]"
)


def add_hint(error: BaseException) -> None:
    """Write the hint on errors of unknown tasks, also on those inside groups."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            add_hint(each)
    elif isinstance(error, UnknownTask | TasksNotAttached) and HINT not in getattr(
        error, "__notes__", ()
    ):
        error.add_note(HINT)
