"""The classic periodic program: coffee each five seconds, until a signal ends it."""

from datetime import timedelta

from spinach import Engine, MemoryBroker

spin = Engine(MemoryBroker())
every_5_seconds = timedelta(seconds=5)


@spin.task(name="make_coffee", periodicity=every_5_seconds)
def make_coffee():
    print("Making coffee...")


print("Starting workers, ^C to quit")
spin.start_workers()
print("Closing the kitchen")
