"""Large values are in memory once: what a PUT, a SET and a GET of one add to the server's peak, and that nobody sees it.

What this deliberately is not: a test of what commands answer, which `crates/commands/tests/large.rs` is. Memory is the
kernel's word: the peak of resident memory (`VmHWM`), reset before each step. Every step must stay below 1.5 times the value.

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
SPILL_SECONDS_MAX = 30


def value_of(mib: int, seed: int) -> bytes:
    """Bytes that differ from one mebibyte to the next."""
    block = bytes((at * 31 + seed) % 251 for at in range(MIB))
    return b"".join(number.to_bytes(4, "little") + block[4:] for number in range(mib))


class Memory:
    """The peak of one process."""

    def __init__(self, pid: int):
        self.process = pathlib.Path(f"/proc/{pid}")

    def _bytes(self, name: str) -> int:
        for line in (self.process / "status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {name}")

    def reset(self):
        """The peak is what there is now."""
        (self.process / "clear_refs").write_text("5")
        self.base = self._bytes("VmRSS:")

    def growth(self) -> int:
        """How far the peak is above what there was."""
        return self._bytes("VmHWM:") - self.base


class Steps:
    """What each step came to."""

    def __init__(self, memory: Memory, value_bytes: int, label: str):
        self.memory, self.value_bytes, self.label = memory, value_bytes, label
        self.failures = []

    def step(self, name: str, do, values_max: float = GROWTH_MAX):
        """Does something, and says by how many values the peak grew."""
        self.memory.reset()
        do()
        growth = self.memory.growth() / self.value_bytes
        verdict = "ok" if growth < values_max else "FAILED"
        print(f"{verdict:8} {self.label} {name}: {growth:.2f} of at most {values_max}", flush=True)
        if verdict != "ok":
            self.failures.append(name)


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


def spilled(server: Server, key: str, value: bytes):
    """The memory limit takes the value from memory."""
    client = Connection(server.port)
    client.call("CONFIG", "SET", "maxmemory", "8mb")
    deadline = time.monotonic() + SPILL_SECONDS_MAX
    while server.rss_bytes() > len(value) // 2:
        assert time.monotonic() < deadline, f"{key} is still in memory: {server.rss_bytes()} bytes"
        time.sleep(0.05)
    client.call("CONFIG", "SET", "maxmemory", "0")


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


def run(template: str, sync: str, mib: int) -> bool:
    """All steps against one server."""
    port = free_port()
    first, second = value_of(mib, 1), value_of(mib, 2)
    with Server(template.replace("--http-port 0", f"--http-port {port}"), sync=sync) as server:
        server.start()
        put(port, "warm", b"x" * MIB)
        get(port, "warm", b"x" * MIB)
        steps = Steps(Memory(server.process.pid), len(first), sync)
        client = Connection(server.port)
        small = 0.25

        def put_and_get():
            put(port, "key", first)
            get(port, "key", first)

        steps.step("PUT and GET", put_and_get)
        steps.step("GET again", lambda: get(port, "key", first), small)
        steps.step("GET of a range", lambda: get(port, "key", first, slice(MIB - 3, len(first) - 5)), small)
        steps.step("GET over RESP", lambda: expect(client.call("GET", "key"), first), small)
        steps.step("SET over RESP", lambda: expect(client.call("SET", "other", second), b"OK"))
        steps.step("GET of what was SET", lambda: get(port, "other", second), small)
        client.call("DEL", "other")
        spilled(server, "key", first)
        steps.step("GET of a spilled value", lambda: get(port, "key", first))
        spilled(server, "key", first)
        steps.step("GET of a spilled value over RESP", lambda: expect(client.call("GET", "key"), first))
        client.call("SET", "other", second)
        server.kill9()
        server.start()
        get(port, "key", first)
        get(port, "other", second)
        slow_reader_sees_what_was_there(server, port, value_of(16, 3))
        pipelines_keep_their_order(server)
        return not steps.failures


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
