"""Clients that do not get on with it, and clients that do nothing, while others go on.

Some hundreds of connections send a head or a body a byte at a time, or do not read their answers, as an attack with slow
requests (slowloris) does. Others read and write meanwhile, over HTTP and RESP, and must get every answer right; the slow ones
must be ended as `docs/http.md` says: with 408 or the end of the connection, in the time it names. Then 10,000 connections that
are kept alive and idle, and what memory the server takes for them.

What this deliberately is not: a measurement. How fast the others are is not judged.

Prints a line per check that fails or is left out; exit status 1 if any fails.
"""

import http.client
import resource
import selectors
import socket
import sys
import threading
import time
import traceback

from resp import Connection
from support import Server, attempt, free_port, parser

# As the server has them.
HEAD_SECONDS_MAX = 10
GRACE_SECONDS = 30
# How much later than that a busy machine may get to it.
LATE_SECONDS = 15
SLOW_HEADS, SLOW_BODIES, SLOW_READERS = 200, 200, 20
# More than the system takes of an answer that nobody reads.
UNREAD_BYTES = 12 << 20
OTHERS = 4
IDLE_CONNECTIONS = 10_000
IDLE_RSS_BYTES_MAX = 200 << 20
# Of this program and of the server, besides connections.
OTHER_FILES = 500


def expect(got, wanted):
    """Fails unless they are equal."""
    if got != wanted:
        raise AssertionError(f"expected {wanted!r}, got {got!r}")


class Slow:
    """A connection that sends a byte now and then, and how it ended."""

    def __init__(self, port: int, sent: bytes, kind: str, reads: bool):
        self.kind, self.reads, self.said, self.ended = kind, reads, b"", None
        self.begun = time.monotonic()
        self.socket = socket.socket()
        if not reads:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(sent)
        self.socket.setblocking(False)

    def drip(self):
        """Sends one byte more."""
        try:
            self.socket.send(b"x")
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            self.end()

    def take(self):
        """Takes what has come, and sees whether that is the end."""
        try:
            received = self.socket.recv(1 << 16)
        except BlockingIOError:
            return
        except ConnectionResetError:
            received = b""
        self.said += received
        if not received:
            self.end()

    def end(self):
        """Notes that it is over."""
        if self.ended is None:
            self.ended = time.monotonic() - self.begun
            self.socket.close()


class Other(threading.Thread):
    """A client that writes and reads its own keys over HTTP, and checks each answer, until it is told to stop."""

    def __init__(self, number: int, port: int, stop: threading.Event):
        super().__init__(daemon=True)
        self.number, self.port, self.stop, self.answers, self.wrong = number, port, stop, 0, None

    def run(self):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            while not self.stop.is_set():
                path, value = f"/v1/kv/other:{self.number}", f"{self.number}:{self.answers}".encode() * 10
                for method, body, wanted in (("PUT", value, (204, b"")), ("GET", None, (200, value))):
                    connection.request(method, path, body)
                    response = connection.getresponse()
                    expect((response.status, response.read()), wanted)
                    self.answers += 1
        except Exception:
            self.wrong = traceback.format_exc(limit=3)


def slow_clients(port: int) -> list:
    """All of them, begun."""
    head = b"GET /v1/kv/k HTTP/1.1\r\nHost: x\r\nX-Slow: "
    body = b"PUT /v1/kv/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    chunks = b"PUT /v1/kv/slow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n"
    reader = b"GET /v1/kv/unread HTTP/1.1\r\nHost: x\r\n\r\n"
    slow = [Slow(port, head, "head", True) for _ in range(SLOW_HEADS)]
    slow += [Slow(port, chunks if number % 2 else body, "body", True) for number in range(SLOW_BODIES)]
    return slow + [Slow(port, reader, "reader", False) for _ in range(SLOW_READERS)]


