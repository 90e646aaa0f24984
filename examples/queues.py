"""Several queues for one worker process, in strict order."""

from spinach import Engine, MemoryBroker, Tasks

uploads = Tasks(queue="bulk")  # the queue of each task that names none
ran: list[str] = []


@uploads.task(name="upload.photo")
def upload_photo(number: int) -> None:
    ran.append(f"photo {number}")


@uploads.task(name="password.reset", queue="urgent")
def reset_password(user: str) -> None:
    ran.append(f"password of {user}")


spin = Engine(MemoryBroker())
spin.attach_tasks(uploads)

for number in range(3):
    spin.schedule(upload_photo, number)
for user in ("ada", "bob"):
    spin.schedule(reset_password, user)

# A job of "bulk" is taken only while "urgent" has none that is ready.
spin.start_workers(number=1, queue=["urgent", "bulk"], stop_when_queue_empty=True)

print("\n".join(ran))
assert ran == ["password of ada", "password of bob", "photo 0", "photo 1", "photo 2"]
