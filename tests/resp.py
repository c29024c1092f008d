"""A raw RESP2 client: bytes out, replies in, nothing hidden.

What this deliberately is not: a client library. It has no pool, no retry and no types beyond the protocol's, because
the programs that use it must know exactly which replies arrived before a connection broke.
"""

import socket

READ_BYTES = 1 << 16


class Refused(Exception):
    """An error reply, without its leading `-`."""

    def __eq__(self, other):
        return isinstance(other, Refused) and self.args == other.args

    __hash__ = Exception.__hash__


class Closed(ConnectionError):
    """The peer closed the connection, or broke it."""


def encode(*words) -> bytes:
    """One command as a multibulk of bulk strings; `str` and `int` words are written as UTF-8."""
    out = [b"*%d\r\n" % len(words)]
    for word in words:
        body = word if isinstance(word, bytes) else str(word).encode()
        out.append(b"$%d\r\n%b\r\n" % (len(body), body))
    return b"".join(out)


class Connection:
    """One socket and the bytes received on it that no reply has used yet."""

    def __init__(self, port: int, host: str = "127.0.0.1"):
        self.socket = socket.create_connection((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pending = bytearray()

    def send(self, data: bytes):
        """Sends all of `data`; `Closed` when the peer is gone."""
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Closed(str(error)) from error

    def read(self):
        """The next reply: `bytes` (simple or bulk), `int`, `None`, `list` or `Refused`."""
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            return Refused(rest.decode(errors="replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._bulk(int(rest))
        if kind == b"*":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        raise ValueError(f"not RESP2: {line!r}")

    def call(self, *words):
        """Sends one command and returns its reply."""
        self.send(encode(*words))
        return self.read()

    def pipeline(self, commands) -> list:
        """Sends all commands in one write and returns their replies in order."""
        self.send(b"".join(encode(*words) for words in commands))
        return [self.read() for _ in commands]

    def close(self):
        """Closes the socket."""
        self.socket.close()

    def _line(self) -> bytes:
        while (end := self.pending.find(b"\r\n")) < 0:
            self._fill()
        line = bytes(self.pending[:end])
        del self.pending[: end + 2]
        return line

    def _bulk(self, body_bytes: int) -> bytes:
        while len(self.pending) < body_bytes + 2:
            self._fill()
        body = bytes(self.pending[:body_bytes])
        del self.pending[: body_bytes + 2]
        return body

    def _fill(self):
        try:
            received = self.socket.recv(READ_BYTES)
        except OSError as error:
            raise Closed(str(error)) from error
        if not received:
            raise Closed("end of stream")
        self.pending += received