def drip_until_ended(slow: list, resp: Connection):
    """Goes on until the server has ended each of them, which is noticed without reading where they do not read."""
    poll, ends = selectors.DefaultSelector(), time.monotonic() + GRACE_SECONDS + 3 * LATE_SECONDS
    for one in slow:
        if one.reads:
            poll.register(one.socket, selectors.EVENT_READ, one)
    drips = time.monotonic()
    while any(one.ended is None for one in slow) and time.monotonic() < ends:
        for key, _ in poll.select(0.2):
            key.data.take()
            if key.data.ended is not None:
                poll.unregister(key.fileobj)
        if drips < time.monotonic():
            drips += 1
            for one in slow:
                if one.reads and one.ended is None:
                    one.drip()
                    if one.ended is not None:
                        poll.unregister(one.socket)
            listed = resp.call("CLIENT", "LIST").decode()
            for one in slow:
                if not one.reads and one.ended is None and f"addr=127.0.0.1:{one.socket.getsockname()[1]} " not in listed:
                    one.end()


def slow_clients_are_ended_in_time_and_hurt_nobody(server, port):
    resp = Connection(server.port)
    resp.call("SET", "unread", "u" * UNREAD_BYTES)
    stop = threading.Event()
    others = [Other(number, port, stop) for number in range(OTHERS)]
    for other in others:
        other.start()
    slow = slow_clients(port)
    drip_until_ended(slow, resp)
    during = [other.answers for other in others]
    stop.set()
    for other in others:
        other.join(60)
        assert other.wrong is None, other.wrong
    assert all(during), f"answers that the others got: {during}"
    for kind, seconds, status in (("head", HEAD_SECONDS_MAX, 408), ("body", GRACE_SECONDS, 408), ("reader", GRACE_SECONDS, None)):
        ended = [one for one in slow if one.kind == kind]
        early = [one.ended for one in ended if one.ended is not None and one.ended < seconds - 1]
        late = [one.ended for one in ended if one.ended is None or seconds + LATE_SECONDS < one.ended]
        expect((kind, early, late), (kind, [], []))
        if status is not None:
            told = [one for one in ended if one.said.startswith(f"HTTP/1.1 {status} ".encode())]
            # A byte that comes when the answer has left ends the connection before that is read, now and then.
            untold = {one.said for one in ended} - {one.said for one in told}
            assert untold <= {b""} and 0.9 * len(ended) <= len(told), f"{kind}: {len(told)} of {len(ended)}, {untold}"
    expect(resp.call("EXISTS", "slow"), 0)


def idle_connections_take_little_memory(server, port):
    wanted, (soft, hard) = IDLE_CONNECTIONS + OTHER_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted and hard < wanted:
        print(f"LEFT OUT idle_connections_take_little_memory: only {hard} files may be open here, and not {wanted}", flush=True)
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    request = b"GET /v1/kv/idle HTTP/1.1\r\nHost: x\r\n\r\n"
    Connection(server.port).call("SET", "idle", "value")
    idle = []
    try:
        for _ in range(IDLE_CONNECTIONS):
            one = socket.create_connection(("127.0.0.1", port), timeout=60)
            one.sendall(request)
            assert one.recv(4096).endswith(b"\r\n\r\nvalue")
            idle.append(one)
        rss = server.rss_bytes()
        assert rss < IDLE_RSS_BYTES_MAX, f"{rss >> 20} MiB for {len(idle)} connections"
        # They are there still, each of them.
        for one in idle:
            one.sendall(request)
        for one in idle:
            assert one.recv(4096).endswith(b"\r\n\r\nvalue")
    finally:
        for one in idle:
            one.close()


CHECKS = [
    (slow_clients_are_ended_in_time_and_hurt_nobody, ""),
    (idle_connections_take_little_memory, f"--maxclients {IDLE_CONNECTIONS + 100}"),
]


def main() -> int:
    options, failed = parser(__doc__).parse_args(), 0
    for check, flags in CHECKS:
        port = free_port()
        with Server(options.server_command.replace("--http-port 0", f"--http-port {port}"), flags=flags) as server:
            server.start()
            failed += not attempt(check, server, port)
    print(f"{len(CHECKS) - failed} of {len(CHECKS)} checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
