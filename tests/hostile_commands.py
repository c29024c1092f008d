"""The table of well-formed commands that ask for the impossible: wrong types, wrong counts, overflow, garbage payloads;
each with the answer of Redis 7.0.15, byte for byte.

What this deliberately is not: malformed bytes (`hostile_bytes.py`) or load (`hostile_load.py`).

Each row runs on an empty database. A line is a command and its answer; where Valkey 9.1 answers differently, its
answer follows, and either is right for Larder.
"""

import dataclasses

from resp import encode

I64_MAX, I64_MIN = 2**63 - 1, -(2**63)


def call(*words) -> bytes:
    """A command."""
    return encode(*words)


def error(text: str) -> bytes:
    """An error reply."""
    return b"-%b\r\n" % text.encode()


def integer(number: int) -> bytes:
    """An integer reply."""
    return b":%d\r\n" % number


def bulk(body: bytes) -> bytes:
    """A bulk reply."""
    return b"$%d\r\n%b\r\n" % (len(body), body)


def array(*items: bytes) -> bytes:
    """An array reply."""
    return b"*%d\r\n%b" % (len(items), b"".join(items))


@dataclasses.dataclass(frozen=True)
class Script:
    """A row: (command, answers that are right) in order."""

    name: str
    steps: tuple


def script(name: str, *lines) -> Script:
    """A row from its lines."""
    return Script(name, tuple((line[0], line[1:]) for line in lines))


OK, NIL = b"+OK\r\n", b"$-1\r\n"
WRONGTYPE = error("WRONGTYPE Operation against a key holding the wrong kind of value")
NOT_INTEGER = error("ERR value is not an integer or out of range")
NOT_FLOAT = error("ERR value is not a valid float")
SYNTAX = error("ERR syntax error")
BITFIELD_TYPE = error(
    "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."
)
BIT_OFFSET = error("ERR bit offset is not an integer or out of range")
TOO_LONG = error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
OVERFLOW = error("ERR increment or decrement would overflow")
BAD_DUMP = error("ERR DUMP payload version or checksum are wrong")
BAD_NAME = error("ERR Client names cannot contain spaces, newlines or special characters.")
DB_INDEX = error("ERR DB index is out of range")
COUNT_RANGE = error("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807")

