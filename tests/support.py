"""A server under test: started from a command template, killed without mercy, started again on the same directory.

What this deliberately is not: a client (`resp.py` is the raw one, redis-py the real one) and a judge (each program
has its own). It never waits for a fixed time: a server is ready when it answers PING, and a server that exits while
it is waited for is reported with the end of its log.

The template's words: `{dir}` data directory, `{port}`, `{sync}` one of always, everysec, os, `{appendfsync}` the same
in Redis's words, `{flags}` further flags of Larder (dropped by a template that has no such word). Run any program
here against Redis with `--server-command "$(python3 tests/support.py redis-server)"`.
"""

import argparse
import contextlib
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parent.parent
# The build that is tested: `debug` where one that is made faster is wanted.
LARDER = ROOT / "target" / os.environ.get("LARDER_BUILD", "release") / "larder"
LARDER_COMMAND = (
    f"{LARDER} serve --data-dir {{dir}} --bind 127.0.0.1 --port {{port}} --admin-port 0 --http-port 0 --sync {{sync}} {{flags}}"
)
REDIS_COMMAND = (
    "redis-server --dir {dir} --bind 127.0.0.1 --port {port} --save '' --appendonly yes --appendfsync {appendfsync}"
)
APPENDFSYNC = {"always": "always", "everysec": "everysec", "os": "no"}
SYNC_MODES = tuple(APPENDFSYNC)
LOG_LINES_SHOWN = 20


class ServerDied(Exception):
    """The server exited on its own; the message holds its status and the end of its log."""


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One data directory and the process, if any, that serves it."""

    def __init__(self, template: str, sync: str = "everysec", flags: str = ""):
        self.template, self.sync, self.flags = template, sync, flags
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="larder-test-"))
        self.dir = self.home / "data"
        self.dir.mkdir()
        self.log_path = self.home / "server.log"
        self.port = free_port()
        self.process = None
        self.keep = False  # Whether the directory outlives the test, for study.

    def spawn(self):
        """Starts the process and returns at once."""
        assert self.process is None, "one process per directory"
        command = self.template.format(
            dir=self.dir, port=self.port, sync=self.sync, appendfsync=APPENDFSYNC[self.sync], flags=self.flags
        )
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                shlex.split(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def start(self) -> float:
        """Starts the process, waits for its first PONG and returns the seconds that took."""
        begun = time.monotonic()
        self.spawn()
        while not self._answers_ping():
            if self.process.poll() is not None:
                raise ServerDied(f"exit status {self.process.returncode}\n{self.log_tail()}")
            time.sleep(0.005)
        return time.monotonic() - begun

    def _answers_ping(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
            probe.sendall(b"PING\r\n")
            return probe.recv(16).startswith(b"+PONG")
        return False

    def kill9(self):
        """Kills the process as a power switch would, and waits until the kernel has buried it."""
        if self.process.poll() not in (None, -signal.SIGKILL):
            raise ServerDied(f"exit status {self.process.returncode} before the kill\n{self.log_tail()}")
        self.process.kill()
        self.process.wait()
        self.process = None

    def terminate(self) -> int:
        """Asks for a clean shutdown (SIGTERM) and returns the exit status."""
        self.process.terminate()
        status = self.process.wait()
        self.process = None
        return status

    def rss_bytes(self) -> int:
        """Resident memory of the process."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise ServerDied(f"no memory to measure\n{self.log_tail()}")

    def log_tail(self) -> str:
        """The last lines the server wrote."""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:])

    def close(self):
        """Ends the process and removes the directory unless it is to be kept for study."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        if self.keep:
            print(f"kept for study: {self.home}", file=sys.stderr)
        else:
            shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, _value, _trace):
        self.keep |= kind not in (None, KeyboardInterrupt, SystemExit)
        self.close()


def attempt(check, *given) -> bool:
    """Tries one check and says when it fails."""
    try:
        check(*given)
    except Exception:
        print(f"FAILED   {check.__name__}\n{traceback.format_exc(limit=3)}", flush=True)
        return False
    return True


def parser(doc: str) -> argparse.ArgumentParser:
    """The options every program here has; a SIGTERM from now on ends the program as `sys.exit` would, server included."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument(
        "--server-command",
        default=LARDER_COMMAND,
        help="template with {dir} {port} {sync} (or {appendfsync}) and {flags}; default: the release build of larder",
    )
    return options


def is_larder(template: str) -> bool:
    """Whether deliberate differences from Redis are to be expected."""
    return "{flags}" in template


if __name__ == "__main__":
    if sys.argv[1:] != ["redis-server"]:
        sys.exit("usage: support.py redis-server   (prints the template that runs the programs here against Redis)")
    print(REDIS_COMMAND)
