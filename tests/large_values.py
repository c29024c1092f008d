"""Large values are in memory once: what a PUT, a SET and a GET of one add to the server's peak, and that nobody sees it.

What this deliberately is not: a test of what commands answer, which `crates/commands/tests/large.rs` is. Memory is the
kernel's word: the peak of resident memory (`VmHWM`), reset before each step, in a process that was started anew where an
allocator could have kept memory from the step before.

Prints a line per step with its growth in values; exit status 1 if any fails.
"""

import http.client
import pathlib
import sys
import time

from resp import Connection, encode
from support import Server, free_port, parser

MIB = 1 << 20
GROWTH_MAX = 1.5
# What a value that is in memory already may add.
SMALL = 0.25
# How long freed memory is waited for.
GIVEN_BACK_SECONDS = 60


def value_of(mib: int, seed: int) -> bytes:
    """Bytes that differ from one mebibyte to the next."""
    block = bytes((at * 31 + seed) % 251 for at in range(MIB))
    return b"".join(number.to_bytes(4, "little") + block[4:] for number in range(mib))


class Memory:
    """The peak of one process."""

    def __init__(self, pid: int):
        self.process = pathlib.Path(f"/proc/{pid}")
        (self.process / "clear_refs").write_text("5")  # The peak is what there is now.
        self.base = self._bytes("VmRSS:")

    def _bytes(self, name: str) -> int:
        for line in (self.process / "status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {name}")

    def growth(self) -> int:
        """How far the peak is above what there was."""
        return self._bytes("VmHWM:") - self.base

    def given_back(self) -> int:
        """How far memory is below what there was."""
        return self.base - self._bytes("VmRSS:")


def put(port: int, key: str, value: bytes):
    """PUT, with a length that is known."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("PUT", f"/v1/kv/{key}", value)
    response = connection.getresponse()
    response.read()
    assert response.status == 204, response.status
    connection.close()


def get(port: int, key: str, value: bytes, part: slice = slice(None)):
    """GET, of all of it or of a part."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {} if part == slice(None) else {"Range": f"bytes={part.start}-{part.stop - 1}"}
    connection.request("GET", f"/v1/kv/{key}", headers=headers)
    response = connection.getresponse()
    assert response.status == (206 if headers else 200), response.status
    assert response.read() == value[part], "what was put comes back"
    connection.close()


def slow_reader_sees_what_was_there(server: Server, port: int, value: bytes):
    """A reply that is on its way stays what it was, whatever happens to the key."""
    writer = Connection(server.port)
    writer.call("SET", "slow", value)
    for change in (("APPEND", "slow", "more"), ("SETRANGE", "slow", 5, "other"), ("SET", "slow", value[::-1]), ("DEL", "slow")):
        expected = writer.call("GET", "slow")
        reader = Connection(server.port)
        reader.send(encode("GET", "slow"))
        over_http = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        over_http.request("GET", "/v1/kv/slow")
        time.sleep(0.2)
        writer.call(*change)
        assert reader.read() == expected, change
        assert over_http.getresponse().read() == expected, change
        over_http.close()
    assert writer.call("GET", "slow") is None


