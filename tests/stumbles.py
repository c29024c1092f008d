"""What somebody who starts out does wrong, and whether the answer says what to do: messages, statuses, nothing left behind.

    --data-dir       a file, a path below one, a directory without data, one with a damaged journal, one with a torn end
    ports            taken by another process, given twice, an address that this machine does not have; what the log names
    larder import    files and directories that are no data
    larder config    a password is shown as set, with where it was, and what is shown is refused as a password

What this deliberately is not: a test of recovery (`crash_rounds.py`) or of imports (`import_redis.py`).

Prints a line per check; exit status 1 if one fails.
"""

import contextlib
import gzip
import os
import pathlib
import shlex
import socket
import subprocess
import sys
import tempfile
import time

from resp import Connection
from support import free_port, parser

SECONDS_MAX = 60
# Reserved for documentation (RFC 5737), so no machine has it.
FOREIGN_ADDRESS = "192.0.2.1"
USAGE, LOCKED, CORRUPT, ADDRESS, UNUSABLE = 2, 5, 6, 7, 8


class Judge:
    """Counts and prints what was found."""

    def __init__(self):
        self.failures = 0

    def says(self, what: str, done: subprocess.CompletedProcess, status: int, *parts: str, never: tuple = ()):
        """Whether a program ended with `status` and said all `parts` and nothing of `never`."""
        said = done.stdout + done.stderr
        wrong = [f"does not say {part!r}" for part in parts if part not in said]
        wrong += [f"says {part!r}" for part in never if part in said]
        wrong += [f"ends with {done.returncode}, not {status}"] if done.returncode != status else []
        self.holds(what, not wrong, f"{'; '.join(wrong)}:\n{said}")

    def holds(self, what: str, is_so: bool, detail: str = ""):
        """Whether something is as it should be."""
        print(f"{'ok  ' if is_so else 'FAIL'} {what}{'' if is_so else ': ' + detail}", flush=True)
        self.failures += not is_so


class Larder:
    """The program, run in a directory of its own."""

    def __init__(self, program: str, home: pathlib.Path):
        self.program, self.home = program, home

    def run(self, *words, env: dict | None = None) -> subprocess.CompletedProcess:
        """Runs it to its end; `serve` must end by itself."""
        command = [self.program, *map(str, words)]
        environment = os.environ | (env or {})
        return subprocess.run(
            command, cwd=self.home, env=environment, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
        )

    def serve(self, data_dir, *words) -> subprocess.CompletedProcess:
        """A start that is refused. Of the ports only those in `words` are listened on."""
        return self.run("serve", "--data-dir", data_dir, *_closed(words), *words)

    @contextlib.contextmanager
    def served(self, data_dir, *words):
        """A server that runs: its RESP port, and a function that gives its log."""
        port, log = free_port(), self.home / "server.log"
        command = [self.program, "serve", "--data-dir", data_dir, "--port", port, *_closed(("--port", *words)), *words]
        with open(log, "wb") as out:
            process = subprocess.Popen([str(word) for word in command], cwd=self.home, stdout=out, stderr=out)
        try:
            _wait_until_listening(port, process)
            yield port, log.read_text
        finally:
            process.kill()
            process.wait()


def _closed(words) -> list:
    return [word for name in ("--port", "--http-port", "--admin-port") if name not in words for word in (name, 0)]


def _wait_until_listening(port: int, process: subprocess.Popen):
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        if process.poll() is not None:
            raise SystemExit(f"larder ended with {process.returncode}")
        time.sleep(0.01)


def directories(judge: Judge, larder: Larder):
    """`--data-dir`, mistaken."""
    (larder.home / "note.txt").write_text("a note\n")
    for command in (larder.serve, lambda path: larder.run("check", "--data-dir", path)):
        judge.says("a data directory that is a file", command("note.txt"), UNUSABLE, "note.txt: it is a file; --data-dir must name")
        judge.says("one below a file", command("note.txt/data"), UNUSABLE, "/note.txt is a file; --data-dir must name")
    empty = larder.home / "empty"
    empty.mkdir()
    for command in ("check", "repair"):
        done = larder.run(command, "--data-dir", "empty")
        judge.says(f"larder {command} where there is no data", done, UNUSABLE, f"{empty} holds no data of Larder; --data-dir")
        judge.holds("and nothing was left there", not list(empty.iterdir()))
        done = larder.run(command, "--data-dir", "nowhere")
        judge.says(f"larder {command} where there is nothing", done, UNUSABLE, "--data-dir names the data directory")


