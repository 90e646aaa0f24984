"""The classic first program: a task that adds two numbers and prints the sum."""

from spinach import Engine, MemoryBroker

spin = Engine(MemoryBroker())


@spin.task(name="compute")
def compute(a, b):
    print(f"Computed {a} + {b} = {a + b}")


spin.schedule(compute, 5, 3)

print("Starting workers, ^C to quit")
spin.start_workers()
