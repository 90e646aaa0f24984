"""A task stays a plain function, and type checkers see its signature when scheduling."""

from spinach import Engine, MemoryBroker, Tasks
from spinach.exc import InvalidArgument, InvalidJobSignatureError, UnknownTask

tasks = Tasks()


@tasks.task(name="invoice.tax")
def tax(amount: int, percent: int = 20) -> int:
    return amount * percent // 100


spin = Engine(MemoryBroker())
spin.attach_tasks(tasks)

# The decorator returned the function itself; `execute` calls what a name stands for.
assert tax(200) == spin.execute(tax, 200) == spin.execute("invoice.tax", 200) == 40

# `spin.schedule(tax, "200")` is what mypy and pyright refuse. These are wrong at run time too,
# and nothing is scheduled.
wrong = [
    (InvalidJobSignatureError, lambda: spin.schedule("invoice.tax", 200, rate=19)),
    (InvalidArgument, lambda: spin.schedule("invoice.tax", float("nan"))),
    (UnknownTask, lambda: spin.schedule("invoice.taxes", 200)),
]
for expected, call in wrong:
    try:
        call()
    except expected as error:
        print(f"{expected.__name__}: {error}\n")
    else:
        raise AssertionError(f"{expected.__name__} was to be raised")
