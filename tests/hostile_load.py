"""Hostile load: many connections, readers that do not read, commands that never end. The server must bound what each
costs it, go on serving others, and take its resources back.

What this deliberately is not: a benchmark; no check has a time limit. Limits are set through CONFIG SET, as an operator
would, and put back. A server that never lets go makes the check wait forever, which is the finding.
"""

import contextlib
import resource
import time

from resp import Closed, Connection, Refused, encode

IDLE_CONNECTIONS = 10_000
FILES_SPARE = 300
IDLE_CONNECTION_BYTES_MAX = 32 << 10
ANNOUNCERS = 50
ANNOUNCED_BYTES_MAX = 64 << 20
HALVES = 2_000
REPLY_BYTES = 100_000
REPLIES_ASKED = 10_000
UNREAD_BYTES_MAX = 128 << 20
HANDED_OVER = 50
HANDED_OVER_BYTES = 400_000


class Broken(Exception):
    """What the server should have done, and what it did."""


def demand(holds: bool, rule: str):
    """`rule` says what must be true."""
    if not holds:
        raise Broken(rule)


def info(connection, field: str) -> int:
    """A number from INFO."""
    for line in connection.call("INFO").decode().splitlines():
        if line.startswith(field + ":"):
            return int(line.split(":")[1])
    raise Broken(f"INFO must have the field {field}")


def wait_for_clients(connection, count: int):
    """Returns when the server counts `count` clients, the asking one included."""
    while info(connection, "connected_clients") != count:
        time.sleep(0.01)


def read_to_end(connection) -> int:
    """Reads until the server closes; returns how many bytes came."""
    received_bytes = len(connection.pending)
    connection.pending.clear()
    with contextlib.suppress(Closed):
        while True:
            connection._fill()
            received_bytes += len(connection.pending)
            connection.pending.clear()
    return received_bytes


def idle_connections(server, control):
    """10,000 connections that say nothing cost little, and the next client is served."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    demand(IDLE_CONNECTIONS + FILES_SPARE <= hard, f"this check needs `ulimit -Hn` of {IDLE_CONNECTIONS + FILES_SPARE}")
    demand(control.call("CONFIG", "SET", "maxclients", IDLE_CONNECTIONS + 100) == b"OK", "maxclients can be raised")
    before_bytes = server.rss_bytes()
    crowd = [Connection(server.port) for _ in range(IDLE_CONNECTIONS)]
    wait_for_clients(control, IDLE_CONNECTIONS + 1)
    each_bytes = (server.rss_bytes() - before_bytes) // IDLE_CONNECTIONS
    demand(each_bytes <= IDLE_CONNECTION_BYTES_MAX, f"an idle connection may not cost {each_bytes} bytes")
    demand([one.call("PING") for one in crowd[::100]] == [b"PONG"] * 100, "idle connections wake up")
    for one in crowd:
        one.close()
    wait_for_clients(control, 1)
    return f"{each_bytes} bytes each"


def one_client_too_many(server, control):
    """Past maxclients a connection is told so and closed; the others stay."""
    was = control.call("CONFIG", "GET", "maxclients")[1]
    control.call("CONFIG", "SET", "maxclients", 10)
    crowd = [Connection(server.port) for _ in range(9)]
    demand([one.call("PING") for one in crowd] == [b"PONG"] * 9, "clients up to the limit are served")
    late = Connection(server.port)
    demand(late.read() == Refused("ERR max number of clients reached"), "a client past the limit is told so")
    demand(read_to_end(late) == 0, "a client past the limit is closed")
    demand([one.call("PING") for one in crowd] == [b"PONG"] * 9, "clients up to the limit stay")
    control.call("CONFIG", "SET", "maxclients", was)
    for one in crowd:
        one.close()
    wait_for_clients(control, 1)


def announcements(server, control):
    """Counts and lengths that are only announced take no memory."""
    before_bytes = server.rss_bytes()
    crowd = [Connection(server.port) for _ in range(ANNOUNCERS)]
    for one in crowd:
        one.send(b"*2147483647\r\n$3\r\nSET\r\n$536870912\r\nabc")
    wait_for_clients(control, ANNOUNCERS + 1)
    grown_bytes = server.rss_bytes() - before_bytes
    demand(grown_bytes <= ANNOUNCED_BYTES_MAX, f"announcements may not cost {grown_bytes} bytes")
    for one in crowd:
        one.close()
    wait_for_clients(control, 1)
    return f"{grown_bytes >> 10} KiB for {ANNOUNCERS}"


def half_commands(server, control):
    """Connections that break inside a command leave nothing behind."""
    half = encode("SET", "half", "x" * 1000)[:-500]
    for index in range(HALVES):
        one = Connection(server.port)
        one.send(half[: 1 + index % len(half)])
        one.close()
    wait_for_clients(control, 1)
    demand(control.call("EXISTS", "half") == 0, "half a command is not run")


def byte_by_byte(server, _control):
    """A command that comes in one byte at a time is one command."""
    one = Connection(server.port)
    for byte in encode("SET", "drop", "by\r\ndrop") + b"GET drop\r\n":
        one.send(bytes([byte]))
    demand([one.read(), one.read()] == [b"OK", b"by\r\ndrop"], "bytes one at a time make the same commands")
    one.close()


def slow_reader(server, control):
    """A client that asks for much and reads nothing costs bounded memory, and nobody else notices."""
    control.call("SET", "big", "x" * REPLY_BYTES)
    before_bytes = server.rss_bytes()
    slow = Connection(server.port)
    slow.send(encode("GET", "big") * REPLIES_ASKED)
    for _ in range(1000):
        demand(control.call("SET", "other", "v") == b"OK", "others are served as ever")
    grown_bytes = server.rss_bytes() - before_bytes
    demand(grown_bytes <= UNREAD_BYTES_MAX, f"an unread output may not cost {grown_bytes} bytes")
    slow.close()
    return f"{grown_bytes >> 10} KiB grown"


def slow_monitor(server, control):
    """A monitor that does not read is closed at its output limit; whose commands it was to see notices nothing."""
    limits = control.call("CONFIG", "GET", "client-output-buffer-limit")[1]
    control.call("CONFIG", "SET", "client-output-buffer-limit", "normal 1mb 0 0")
    before_bytes = server.rss_bytes()
    slow = Connection(server.port)
    demand(slow.call("MONITOR") == b"OK", "MONITOR must be answered before anything is shown")
    shown_count = 0
    while info(control, "connected_clients") > 1:
        demand(control.call("SET", "big", "x" * REPLY_BYTES) == b"OK", "commands that are watched run as ever")
        shown_count += 1
    grown_bytes = server.rss_bytes() - before_bytes
    demand(grown_bytes <= UNREAD_BYTES_MAX, f"an unread monitor may not cost {grown_bytes} bytes")
    received_bytes = read_to_end(slow)
    demand(received_bytes < shown_count * REPLY_BYTES, "a monitor past its output limit does not get all there was")
    control.call("CONFIG", "SET", "client-output-buffer-limit", limits)
    return f"closed after {shown_count} commands"


def asker_that_leaves(server, control):
    """Clients that ask for much and leave without reading do not disturb others."""
    control.call("SET", "big", "x" * REPLY_BYTES)
    for _ in range(50):
        one = Connection(server.port)
        one.send(encode("GET", "big") * 100)
        one.close()
    wait_for_clients(control, 1)
    demand(control.call("STRLEN", "big") == REPLY_BYTES, "the value others asked for is whole")


def endless_command(server, control):
    """A command that grows past the query buffer's limit is cut off."""
    was = control.call("CONFIG", "GET", "client-query-buffer-limit")[1]
    control.call("CONFIG", "SET", "client-query-buffer-limit", "1mb")
    one = Connection(server.port)
    with contextlib.suppress(Closed):
        one.send(b"*2\r\n$3\r\nGET\r\n$10000000\r\n" + b"x" * 4_000_000)
    read_to_end(one)
    wait_for_clients(control, 1)
    control.call("CONFIG", "SET", "client-query-buffer-limit", was)


