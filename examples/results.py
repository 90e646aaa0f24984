"""What jobs returned comes back typed, many at once, or as the error that says why not."""

from datetime import timedelta

from spinach import Engine, MemoryBroker, Tasks
from spinach.exc import JobFailed, ResultTimeout

tasks = Tasks(keep_result=timedelta(minutes=5))
spin = Engine(MemoryBroker())


@tasks.task(name="numbers.square")
def square(n: int) -> int:
    return n * n


@tasks.task(name="numbers.divide")
def divide(a: int, b: int) -> float:
    return a / b


spin.attach_tasks(tasks)
soon = timedelta(seconds=10)

waiting = spin.schedule(square, 12)
try:
    spin.result(waiting, timeout=timedelta(0))  # a look, without a wait
except ResultTimeout:
    print("not yet")

spin.start_workers(block=False)
print(spin.result(waiting, timeout=soon))
print(spin.results([spin.schedule(square, n) for n in range(5)], timeout=soon))
try:
    spin.result(spin.schedule(divide, 1, 0), timeout=soon)
except JobFailed as error:
    print(error.error, error.message)
spin.stop_workers()
