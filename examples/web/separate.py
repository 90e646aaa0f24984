"""Then: the web server only schedules, `worker.py` beside it runs the jobs; needs REDIS_URL."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.request import urlopen
from wsgiref.simple_server import make_server

from app import application

folder = Path(__file__).parent
with (
    tempfile.TemporaryDirectory() as outbox,
    make_server("127.0.0.1", 0, application) as server,
):
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    os.environ["OUTBOX"] = outbox
    with urlopen(f"http://127.0.0.1:{server.server_port}/bob", timeout=10) as answer:
        print(answer.status, answer.read().decode().strip())
    server.shutdown()
    serving.join()
    assert threading.active_count() == 1  # who only schedules has no thread of Spinach

    letter = Path(outbox, "bob")
    worker = subprocess.Popen([sys.executable, folder / "worker.py"])
    try:
        while not (letter.exists() and letter.read_text()) and worker.poll() is None:
            time.sleep(0.01)
    finally:
        worker.terminate()
        code = worker.wait(30)
    print(letter.read_text())
    assert str(worker.pid) in letter.read_text()
    assert code == 0
