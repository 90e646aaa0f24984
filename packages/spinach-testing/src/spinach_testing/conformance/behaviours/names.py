"""Names: every character that names may have is kept apart, and read back, everywhere."""

from __future__ import annotations

from datetime import timedelta

from spinach.outcome import OutcomeKind

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, deposit, ids, task_of
from ..invariants import holds
from ..lab import Lab
from ..process import outcome

#: Each has a character that a careless broker takes for the end of a name.
TASKS = ("letters/print", "letters.print@home", "a:b", "-", "/")
HOUR = timedelta(hours=1)


class NamesBehaviour(BrokerBehaviour):
    """Names with `/`, `@` and the other characters that are no letters."""

    @holds("I21")
    def test_queues_share_nothing_where_one_name_begins_with_the_other(self, lab: Lab) -> None:
        jobs = {queue: deposit(queue=queue) for queue in (QUEUE, f"{QUEUE}/a", f"{QUEUE}/a@b")}
        lab.enqueue(*jobs.values())
        for queue, job in jobs.items():
            process = lab.process(queue)
            assert ids(process.take(idle=5, extra=5, queue=queue)) == [job.stored_id]

    @holds("I10")
    def test_limit_holds_whatever_the_name_of_its_task(self, lab: Lab) -> None:
        for task in TASKS:
            lab.enqueue(deposit(task), deposit(task))
        process = lab.process(limits=dict.fromkeys(TASKS, 1))
        leases = process.take(idle=20)
        assert sorted(map(task_of, leases)) == sorted(TASKS)
        # Each end of a lease frees the slot of its own task.
        process.report(*(outcome(OutcomeKind.SUCCEEDED, lease) for lease in leases))
        assert sorted(map(task_of, process.take(idle=20))) == sorted(TASKS)

    @holds("I13")
    def test_parked_jobs_come_back_whatever_the_name_of_their_task(self, lab: Lab) -> None:
        jobs = {task: deposit(task) for task in TASKS}
        lab.enqueue(*jobs.values())
        process = lab.process()
        process.park(*process.take(idle=20))
        for task, job in jobs.items():
            assert ids(process.take(idle=20, parks=[task])) == [job.stored_id]

    @holds("I15")
    def test_periodic_tasks_fire_whatever_their_name(self, lab: Lab) -> None:
        process = lab.process(periodic=dict.fromkeys(TASKS, HOUR))
        lab.advance(HOUR)
        due = process.tick(periodic=TASKS).due
        assert sorted(each.task for each in due) == sorted(TASKS)