SCRIPTS = (
    # Unknown commands and wrong argument counts.
    script(
        "an unknown command",
        (call("NOSUCH", "a", "b"), error("ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' ")),
    ),
    script(
        "an unknown command with line ends",
        (call("NO\r\nSUCH", "a\r\nb"), error("ERR unknown command 'NO  SUCH', with args beginning with: 'a  b' ")),
    ),
    script(
        "an unknown command that is long",
        (
            call("x" * 200, "y" * 200, "z"),
            error(f"ERR unknown command '{'x' * 128}', with args beginning with: '{'y' * 128}' "),
        ),
    ),
    script(
        "an unknown command with many arguments",
        (
            call("NOSUCH", *(f"arg{index:02}" for index in range(40))),
            error(
                "ERR unknown command 'NOSUCH', with args beginning with: "
                + "".join(f"'arg{index:02}' " for index in range(16))
            ),
        ),
    ),
    script(
        "too few arguments",
        (call("GET"), error("ERR wrong number of arguments for 'get' command")),
        (call("SET", "k"), error("ERR wrong number of arguments for 'set' command")),
        (call("HSET", "h", "f"), error("ERR wrong number of arguments for 'hset' command")),
        (call("EXPIRE", "k"), error("ERR wrong number of arguments for 'expire' command")),
        (call("DEL"), error("ERR wrong number of arguments for 'del' command")),
    ),
    script(
        "too many arguments",
        (call("GET", "k", "x"), error("ERR wrong number of arguments for 'get' command")),
        (call("TTL", "k", "x"), error("ERR wrong number of arguments for 'ttl' command")),
        (call("DBSIZE", "x"), error("ERR wrong number of arguments for 'dbsize' command")),
    ),
    script(
        "odd pairs",
        (call("MSET", "a", "1", "b"), error("ERR wrong number of arguments for 'mset' command")),
        (call("MSETNX", "a"), error("ERR wrong number of arguments for 'msetnx' command")),
        (call("HSET", "h", "f", "v", "g"), error("ERR wrong number of arguments for 'hset' command")),
    ),
    script(
        "an unknown subcommand",
        (call("CLIENT", "NOSUCH"), error("ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP.")),
        (call("CONFIG", "NOSUCH", "x"), error("ERR unknown subcommand 'NOSUCH'. Try CONFIG HELP.")),
        (call("OBJECT", "NOSUCH", "k"), error("ERR unknown subcommand 'NOSUCH'. Try OBJECT HELP.")),
        (call("COMMAND", "NOSUCH"), error("ERR unknown subcommand 'NOSUCH'. Try COMMAND HELP.")),
    ),
    script(
        "a subcommand with too few arguments",
        (call("CLIENT", "SETNAME"), error("ERR wrong number of arguments for 'client|setname' command")),
        (call("CONFIG", "GET"), error("ERR wrong number of arguments for 'config|get' command")),
        (call("OBJECT", "ENCODING"), error("ERR wrong number of arguments for 'object|encoding' command")),
    ),
    # Wrong types.
    script(
        "string commands on a hash",
        (call("HSET", "h", "f", "text"), integer(1)),
        (call("GET", "h"), WRONGTYPE),
        (call("APPEND", "h", "x"), WRONGTYPE),
        (call("INCR", "h"), WRONGTYPE),
        (call("INCRBYFLOAT", "h", "1"), WRONGTYPE),
        (call("STRLEN", "h"), WRONGTYPE),
        (call("SETRANGE", "h", "0", "x"), WRONGTYPE),
        (call("GETRANGE", "h", "0", "1"), WRONGTYPE),
        (call("GETSET", "h", "x"), WRONGTYPE),
        (call("GETDEL", "h"), WRONGTYPE),
        (call("GETEX", "h"), WRONGTYPE),
        (call("SETBIT", "h", "1", "1"), WRONGTYPE),
        (call("GETBIT", "h", "1"), WRONGTYPE),
        (call("BITCOUNT", "h"), WRONGTYPE),
        (call("BITPOS", "h", "1"), WRONGTYPE),
        (call("BITFIELD", "h", "GET", "u8", "0"), WRONGTYPE),
    ),
    script(
        "string commands that pass over a hash",
        (call("HSET", "h", "f", "text"), integer(1)),
        (call("MGET", "h", "none"), array(NIL, NIL)),
        (call("SET", "h", "v", "GET"), WRONGTYPE),
        (call("SETNX", "h", "v"), integer(0)),
        (call("TYPE", "h"), b"+hash\r\n"),
        (call("SET", "h", "v"), OK),
        (call("TYPE", "h"), b"+string\r\n"),
    ),
    script(
        "bit operations over a hash",
        (call("HSET", "h", "f", "text"), integer(1)),
        (call("SET", "s", "text"), OK),
        (call("BITOP", "AND", "target", "s", "h"), WRONGTYPE),
        (call("EXISTS", "target"), integer(0)),
        (call("LCS", "s", "h"), error("ERR The specified keys must contain string values")),
    ),
    script(
        "hash commands on a string",
        (call("SET", "s", "text"), OK),
        (call("HGET", "s", "f"), WRONGTYPE),
        (call("HSET", "s", "f", "v"), WRONGTYPE),
        (call("HSETNX", "s", "f", "v"), WRONGTYPE),
        (call("HMGET", "s", "f"), WRONGTYPE),
        (call("HDEL", "s", "f"), WRONGTYPE),
        (call("HLEN", "s"), WRONGTYPE),
        (call("HSTRLEN", "s", "f"), WRONGTYPE),
        (call("HINCRBY", "s", "f", "1"), WRONGTYPE),
        (call("HINCRBYFLOAT", "s", "f", "1"), WRONGTYPE),
        (call("HEXISTS", "s", "f"), WRONGTYPE),
        (call("HKEYS", "s"), WRONGTYPE),
        (call("HVALS", "s"), WRONGTYPE),
        (call("HGETALL", "s"), WRONGTYPE),
        (call("HSCAN", "s", "0"), WRONGTYPE),
        (call("HRANDFIELD", "s"), WRONGTYPE),
    ),
    script(
        "numbers that are words",
        (call("SET", "s", "text"), OK),
        (call("HSET", "h", "f", "text"), integer(1)),
        (call("INCR", "s"), NOT_INTEGER),
        (call("INCRBYFLOAT", "s", "1"), NOT_FLOAT),
        (call("HINCRBY", "h", "f", "1"), error("ERR hash value is not an integer")),
        (call("HINCRBYFLOAT", "h", "f", "1"), error("ERR hash value is not a float")),
        (call("INCRBY", "n", "ten"), NOT_INTEGER),
        (call("INCRBYFLOAT", "n", "ten"), NOT_FLOAT),
        (call("HINCRBY", "h", "g", "ten"), NOT_INTEGER),
        (call("HINCRBYFLOAT", "h", "g", "ten"), NOT_FLOAT),
    ),
    script(
        "a number with a space before",
        (call("SET", "n", " 1"), OK),
        (call("INCR", "n"), NOT_INTEGER),
    ),
    script(
        "a number with a space after",
        (call("SET", "n", "1 "), OK),
        (call("INCR", "n"), NOT_INTEGER),
    ),
    script(
        "a number with a plus",
        (call("SET", "n", "+1"), OK),
        (call("INCR", "n"), NOT_INTEGER),
    ),
    script(
        "a number with a leading zero",
        (call("SET", "n", "01"), OK),
        (call("INCR", "n"), NOT_INTEGER),
    ),
    script(
        "a number: a minus alone",
        (call("SET", "n", "-"), OK),
        (call("INCR", "n"), NOT_INTEGER),
    ),
    script(
        "a number: a negative zero",
        (call("SET", "n", "-0"), OK),
        (call("INCR", "n"), NOT_INTEGER),
    ),
    script(
        "a number: one past the largest",
        (call("SET", "n", "9223372036854775808"), OK),
        (call("INCR", "n"), NOT_INTEGER),
    ),
    script(
        "a number: no digits",
        (call("SET", "n", ""), OK),
        (call("INCR", "n"), NOT_INTEGER),
    ),
    script(
        "a number with a NUL after",
        (call("SET", "n", "1\x00"), OK),
        (call("INCR", "n"), NOT_INTEGER),
    ),
    script(
        "a number: hexadecimal",
        (call("SET", "n", "0x10"), OK),
        (call("INCR", "n"), NOT_INTEGER),
    ),
    # Overflow.
    script(
        "INCR at the largest",
        (call("SET", "n", I64_MAX), OK),
        (call("INCR", "n"), OVERFLOW),
        (call("INCRBY", "n", 1), OVERFLOW),
        (call("GET", "n"), bulk(b"9223372036854775807")),
    ),
    script(
        "DECR at the smallest",
        (call("SET", "n", I64_MIN), OK),
        (call("DECR", "n"), OVERFLOW),
        (call("DECRBY", "n", 1), OVERFLOW),
        (call("INCRBY", "n", -1), OVERFLOW),
        (call("GET", "n"), bulk(b"-9223372036854775808")),
    ),
    script(
        "DECRBY the smallest",
        (call("DECRBY", "n", I64_MIN), error("ERR decrement would overflow")),
    ),
    script(
        "INCRBY past 2^63",
        (call("INCRBY", "n", "9223372036854775808"), NOT_INTEGER),
    ),
    script(
        "HINCRBY at the ends",
        (call("HSET", "h", "max", I64_MAX, "min", I64_MIN), integer(2)),
        (call("HINCRBY", "h", "max", 1), OVERFLOW),
        (call("HINCRBY", "h", "min", -1), OVERFLOW),
        (call("HGET", "h", "max"), bulk(b"9223372036854775807")),
    ),
    script(
        "INCRBYFLOAT to infinity",
        (call("SET", "n", "1e308"), OK),
        (call("INCRBYFLOAT", "n", "inf"), error("ERR increment would produce NaN or Infinity")),
        (call("INCRBYFLOAT", "n", "nan"), NOT_FLOAT),
        (call("INCRBYFLOAT", "n", "1e5000"), NOT_FLOAT),
        (call("GET", "n"), bulk(b"1e308")),
    ),
    script(
        "HINCRBYFLOAT to infinity",
        (call("HINCRBYFLOAT", "h", "f", "inf"), error("ERR value is NaN or Infinity")),
        (call("HINCRBYFLOAT", "h", "f", "nan"), NOT_FLOAT),
        (call("HINCRBYFLOAT", "h", "f", "1e5000"), NOT_FLOAT),
    ),
    script(
        "SETRANGE past the limit",
        (call("SETRANGE", "k", 1 << 40, "x"), TOO_LONG),
        (call("SETRANGE", "k", 536870912, "x"), TOO_LONG),
        (call("SETRANGE", "k", I64_MAX, "x"), TOO_LONG),
        (call("SETRANGE", "k", -1, "x"), error("ERR offset is out of range")),
        (call("SETRANGE", "k", "2e3", "x"), NOT_INTEGER),
        (call("EXISTS", "k"), integer(0)),
    ),
    script(
        "SETRANGE of nothing far out",
        (call("SETRANGE", "k", 1 << 40, ""), integer(0)),
        (call("EXISTS", "k"), integer(0)),
    ),
    script(
        "APPEND past the limit",
        (call("CONFIG", "SET", "proto-max-bulk-len", "1mb"), OK),
        (call("SETRANGE", "k", 1048575, "x"), integer(1048576)),
        (call("APPEND", "k", "y"), TOO_LONG),
        (call("STRLEN", "k"), integer(1048576)),
        (call("CONFIG", "SET", "proto-max-bulk-len", "512mb"), OK),
        (call("APPEND", "k", "y"), integer(1048577)),
    ),
    script(
        "SETBIT past the limit",
        (call("SETBIT", "k", 1 << 32, 1), BIT_OFFSET),
        (call("SETBIT", "k", -1, 1), BIT_OFFSET),
        (call("SETBIT", "k", I64_MAX, 1), BIT_OFFSET),
        (call("SETBIT", "k", 0, 2), error("ERR bit is not an integer or out of range")),
        (call("SETBIT", "k", "a", 1), BIT_OFFSET),
        (call("GETBIT", "k", 1 << 32), BIT_OFFSET),
        (call("EXISTS", "k"), integer(0)),
    ),
    script(
        "BITFIELD of impossible types",
        (call("BITFIELD", "k", "GET", "u64", 0), BITFIELD_TYPE),
        (call("BITFIELD", "k", "GET", "i65", 0), BITFIELD_TYPE),
        (call("BITFIELD", "k", "GET", "u0", 0), BITFIELD_TYPE),
        (call("BITFIELD", "k", "GET", "x8", 0), BITFIELD_TYPE),
        (call("BITFIELD", "k", "GET", "u8", "#9223372036854775807"), BIT_OFFSET),
        (call("BITFIELD", "k", "SET", "u8", -1, 0), BIT_OFFSET),
        (call("BITFIELD", "k", "OVERFLOW", "BREAK"), error("ERR Invalid OVERFLOW type specified")),
        (call("BITFIELD_RO", "k", "SET", "u8", 0, 1), error("ERR BITFIELD_RO only supports the GET subcommand")),
    ),
    script(
        "BITFIELD at the ends",
        (
            call("BITFIELD", "k", "SET", "i64", 0, I64_MAX, "INCRBY", "i64", 0, 1),
            array(integer(0), integer(-9223372036854775808)),
        ),
        (
            call("BITFIELD", "k", "OVERFLOW", "SAT", "SET", "i64", 0, I64_MAX, "INCRBY", "i64", 0, 1),
            array(integer(-9223372036854775808), integer(9223372036854775807)),
        ),
        (call("BITFIELD", "k", "OVERFLOW", "FAIL", "INCRBY", "i64", 0, 1), array(NIL)),
    ),
    script(
        "ranges from far before to far after",
        (call("SET", "k", "hello"), OK),
        (call("GETRANGE", "k", I64_MIN, I64_MAX), bulk(b"hello")),
        (call("GETRANGE", "k", I64_MAX, I64_MIN), bulk(b"")),
        (call("GETRANGE", "k", "a", 1), NOT_INTEGER),
        (call("BITCOUNT", "k", I64_MIN, I64_MAX), integer(21)),
        (call("BITPOS", "k", 1, I64_MAX, I64_MIN), integer(-1)),
        (call("BITPOS", "k", 2), error("ERR The bit argument must be 1 or 0.")),
    ),
    script(
        "EXPIRE past the end of time",
        (call("SET", "k", "v"), OK),
        (call("EXPIRE", "k", I64_MAX), error("ERR invalid expire time in 'expire' command")),
        (call("EXPIRE", "k", I64_MIN), error("ERR invalid expire time in 'expire' command")),
        (call("PEXPIRE", "k", I64_MAX), error("ERR invalid expire time in 'pexpire' command")),
        (call("EXPIREAT", "k", I64_MAX), error("ERR invalid expire time in 'expireat' command")),
        (call("PEXPIREAT", "k", I64_MAX), integer(1)),
        (call("EXPIRE", "k", "soon"), NOT_INTEGER),
        (
            call("EXPIRE", "k", 10, "NX", "XX"),
            error("ERR NX and XX, GT or LT options at the same time are not compatible"),
        ),
        (call("EXPIRE", "k", 10, "GT", "LT"), error("ERR GT and LT options at the same time are not compatible")),
        (call("EXPIRE", "k", 10, "NOSUCH"), error("ERR Unsupported option NOSUCH")),
        (call("PEXPIRETIME", "k"), integer(9223372036854775807)),
    ),
    script(
        "PEXPIREAT at the end of time",
        (call("SET", "k", "v"), OK),
        (call("PEXPIREAT", "k", I64_MAX), integer(1)),
        (call("PEXPIRETIME", "k"), integer(9223372036854775807)),
        (call("PERSIST", "k"), integer(1)),
    ),
    script(
        "EXPIRE in the past deletes",
        (call("SET", "k", "v"), OK),
        (call("EXPIRE", "k", -1), integer(1)),
        (call("EXISTS", "k"), integer(0)),
        (call("SET", "k", "v"), OK),
        (call("PEXPIREAT", "k", I64_MIN), integer(1)),
        (call("EXISTS", "k"), integer(0)),
    ),
    script(
        "SET with impossible times",
        (call("SET", "k", "v", "EX", 0), error("ERR invalid expire time in 'set' command")),
        (call("SET", "k", "v", "EX", -1), error("ERR invalid expire time in 'set' command")),
        (call("SET", "k", "v", "PX", 0), error("ERR invalid expire time in 'set' command")),
        (call("SET", "k", "v", "EX", I64_MAX), error("ERR invalid expire time in 'set' command")),
        (call("SET", "k", "v", "PX", I64_MAX), error("ERR invalid expire time in 'set' command")),
        (call("SET", "k", "v", "EXAT", I64_MAX), error("ERR invalid expire time in 'set' command")),
        (call("SET", "k", "v", "EX", "a"), NOT_INTEGER),
        (call("SETEX", "k", 0, "v"), error("ERR invalid expire time in 'setex' command")),
        (call("PSETEX", "k", -1, "v"), error("ERR invalid expire time in 'psetex' command")),
        (call("SETEX", "k", I64_MAX, "v"), error("ERR invalid expire time in 'setex' command")),
        (call("EXISTS", "k"), integer(0)),
    ),
    script(
        "SET with options that exclude each other",
        (call("SET", "k", "v", "EX", 10, "PX", 10), SYNTAX),
        (call("SET", "k", "v", "NX", "XX"), SYNTAX),
        (call("SET", "k", "v", "KEEPTTL", "EX", 10), SYNTAX),
        (call("SET", "k", "v", "NOSUCH"), SYNTAX),
        (call("SET", "k", "v", "EX"), SYNTAX),
        (call("EXISTS", "k"), integer(0)),
    ),
    script(
        "GETEX with impossible times",
        (call("SET", "k", "v"), OK),
        (call("GETEX", "k", "EX", 0), error("ERR invalid expire time in 'getex' command")),
        (call("GETEX", "k", "PX", I64_MAX), error("ERR invalid expire time in 'getex' command")),
        (call("GETEX", "k", "EX", I64_MAX), error("ERR invalid expire time in 'getex' command")),
        (call("GETEX", "k", "EX", 10, "PERSIST"), SYNTAX),
        (call("GETEX", "none", "EX", 0), NIL, error("ERR invalid expire time in 'getex' command")),
        (call("TTL", "k"), integer(-1)),
    ),
    # Cursors, names, payloads and settings.
    script(
        "SCAN with impossible words",
        (call("SCAN", "a"), error("ERR invalid cursor")),
        (call("SCAN", -1), array(bulk(b"0"), array()), error("ERR invalid cursor")),
        (call("SCAN", "18446744073709551616"), error("ERR invalid cursor")),
        (call("SCAN", 0, "COUNT", 0), SYNTAX),
        (call("SCAN", 0, "COUNT", -5), SYNTAX),
        (call("SCAN", 0, "COUNT", "a"), NOT_INTEGER),
        (call("SCAN", 0, "MATCH"), SYNTAX),
        (call("SCAN", 0, "NOSUCH", "x"), SYNTAX),
        (call("SCAN", 0, "TYPE", "nosuch"), array(bulk(b"0"), array()), error("ERR unknown type name 'nosuch'")),
    ),
    script(
        "HSCAN with impossible words",
        (call("HSCAN", "h", "a"), error("ERR invalid cursor")),
        (call("HSCAN", "h", 0, "COUNT", 0), array(bulk(b"0"), array())),
        (call("HSCAN", "h", 0, "TYPE", "x"), array(bulk(b"0"), array())),
    ),
    script(
        "HRANDFIELD with impossible counts",
        (call("HSET", "h", "f", "v"), integer(1)),
        (call("HRANDFIELD", "h", I64_MIN), COUNT_RANGE),
        (call("HRANDFIELD", "h", I64_MIN, "WITHVALUES"), COUNT_RANGE),
        (call("HRANDFIELD", "h", 1 << 62, "WITHVALUES"), error("ERR value is out of range")),
        (call("HRANDFIELD", "h", "a"), NOT_INTEGER),
        (call("HRANDFIELD", "h", 1, "NOSUCH"), SYNTAX),
        (call("HRANDFIELD", "h", I64_MAX), array(bulk(b"f"))),
    ),
    script(
        "SELECT outside",
        (call("SELECT", 16), DB_INDEX),
        (call("SELECT", -1), DB_INDEX),
        (call("SELECT", "a"), NOT_INTEGER),
        (call("SELECT", 1 << 40), error("ERR value is out of range, value must between -2147483648 and 2147483647")),
        (call("MOVE", "k", 16), DB_INDEX),
        (call("MOVE", "k", 0), error("ERR source and destination objects are the same")),
        (call("SWAPDB", 0, 16), DB_INDEX),
        (call("SWAPDB", "a", 1), error("ERR invalid first DB index")),
        (call("COPY", "a", "b", "DB", 16), DB_INDEX),
    ),
    script(
        "keys that are not there",
        (call("RENAME", "none", "x"), error("ERR no such key")),
        (call("RENAMENX", "none", "x"), error("ERR no such key")),
        (call("COPY", "none", "x"), integer(0)),
        (call("OBJECT", "ENCODING", "none"), NIL),
        (call("DUMP", "none"), NIL),
        (call("RANDOMKEY"), NIL),
        (call("COPY", "a", "a"), error("ERR source and destination objects are the same")),
    ),
    script(
        "RESTORE of garbage",
        (call("RESTORE", "k", 0, "garbage"), BAD_DUMP),
        (call("RESTORE", "k", -1, "garbage"), error("ERR Invalid TTL value, must be >= 0")),
        (call("RESTORE", "k", "a", "garbage"), NOT_INTEGER),
        (call("RESTORE", "k", 0, ""), BAD_DUMP),
        (call("RESTORE", "k", 0, b"\xff" * 40), BAD_DUMP),
        (call("RESTORE", "k", 0, b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), OK, BAD_DUMP),
        (call("RESTORE", "k", 0, "x", "IDLETIME", -1), error("ERR Invalid IDLETIME value, must be >= 0")),
        (call("RESTORE", "k", 0, "x", "FREQ", 256), error("ERR Invalid FREQ value, must be >= 0 and <= 255")),
        (call("EXISTS", "k"), integer(1), integer(0)),
    ),
    script(
        "a pattern made to explode",
        (call("SET", "a" * 80, "v"), OK),
        (call("KEYS", "a*" * 40 + "b"), array()),
        (
            call("SCAN", 0, "MATCH", "*a" * 40 + "b", "COUNT", 10),
            array(bulk(b"0"), array()),
        ),
    ),
    script(
        "patterns without an end",
        (call("SET", "k", "v"), OK),
        (call("KEYS", "["), array()),
        (call("KEYS", "[k"), array(bulk(b"k"))),
        (call("KEYS", "\\"), array()),
        (call("KEYS", "[^"), array(bulk(b"k"))),
        (call("KEYS", "[a-"), array()),
        (call("KEYS", "[]"), array()),
        (call("KEYS", ""), array()),
    ),
    script(
        "names that would break CLIENT LIST",
        (call("CLIENT", "SETNAME", "a b"), BAD_NAME),
        (call("CLIENT", "SETNAME", "a\nb"), BAD_NAME),
        (call("CLIENT", "SETNAME", "\x7f"), BAD_NAME),
        (call("CLIENT", "GETNAME"), NIL),
    ),
    script(
        "CLIENT with impossible words",
        (call("CLIENT", "KILL", "ID", "a"), error("ERR client-id should be greater than 0")),
        (call("CLIENT", "KILL", "ID", 1, "ID"), SYNTAX),
        (call("CLIENT", "KILL", "ID", 0), error("ERR client-id should be greater than 0")),
        (call("CLIENT", "KILL", "NOSUCH", "x"), SYNTAX),
        (call("CLIENT", "KILL", "127.0.0.1:1"), error("ERR No such client")),
        (call("CLIENT", "PAUSE", "a"), error("ERR timeout is not an integer or out of range")),
        (call("CLIENT", "PAUSE", -1), error("ERR timeout is negative")),
        (call("CLIENT", "PAUSE", 10, "NOSUCH"), error("ERR CLIENT PAUSE mode must be WRITE or ALL")),
        (call("CLIENT", "REPLY", "NOSUCH"), SYNTAX),
        (call("CLIENT", "NO-EVICT", "x"), SYNTAX),
        (call("CLIENT", "LIST", "TYPE", "nosuch"), error("ERR Unknown client type 'nosuch'")),
        (call("CLIENT", "LIST", "ID", "a"), error("ERR Invalid client ID"), SYNTAX),
    ),
    script(
        "HELLO with impossible words",
        (call("HELLO", 1), error("NOPROTO unsupported protocol version")),
        (call("HELLO", 4), error("NOPROTO unsupported protocol version")),
        (call("HELLO", "a"), error("ERR Protocol version is not an integer or out of range")),
        (call("HELLO", 3, "NOSUCH"), error("ERR Syntax error in HELLO option 'NOSUCH'")),
        (call("HELLO", 2, "SETNAME"), error("ERR Syntax error in HELLO option 'SETNAME'")),
        (call("HELLO", 2, "AUTH", "default"), error("ERR Syntax error in HELLO option 'AUTH'")),
        (call("HELLO", 2, "SETNAME", "a b"), BAD_NAME),
    ),
    script(
        "AUTH that fails",
        (
            call("AUTH", "password"),
            error(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?"
            ),
        ),
        (call("AUTH", "nosuch", "password"), error("WRONGPASS invalid username-password pair or user is disabled.")),
        (call("AUTH", "a", "b", "c"), SYNTAX),
    ),
    script(
        "CONFIG with impossible words",
        (
            call("CONFIG", "SET", "nosuch", "1"),
            error("ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'"),
        ),
        (
            call("CONFIG", "SET", "maxmemory", "lots"),
            error("ERR CONFIG SET failed (possibly related to argument 'maxmemory') - argument must be a memory value"),
        ),
        (
            call("CONFIG", "SET", "maxmemory-policy", "nosuch"),
            error(
                "ERR CONFIG SET failed (possibly related to argument 'maxmemory-policy') - argument(s) must be one of the following: volatile-lru, volatile-lfu, volatile-random, volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, noeviction"
            ),
            error(
                "ERR CONFIG SET failed (possibly related to argument 'maxmemory-policy') - argument(s) must be one of the following: volatile-lru, volatile-lfu, volatile-random, volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, noeviction, spill"
            ),
        ),
        (
            call("CONFIG", "SET", "timeout", -1),
            error(
                "ERR CONFIG SET failed (possibly related to argument 'timeout') - argument must be between 0 and 2147483647 inclusive"
            ),
        ),
        (
            call("CONFIG", "SET", "maxmemory", "1", "maxmemory", "2"),
            error("ERR CONFIG SET failed (possibly related to argument 'maxmemory') - duplicate parameter"),
        ),
        (call("CONFIG", "SET", "maxmemory"), error("ERR wrong number of arguments for 'config|set' command")),
        (call("CONFIG", "GET", "nosuch"), array()),
    ),
    script(
        "LCS with both lengths and indexes",
        (
            call("LCS", "a", "b", "LEN", "IDX"),
            error("ERR If you want both the length and indexes, please just use IDX."),
        ),
        (call("LCS", "a", "b", "NOSUCH"), SYNTAX),
        (call("LCS", "a", "b", "MINMATCHLEN", "a"), NOT_INTEGER),
    ),
    script(
        "WAIT and OBJECT FREQ",
        (call("WAIT", "a", 0), NOT_INTEGER),
        (call("WAIT", 0, "a"), error("ERR timeout is not an integer or out of range")),
        (call("WAIT", 0, -1), error("ERR timeout is negative")),
        (call("SET", "k", "v"), OK),
        (
            call("OBJECT", "FREQ", "k"),
            error(
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust."
            ),
        ),
    ),
    script(
        "a key of one MiB",
        (call("SET", "k" * 1048576, "v"), OK),
        (call("EXISTS", "k" * 1048576), integer(1)),
        (call("DEL", "k" * 1048576), integer(1)),
    ),
    script(
        "a key of every byte",
        (call("SET", bytes(range(256)), "v"), OK),
        (call("GET", bytes(range(256))), bulk(b"v")),
    ),
    script(
        "a key of no bytes",
        (call("SET", "", "v"), OK),
        (call("GET", ""), bulk(b"v")),
        (call("HSET", "h", "", ""), integer(1)),
        (call("HGET", "h", ""), bulk(b"")),
        (call("DEL", ""), integer(1)),
    ),
)
