"""First: the workers are threads of the web server's process."""

import os
import tempfile
import threading
from pathlib import Path
from urllib.request import urlopen
from wsgiref.simple_server import make_server

from app import application, spin

from spinach import signals

done = threading.Event()
listener = signals.job_finished.connect(lambda *_, **__: done.set(), spin.namespace, weak=False)

with (
    tempfile.TemporaryDirectory() as outbox,
    make_server("127.0.0.1", 0, application) as server,
):
    os.environ["OUTBOX"] = outbox
    spin.start_workers(number=2, block=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    with urlopen(f"http://127.0.0.1:{server.server_port}/ada", timeout=10) as answer:
        print(answer.status, answer.read().decode().strip())
    assert done.wait(10)
    server.shutdown()
    spin.stop_workers()
    letter = Path(outbox, "ada").read_text()

print(letter)
assert letter == f"Welcome, ada! Yours, process {os.getpid()}."