def pipelines_keep_their_order(server: Server):
    """Large and small replies leave in the order of their commands; CLIENT REPLY holds large ones back, too."""
    small, large, other = b"s" * 1000, b"l" * (MIB // 4 + 5), b"o" * (3 * MIB)
    client = Connection(server.port)
    client.send(
        encode("SET", "small", small)
        + encode("SET", "large", large)
        + encode("PING")
        + encode("SET", "other", other)
        + encode("GET", "large")
        + encode("MGET", "other", "small", "none", "large")
        + encode("CLIENT", "REPLY", "SKIP")
        + encode("GET", "other")
        + encode("GETSET", "large", small)
        + encode("GET", "large")
        + encode("ECHO", other)
    )
    expected = [b"OK", b"OK", b"PONG", b"OK", large, [other, small, None, large], large, small, other]
    assert [client.read() for _ in expected] == expected


class Run:
    """All steps against one server."""

    def __init__(self, server: Server, port: int, mib: int):
        self.server, self.port = server, port
        self.first, self.second = value_of(mib, 1), value_of(mib, 2)
        self.failures = 0

    def step(self, name: str, do, values_max: float = GROWTH_MAX):
        """Does something, and says by how many values the peak grew."""
        memory = Memory(self.server.process.pid)
        do()
        growth = memory.growth() / len(self.first)
        verdict = "ok" if growth < values_max else "FAILED"
        print(f"{verdict:8} {self.server.sync} {name}: {growth:.2f} of less than {values_max}", flush=True)
        self.failures += verdict != "ok"

    def restart_spilled(self):
        """Kills the server behind a checkpoint: after that every large value lies in the journal only."""
        expect(Connection(self.server.port).call("SAVE"), b"OK")
        self.restart()

    def restart(self):
        """Kills the server and starts it again."""
        if self.server.process is not None:
            self.server.kill9()
        self.server.start()
        put(self.port, "warm", b"x" * MIB)
        get(self.port, "warm", b"x" * MIB)
        self.client = Connection(self.server.port)

    def over_http(self):
        """Up and down by HTTP."""

        def up_and_down():
            put(self.port, "key", self.first)
            get(self.port, "key", self.first)

        self.step("PUT and GET", up_and_down)
        self.step("GET again", lambda: get(self.port, "key", self.first), SMALL)
        part = slice(MIB - 3, len(self.first) - 5)
        self.step("GET of a range", lambda: get(self.port, "key", self.first, part), SMALL)
        self.restart_spilled()
        self.step("GET of a spilled value", lambda: get(self.port, "key", self.first))
        self.client.call("DEL", "key")

    def over_resp(self):
        """Up and down by RESP."""

        def up_and_down():
            expect(self.client.call("SET", "key", self.second), b"OK")
            expect(self.client.call("GET", "key"), self.second)

        self.step("SET and GET", up_and_down)
        self.step("GET again over RESP", lambda: expect(self.client.call("GET", "key"), self.second), SMALL)
        self.restart_spilled()
        self.step("GET of a spilled value over RESP", lambda: expect(self.client.call("GET", "key"), self.second))

    def replayed(self):
        """What was acknowledged is there after a kill."""
        self.client.call("SET", "other", self.first)
        self.restart()
        expect(self.client.call("GET", "other"), self.first)
        get(self.port, "key", self.second)

    def given_back(self):
        """A server that has nothing to do gives back what values have left."""
        memory = Memory(self.server.process.pid)
        self.client.call("DEL", "key", "other")
        wanted = len(self.first) + len(self.second) // 2
        deadline = time.monotonic() + GIVEN_BACK_SECONDS
        while memory.given_back() < wanted and time.monotonic() < deadline:
            time.sleep(0.2)
        back = memory.given_back()
        verdict = "ok" if wanted <= back else "FAILED"
        print(f"{verdict:8} {self.server.sync} DEL of two: {back / len(self.first):.2f} given back", flush=True)
        self.failures += verdict != "ok"

    def all(self) -> bool:
        """Whether memory stayed where it should; anything else that is wrong is an exception."""
        self.restart()
        self.over_http()
        self.restart()
        self.over_resp()
        self.replayed()
        self.given_back()
        slow_reader_sees_what_was_there(self.server, self.port, value_of(16, 3))
        pipelines_keep_their_order(self.server)
        return self.failures == 0


def run(template: str, sync: str, mib: int) -> bool:
    """All steps against a server of their own."""
    port = free_port()
    with Server(template.replace("--http-port 0", f"--http-port {port}"), sync=sync) as server:
        return Run(server, port, mib).all()


def expect(got: bytes, wanted: bytes):
    """Fails unless they are equal, without printing them."""
    assert got == wanted, f"{len(got)} bytes, and not those that were expected"


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--mib", type=int, default=128, help="size of the value in mebibytes")
    options.add_argument("--sync", nargs="*", default=["everysec", "always"])
    chosen = options.parse_args()
    passed = [run(chosen.server_command, sync, chosen.mib) for sync in chosen.sync]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