def idle_timeout(server, control):
    """With `timeout` set, a silent client is closed and a busy one is not."""
    control.call("CONFIG", "SET", "timeout", 1)
    silent = Connection(server.port)
    demand(silent.call("PING") == b"PONG", "the silent client is there, before anybody waits for it to go")
    wait_for_clients(control, 1)
    control.call("CONFIG", "SET", "timeout", 0)
    demand(read_to_end(silent) == 0, "a client closed for idling is told nothing")


def handed_over(server, control):
    """What goes straight to a client that waits for it leaves no memory in use for which others would be refused."""
    policy = control.call("CONFIG", "GET", "maxmemory-policy")[1]
    spare_bytes = HANDED_OVER_BYTES // 2
    limit_bytes = info(control, "used_memory") + spare_bytes
    control.call("CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", limit_bytes)
    waiter = Connection(server.port)
    refused_count = 0
    for number in range(HANDED_OVER):
        waiter.send(encode("BLPOP", "queue", 0))
        while info(control, "blocked_clients") != 1:
            time.sleep(0.001)
        demand(control.call("LPUSH", "queue", "x" * HANDED_OVER_BYTES) == 1, "the element is pushed")
        # Memory may have been looked at just between push and pop, but seldom.
        refused_count += control.call("SET", "small", number) != b"OK"
        demand(len(waiter.read()[1]) == HANDED_OVER_BYTES, "who waited has the element, whole")
    waiter.close()
    control.call("CONFIG", "SET", "maxmemory", 0, "maxmemory-policy", policy)
    demand(refused_count <= HANDED_OVER // 10, f"{refused_count} of {HANDED_OVER} writes were refused for what had gone")


LOADS = (
    idle_connections, one_client_too_many, announcements, half_commands, byte_by_byte, slow_reader, slow_monitor,
    asker_that_leaves, endless_command, idle_timeout, handed_over,
)  # fmt: skip