def ports(judge: Judge, larder: Larder):
    """Addresses that cannot be listened on, and the log where they can."""
    new = larder.home / "new"
    question = "is another server running there?"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for name in ("--port", "--http-port", "--admin-port"):
            judge.says(f"{name} is taken", larder.serve(new, name, port), ADDRESS, f"127.0.0.1:{port}", question, f"{name} names")
    words = ("--bind", FOREIGN_ADDRESS, "--allow-unprotected", "--port", free_port())
    judge.says(
        "an address of another machine", larder.serve(new, *words), ADDRESS,
        f"this machine does not have the address {FOREIGN_ADDRESS}; --bind", never=(question,),
    )  # fmt: skip
    port = free_port()
    done = larder.serve(new, "--port", port, "--http-port", port)
    judge.says("a port given twice", done, USAGE, "`port` (flag) and `http-port` (flag) are both", never=(question,))
    judge.holds("none of it has made a data directory", not new.exists())

    http, admin = free_port(), free_port()
    with larder.served(larder.home / "data", "--http-port", http, "--admin-port", admin) as (port, log):
        Connection(port).call("SET", "k", "v")
        named = [f"127.0.0.1:{one}" in log() for one in (port, http, admin)]
        judge.holds("the log names every port", all(named), log())
        done = larder.serve(larder.home / "data", "--port", port)
        judge.says("a second server on the same directory and port", done, LOCKED, "is in use by another process, pid")


def damage(judge: Judge, larder: Larder):
    """What a start says of a journal that is not as it was written."""
    data = larder.home / "my data"
    with larder.served(data, "--sync", "always") as (port, _):
        client = Connection(port)
        for number in range(100):
            client.call("SET", f"key:{number}", "x" * 100)
    segment = sorted((data / "journal").iterdir())[0]
    whole = segment.read_bytes()
    # Records begin at multiples of 8; what follows the last was allocated, and is zero.
    end = (len(whole.rstrip(b"\0")) + 7) // 8 * 8

    segment.write_bytes(whole[:end] + b"\xff" * 48 + whole[end + 48 :])
    with larder.served(data) as (_, log):
        line = next((line for line in log().splitlines() if "not written whole" in line), "")
        judge.holds("a torn end is told of in words", "48 bytes from byte" in line and "Torn" not in line, log())

    bent = bytearray(segment.read_bytes())
    bent[end // 2] ^= 1
    segment.write_bytes(bent)
    quoted = shlex.quote(str(data))
    commands = (f"`larder check --data-dir {quoted}`", f"`larder repair --data-dir {quoted}`")
    judge.says("a damaged journal", larder.serve(data), CORRUPT, f"journal/{segment.name} is damaged", *commands)
    done = larder.run("check", "--data-dir", data)
    judge.says("larder check of it", done, CORRUPT, f"1 problem; `larder repair --data-dir {quoted} --report`")


def imports(judge: Judge, larder: Larder):
    """Sources that are none."""
    expected = ("is neither an RDB file", "nor an append-only file")
    (larder.home / "dump.rdb.gz").write_bytes(gzip.compress(b"REDIS0011"))
    target = ("--data-dir", "imported")
    judge.says("a text to import", larder.run("import", "note.txt", *target), 1, *expected, 'it begins with "a note')
    judge.says("a compressed file", larder.run("import", "dump.rdb.gz", *target), 1, *expected, "compressed by gzip")
    (larder.home / "nothing.rdb").touch()
    for flags in ((), ("--replace",), ("--merge",)):
        done = larder.run("import", "nothing.rdb", *target, *flags)
        judge.says(f"an empty file {' '.join(flags)}", done, 1, "nothing.rdb is empty")
    judge.says("an empty directory", larder.run("import", "empty", *target), 1, "holds nothing to import", "appendonlydir", "dump.rdb")
    redis = larder.home / "redis"
    (redis / "appendonlydir").mkdir(parents=True)
    (redis / "dump.rdb").touch()
    done = larder.run("import", "redis", *target)
    judge.says("Redis's directory", done, 1, "give redis/appendonlydir or redis/dump.rdb")
    judge.says("Larder's own", larder.run("import", "data", *target), 1, "is a data directory of Larder; serve it")
    judge.holds("none of it has made a data directory", not (larder.home / "imported").exists())


def secrets(judge: Judge, larder: Larder):
    """`larder config` and a password."""
    done = larder.run("config", env={"LARDER_REQUIREPASS": "hush"})
    lines = [line.split() for line in done.stdout.splitlines() if "requirepass" in line]
    shown = 'requirepass = "(set, not shown)" # environment LARDER_REQUIREPASS'.split()
    judge.holds("a password is shown as set, and by whom", lines == [shown] and "hush" not in done.stdout, done.stdout)
    (larder.home / "copied.toml").write_text(done.stdout)
    done = larder.run("config", "--config", "copied.toml")
    judge.says("and what is shown is no password", done, USAGE, "`requirepass` (copied.toml:", "is what `larder config` shows")


def main():
    chosen = parser(__doc__).parse_args()
    judge = Judge()
    with tempfile.TemporaryDirectory(prefix="larder-stumbles-") as home:
        larder = Larder(shlex.split(chosen.server_command)[0], pathlib.Path(home).resolve())
        for part in (directories, ports, damage, imports, secrets):
            part(judge, larder)
    sys.exit(1 if judge.failures else 0)


if __name__ == "__main__":
    main()
