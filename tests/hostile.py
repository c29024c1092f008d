"""Sends the tables of hostile input to a server and compares every answer, byte for byte; then puts hostile load on it.

What this deliberately is not: fuzzing. Each row was run against redis-server 7.0.15 and valkey-server 9.1.2 and its
answers written down; `--as redis` and `--as valkey` hold a server to one of them, without either is right.

Prints a line per row that is wrong and the counts; exit status 1 if any is, or if the server died.
"""

import resource
import socket
import sys
import traceback

from hostile_bytes import BYTES, Closed, Ended, Endless
from hostile_commands import SCRIPTS
from hostile_load import LOADS
from resp import Connection, encode
from support import Server, ServerDied, parser

SENTINEL_ASK = encode("ECHO", "the connection goes on")
SENTINEL_REPLY = b"$22\r\nthe connection goes on\r\n"


def answer_to(port: int, sent: bytes) -> bytes:
    """All the server says to `sent`: as it is if the connection goes on afterwards, else as `Closed`.

    A sentinel command follows `sent`, and the end of the stream follows that, so there is always an end to read to.
    """
    with socket.create_connection(("127.0.0.1", port)) as peer:
        try:
            peer.sendall(sent if isinstance(sent, (Ended, Endless)) else sent + SENTINEL_ASK)
            if not isinstance(sent, Endless):
                peer.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # It may close while we still send; what it said before can be read.
        said = b""
        try:
            while received := peer.recv(1 << 16):
                said += received
        except ConnectionResetError:
            pass
    return said.removesuffix(SENTINEL_REPLY) if said.endswith(SENTINEL_REPLY) else Closed(said)


def same(got: bytes, want: bytes) -> bool:
    """Whether two answers agree, in what becomes of the connection too."""
    return bytes(got) == bytes(want) and isinstance(got, Closed) == isinstance(want, Closed)


def choose(redis, valkey, reference):
    """The answers that are right under `--as`."""
    valkey = redis if valkey is None else valkey
    return {"redis": (redis,), "valkey": (valkey,), None: (redis, valkey)}[reference]


def check_bytes(port: int, row, reference) -> list:
    """What is wrong with the answer to one row of bytes."""
    got = answer_to(port, row.sent)
    right = (row.larder,) if row.larder is not None and reference is None else choose(row.redis, row.valkey, reference)
    return [] if any(same(got, want) for want in right) else [f"expected {show(right)}, got {show([got])}"]


def check_script(port: int, row, reference) -> list:
    """What is wrong with the answers to one script, each command's compared alone."""
    whole = answer_to(port, b"".join(command for command, _ in row.steps))
    wrong, rest = [], bytes(whole)
    for command, answers in row.steps:
        right = choose(answers[0], answers[-1], reference)
        found = next((want for want in right if rest.startswith(want)), None)
        if found is None:
            return wrong + [f"{command[:100]!r}: expected {show(right)}, got {rest[:300]!r}"]
        rest = rest[len(found) :]
    if rest or isinstance(whole, Closed):
        wrong.append(f"after the last command: {show([whole])[-300:]}")
    return wrong


def show(answers) -> str:
    """Answers for a human."""
    return " or ".join(
        f"{'Closed ' if isinstance(one, Closed) else ''}{bytes(one)[:300]!r}" for one in dict.fromkeys(answers)
    )


def run_tables(port: int, reference) -> int:
    """Both tables; returns how many rows were wrong."""
    wrong_count = 0
    control = Connection(port)
    for check, table in (check_bytes, BYTES), (check_script, SCRIPTS):
        for row in table:
            control.call("FLUSHALL")
            wrong = check(port, row, reference)
            wrong_count += bool(wrong)
            for line in wrong:
                print(f"WRONG  {row.name}: {line}", flush=True)
    control.close()
    print(f"{len(BYTES)} rows of bytes, {len(SCRIPTS)} of commands: {wrong_count} wrong", flush=True)
    return wrong_count


def run_loads(server, only: str) -> int:
    """All loads; returns how many the server did not bear."""
    broken_count = 0
    for load in LOADS:
        if only not in load.__name__:
            continue
        control = Connection(server.port)
        try:
            figure = load(server, control)
            print(f"ok     {load.__name__}{': ' + figure if figure else ''}", flush=True)
        except Exception:
            broken_count += 1
            print(f"BROKEN {load.__name__}\n{traceback.format_exc(limit=2)}", flush=True)
        control.close()
    return broken_count


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--as", dest="reference", choices=("redis", "valkey"))
    options.add_argument("--only", default="", help="only the loads whose name contains this, and no tables")
    chosen = options.parse_args()
    _, files_max = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, files_max))
    wrong_count = 0
    try:
        with Server(chosen.server_command) as server:
            server.start()
            if not chosen.only:
                wrong_count += run_tables(server.port, chosen.reference)
            wrong_count += run_loads(server, chosen.only)
            server.kill9()
    except ServerDied as death:
        print(f"the server died: {death}")
        return 1
    return 1 if wrong_count else 0


if __name__ == "__main__":
    sys.exit(main())
