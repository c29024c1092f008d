"""The table of hostile bytes: what is sent, and what Redis 7.0.15 answers, byte for byte.

What this deliberately is not: commands that are well formed and ask for the impossible; `hostile_commands.py` has
those. `hostile.py` sends both.

A row's answer is written as the bytes alone if the connection goes on, as `Closed(bytes)` if the server closes it.
`valkey` is Valkey 9.1's answer where the two differ; either is right for Larder. `larder` is for an answer that is
deliberately neither, and then the only right one; a comment says why.
"""

import dataclasses


class Ended(bytes):
    """Bytes after which the client ends its side of the stream."""


class Endless(bytes):
    """Bytes after which the client sends nothing and waits: the server must be the one who closes."""


class Closed(bytes):
    """An answer after which the server closes the connection."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One hostile input and its answers."""

    name: str
    sent: bytes
    redis: bytes
    valkey: bytes | None = None
    larder: bytes | None = None


BAD_COUNT = b"-ERR Protocol error: invalid multibulk length\r\n"
BAD_LENGTH = b"-ERR Protocol error: invalid bulk length\r\n"
UNBALANCED = b"-ERR Protocol error: unbalanced quotes in request\r\n"

BYTES = (
    # Counts and lengths that are announced.
    Row("a count of 0 is nothing", b"*0\r\n", b""),
    Row("a negative count is nothing", b"*-1\r\n*-9223372036854775808\r\n", b""),
    Row("a count past 2^31", b"*2147483648\r\n", Closed(BAD_COUNT)),
    Row("a count past 2^64", b"*99999999999999999999\r\n", Closed(BAD_COUNT)),
    Row("a count that is no number", b"*abc\r\n", Closed(BAD_COUNT)),
    Row("a count of no digits", b"*\r\n", Closed(BAD_COUNT)),
    Row("a count with a space", b"*1 \r\n", Closed(BAD_COUNT)),
    Row("a count with a plus", b"*+1\r\n", Closed(BAD_COUNT)),
    Row("a count with a leading zero", b"*01\r\n", Closed(BAD_COUNT)),
    Row("the largest count, then nothing", Ended(b"*2147483647\r\n"), Closed(b"")),
    Row(
        "a count line without an end",
        Endless(b"*" + b"1" * 66000),
        Closed(b"-ERR Protocol error: too big mbulk count string\r\n"),
    ),
    Row("a negative length", b"*1\r\n$-1\r\n", Closed(BAD_LENGTH)),
    Row("a very negative length", b"*2\r\n$4\r\nECHO\r\n$-9223372036854775808\r\n", Closed(BAD_LENGTH)),
    Row("a length past 512 MiB", b"*1\r\n$536870913\r\n", Closed(BAD_LENGTH)),
    Row("a length past 2^64", b"*1\r\n$99999999999999999999\r\n", Closed(BAD_LENGTH)),
    Row("a length that is no number", b"*1\r\n$abc\r\n", Closed(BAD_LENGTH)),
    Row("a length of no digits", b"*1\r\n$\r\n", Closed(BAD_LENGTH)),
    Row("the largest length, then nothing", Ended(b"*1\r\n$536870912\r\n"), Closed(b"")),
    Row(
        "a length line without an end",
        Endless(b"*1\r\n$" + b"1" * 66000),
        Closed(b"-ERR Protocol error: too big bulk count string\r\n"),
    ),
    Row(
        "a length shorter than the word",
        b"*1\r\n$3\r\nPING\r\n",
        b"-ERR unknown command 'PIN', with args beginning with: \r\n",
        valkey=Closed(b"-ERR Protocol error: invalid CRLF in request\r\n"),
    ),
    Row(
        "two bytes that are no line end after a word",
        b"*1\r\n$4\r\nPINGxx",
        b"+PONG\r\n",
        valkey=Closed(b"-ERR Protocol error: invalid CRLF in request\r\n"),
    ),
    Row("a word of no bytes", b"*1\r\n$0\r\n\r\n", b"-ERR unknown command '', with args beginning with: \r\n"),
    # Words of the wrong kind.
    Row("a simple string for a bulk", b"*1\r\n+PING\r\n", Closed(b"-ERR Protocol error: expected '$', got '+'\r\n")),
    Row("a bare word for a bulk", b"*1\r\nPING\r\n", Closed(b"-ERR Protocol error: expected '$', got 'P'\r\n")),
    Row(
        "an array in an array",
        b"*1\r\n*1\r\n$4\r\nPING\r\n",
        Closed(b"-ERR Protocol error: expected '$', got '*'\r\n"),
    ),
    Row(
        "an integer for a bulk",
        b"*2\r\n$3\r\nGET\r\n:1\r\n",
        Closed(b"-ERR Protocol error: expected '$', got ':'\r\n"),
    ),
    Row(
        "an error for a bulk",
        b"*2\r\n$3\r\nGET\r\n-ERR\r\n",
        Closed(b"-ERR Protocol error: expected '$', got '-'\r\n"),
    ),
    Row("a control byte for a bulk", b"*1\r\n\x01\r\n", Closed(b"-ERR Protocol error: expected '$', got '\x01'\r\n")),
    Row(
        "a good command before a bad one",
        b"PING\r\n*1\r\n!\r\nPING\r\n",
        Closed(b"+PONG\r\n-ERR Protocol error: expected '$', got '!'\r\n"),
    ),
    # Half commands, then the end of the stream.
    Row("nothing at all", Ended(b""), Closed(b"")),
    Row("a star", Ended(b"*"), Closed(b"")),
    Row("a count without a line end", Ended(b"*3\r"), Closed(b"")),
    Row("a count and no word", Ended(b"*3\r\n"), Closed(b"")),
    Row("a word missing", Ended(b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n"), Closed(b"")),
    Row("half of the last word", Ended(b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$5\r\nval"), Closed(b"")),
    Row("a last word without its line end", Ended(b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$5\r\nvalue"), Closed(b"")),
    Row("half an inline command", Ended(b"SET half va"), Closed(b"")),
    Row("a whole command and a half", Ended(b"PING\r\n*2\r\n$4\r\nECHO\r\n$3\r\nhe"), Closed(b"+PONG\r\n")),
    # Inline garbage.
    Row("empty lines", b"\r\n\n\r\n   \r\n", b""),
    Row("a line end without a return", b"PING\n", b"+PONG\r\n"),
    Row(
        "an unknown word",
        b"GARBAGE one two\r\n",
        b"-ERR unknown command 'GARBAGE', with args beginning with: 'one' 'two' \r\n",
    ),
    Row(
        "a reply for a request",
        b"+OK\r\n:1\r\n$4\r\nPING\r\n",
        b"-ERR unknown command '+OK', with args beginning with: \r\n-ERR unknown command ':1', with args beginning with: \r\n-ERR unknown command '$4', with args beginning with: \r\n+PONG\r\n",
    ),
    Row("an open quote", b'SET "k v\r\n', Closed(UNBALANCED)),
    Row("an open apostrophe", b"SET 'k v\r\n", Closed(UNBALANCED)),
    Row("a quote that ends inside a word", b'ECHO "a"b\r\n', Closed(UNBALANCED), valkey=b"$2\r\nab\r\n"),
    Row("escapes in quotes", b'ECHO "\\x41\\n\\t\\q"\r\n', b"$4\r\nA\n\tq\r\n"),
    Row(
        "bytes that are no text",
        b"\xff\xfe\x80 \x01\r\n",
        b"-ERR unknown command '\xff\xfe\x80', with args beginning with: '\x01' \r\n",
        valkey=b"-ERR unknown command '\xfe\x80', with args beginning with: '\x01' \r\n",
        # Errors are text: bytes that are not UTF-8 come back as replacement characters.
        larder="-ERR unknown command '\ufffd\ufffd\ufffd', with args beginning with: '\x01' \r\n".encode(),
    ),
    Row("a line without an end", Endless(b"A" * 66000), Closed(b"-ERR Protocol error: too big inline request\r\n")),
    Row("the greeting of TLS", Ended(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x7f" * 32), Closed(b"")),
    Row("an HTTP GET", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", Closed(b"")),
    Row("an HTTP POST", b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET k v\r\n", Closed(b"")),
)
