"""Large collections are shown in slices, and nobody can tell: neither who reads them, nor who looks at statistics and logs.

Writers move elements in pairs, each by MULTI and now and then, while others read the whole set, hash, list and sorted set:
every reply must have both elements of each pair or none, all the others once, and as many as its header says. Then what a
connection can be told, limited to or ended by half-way through such a reply.

What this deliberately is not: a measurement (`larder-bench pauses`), and a test of each way in which a key can change between
two slices, which `crates/commands/tests/slices.rs` is.

Prints a line per check that fails; exit status 1 if any fails.
"""

import contextlib
import json
import os
import random
import select
import sys
import threading
import time
import urllib.request

from resp import Closed, Connection, Refused, encode
from support import Server, attempt, free_port, parser

COUNT = 30_000
PAIRS = 64
READS_PER_KIND = 8
READERS = 2
# Longer than a reply takes to be written, now and then shorter.
WRITER_PAUSES = (0.0, 0.3)


def expect(got, wanted):
    """Fails unless they are equal."""
    if got != wanted:
        raise AssertionError(f"expected {wanted!r}, got {got!r}")


def name(number: int) -> str:
    return f"member:{number:024}"


def filled(connection, count=COUNT):
    """Makes one collection of each type, with the same elements."""
    for start in range(0, count, 1_000):
        names = [name(number) for number in range(start, start + 1_000)]
        connection.pipeline([
            ("SADD", "set", *names),
            ("HSET", "hash", *(word for one in names for word in (one, "v"))),
            ("RPUSH", "list", *names),
            ("ZADD", "zset", *(word for one in names for word in (0, one))),
        ])


def in_pairs(number: int) -> list[list[tuple[str, ...]]]:
    """The commands that put a pair into each collection, and those that take it out again."""
    left, right = f"pair:{number}:left", f"pair:{number}:right"
    return [
        [("SADD", "set", left), ("SADD", "set", right)],
        [("SREM", "set", left), ("SREM", "set", right)],
        [("HSET", "hash", left, "v"), ("HSET", "hash", right, "v")],
        [("HDEL", "hash", left), ("HDEL", "hash", right)],
        [("LPUSH", "list", left), ("RPUSH", "list", right)],
        [("LREM", "list", 1, left), ("LREM", "list", -1, right)],
        [("ZADD", "zset", -1, left), ("ZADD", "zset", 1, right)],
        [("ZREM", "zset", left), ("ZREM", "zset", right)],
    ]


def write_pairs(port: int, stopped: threading.Event, seed: int):
    """Puts pairs in and takes them out until told to stop."""
    chance, connection, number = random.Random(seed), Connection(port), seed
    while not stopped.is_set():
        number += 2
        for put, take in zip(*[iter(in_pairs(number % PAIRS))] * 2):
            for commands in (put, take):
                connection.pipeline([("MULTI",), *commands, ("EXEC",)])
                time.sleep(chance.uniform(*WRITER_PAUSES) * chance.random())


def ensure_one_moment(what, elements: list[bytes]):
    """Fails unless there is each element once, and of each pair both or none."""
    pairs = [element for element in elements if element.startswith(b"pair:")]
    expect((what, len(elements) - len(pairs), len(set(elements)) - len(elements)), (what, COUNT, 0))
    lefts = {pair.removesuffix(b":left") for pair in pairs if pair.endswith(b":left")}
    rights = {pair.removesuffix(b":right") for pair in pairs if pair.endswith(b":right")}
    expect((what, lefts ^ rights), (what, set()))


READS = [
    (("SMEMBERS", "set"), 1),
    (("HGETALL", "hash"), 2),
    (("HKEYS", "hash"), 1),
    (("LRANGE", "list", 0, -1), 1),
    (("ZRANGE", "zset", 0, -1), 1),
    (("ZREVRANGE", "zset", 0, -1, "WITHSCORES"), 2),
]


def read_over_http(port: int, path: str) -> list[bytes]:
    """The elements of a collection as the native API shows it."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as response:
        return [element.encode() for element in json.load(response)]


def every_reply_shows_one_moment(server, http_port):
    filled(Connection(server.port))
    stopped, failures = threading.Event(), []

    def read(seed):
        connection = Connection(server.port)
        try:
            for _ in range(READS_PER_KIND):
                for words, step in READS:
                    ensure_one_moment(words, connection.call(*words)[::step])
                ensure_one_moment("HTTP", read_over_http(http_port, "/v1/sets/set"))
                ensure_one_moment("HTTP", read_over_http(http_port, "/v1/hashes/hash"))
        except Exception as error:
            failures.append((seed, error))

    writers = [threading.Thread(target=write_pairs, args=(server.port, stopped, seed)) for seed in range(2)]
    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(READERS)]
    for thread in (*writers, *readers):
        thread.start()
    for thread in readers:
        thread.join()
    stopped.set()
    for thread in writers:
        thread.join()
    expect(failures, [])


def info(connection, section: str) -> dict[str, str]:
    lines = connection.call("INFO", section).decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def it_counts_and_is_shown_once(server, _http_port):
    connection, watcher = Connection(server.port), Connection(server.port)
    filled(connection)
    for words in (("CONFIG", "RESETSTAT"), ("CONFIG", "SET", "slowlog-log-slower-than", 0), ("SLOWLOG", "RESET")):
        connection.call(*words)
    expect(watcher.call("MONITOR"), b"OK")
    begun = time.monotonic()
    expect(len(connection.call("SMEMBERS", "set")), COUNT)
    micros = (time.monotonic() - begun) * 1e6
    connection.call("ECHO", "end")
    shown = []
    while not shown or b'"ECHO"' not in shown[-1]:
        shown.append(watcher.read())
    expect([b'"SMEMBERS"' in line for line in shown].count(True), 1)
    entries = [entry for entry in connection.call("SLOWLOG", "GET", 10) if entry[3][0] == b"SMEMBERS"]
    expect(len(entries), 1)
    # All its slices, but not what ran between them: reading a thousand members takes ten microseconds at the least.
    assert COUNT / 1_000 * 10 <= entries[0][2] <= micros, f"{entries[0][2]} of {micros} microseconds"
    stats = info(connection, "commandstats")["cmdstat_smembers"]
    assert stats.startswith("calls=1,") and stats.endswith("rejected_calls=0,failed_calls=0"), stats
    expect(info(connection, "stats")["keyspace_hits"], "1")


def what_comes_before_and_after_it_keeps_its_place(server, _http_port):
    connection = Connection(server.port)
    filled(connection)
    replies = connection.pipeline([("PING",), ("SMEMBERS", "set"), ("ECHO", "a"), ("HGETALL", "hash"), ("LLEN", "list")])
    expect([reply if isinstance(reply, (bytes, int)) else len(reply) for reply in replies],
           [b"PONG", COUNT, b"a", 2 * COUNT, COUNT])
    connection.pipeline([("MULTI",), ("SMEMBERS", "set"), ("SREM", "set", name(1)), ("SMEMBERS", "set")])
    expect([one if isinstance(one, int) else len(one) for one in connection.call("EXEC")], [COUNT, 1, COUNT - 1])
    expect(len(connection.call("EVAL", "return redis.call('SMEMBERS', KEYS[1])", 1, "set")), COUNT - 1)
    # Nothing of a reply that nobody wants goes out.
    for words in (("CLIENT", "REPLY", "OFF"), ("SMEMBERS", "set"), ("CLIENT", "REPLY", "ON")):
        connection.send(encode(*words))
    expect(connection.read(), b"OK")
    connection.send(encode("CLIENT", "REPLY", "SKIP") + encode("HGETALL", "hash") + encode("ECHO", "b"))
    expect(connection.read(), b"b")


def types_of_resp3_are_said_first(server, _http_port):
    filled(Connection(server.port))
    for words, header in (
        (("SMEMBERS", "set"), b"~%d" % COUNT),
        (("HGETALL", "hash"), b"%%%d" % COUNT),
        (("HVALS", "hash"), b"*%d" % COUNT),
        (("ZRANGE", "zset", 0, -1, "WITHSCORES"), b"*%d" % COUNT),
    ):
        connection = Connection(server.port)
        connection.send(encode("HELLO", 3) + encode("ECHO", "begin") + encode(*words) + encode("ECHO", "end"))
        while not connection.pending.endswith(b"$3\r\nend\r\n"):
            connection._fill()
        whole = bytes(connection.pending)
        expect(whole[whole.index(b"$5\r\nbegin\r\n") + 11:].split(b"\r\n", 1)[0], header)


def who_caches_it_is_told_when_it_changes(server, _http_port):
    connection, told, writer = (Connection(server.port) for _ in range(3))
    filled(writer)
    told_id = told.call("CLIENT", "ID")
    told.call("SUBSCRIBE", "__redis__:invalidate")
    expect(connection.call("CLIENT", "TRACKING", "ON", "REDIRECT", told_id), b"OK")
    for number in range(5):
        expect(len(connection.call("SMEMBERS", "set")), COUNT + number)
        writer.call("SADD", "set", f"more:{number}")
        expect(told.read(), [b"message", b"__redis__:invalidate", [b"set"]])


def a_client_beyond_its_limit_is_ended(server, _http_port):
    connection, other = Connection(server.port), Connection(server.port)
    filled(other)
    other.call("CONFIG", "SET", "client-output-buffer-limit", "normal 500000 0 0")
    connection.send(encode("SMEMBERS", "set"))
    with contextlib.suppress(Closed):
        raise AssertionError(f"it was answered: {len(connection.read())}")
    expect(info(other, "stats")["client_output_buffer_limit_disconnections"], "1")


def a_client_that_goes_or_is_ended_half_way_leaves_nothing_behind(server, _http_port):
    other = Connection(server.port)
    filled(other)
    for number in range(60):
        connection = Connection(server.port)
        client_id = connection.call("CLIENT", "ID")
        connection.send(encode("SMEMBERS", "set") + encode("HGETALL", "hash"))
        time.sleep(number % 10 / 1_000)
        if number % 2 == 0:
            connection.close()
        else:
            other.call("CLIENT", "KILL", "ID", client_id)
            with contextlib.suppress(Closed):
                while True:
                    connection._fill()
    deadline = time.monotonic() + 30
    while info(other, "clients")["connected_clients"] != "1" and time.monotonic() < deadline:
        time.sleep(0.05)
    expect(info(other, "clients")["connected_clients"], "1")
    expect((len(other.call("SMEMBERS", "set")), other.call("SADD", "set", "x")), (COUNT, 1))


def others_are_answered_before_it_is(server, _http_port):
    connection, other = Connection(server.port), Connection(server.port)
    filled(other, 4 * COUNT)
    for _ in range(50):
        connection.send(encode("SMEMBERS", "set"))
        time.sleep(0.003)
        other.send(encode("PING"))
        readable, _, _ = select.select([connection.socket, other.socket], [], [])
        expect((len(connection.read()), other.read()), (4 * COUNT, b"PONG"))
        if readable == [other.socket]:
            return
    raise AssertionError("nobody was answered before a reply that takes many slices")


def what_does_not_fit_into_memory_is_answered(server, _http_port):
    connection, other = Connection(server.port), Connection(server.port)
    filled(connection, 4 * COUNT)
    expect(other.call("CONFIG", "SET", "maxmemory", "1mb"), b"OK")
    for words, step in READS:
        expect((words, len(connection.call(*words)) // step), (words, 4 * COUNT))


def a_slow_script_is_said_to_be_in_the_way(server, _http_port):
    connection, slow, other = (Connection(server.port) for _ in range(3))
    filled(connection)
    connection.call("CONFIG", "SET", "busy-reply-threshold", 20)
    slow.send(encode("EVAL", "while true do redis.call('SCARD', KEYS[1]) end", 1, "set"))
    answers = []
    for _ in range(40):
        reply = connection.call("SMEMBERS", "set")
        answers.append("BUSY" if isinstance(reply, Refused) and reply.args[0].startswith("BUSY") else len(reply))
        if answers[-1] == "BUSY":
            break
    expect(answers[-1], "BUSY")
    expect(set(answers[:-1]) - {COUNT}, set())
    expect(other.call("SCRIPT", "KILL"), b"OK")
    expect((type(slow.read()), len(connection.call("SMEMBERS", "set"))), (Refused, COUNT))


CHECKS = [
    every_reply_shows_one_moment,
    it_counts_and_is_shown_once,
    what_comes_before_and_after_it_keeps_its_place,
    types_of_resp3_are_said_first,
    who_caches_it_is_told_when_it_changes,
    a_client_beyond_its_limit_is_ended,
    a_client_that_goes_or_is_ended_half_way_leaves_nothing_behind,
    others_are_answered_before_it_is,
    what_does_not_fit_into_memory_is_answered,
    a_slow_script_is_said_to_be_in_the_way,
]


# With one, whoever is answered meanwhile is answered between two slices.
OF_ONE_WORKER = {others_are_answered_before_it_is}


def main() -> int:
    options, failed = parser(__doc__).parse_args(), 0
    for check in CHECKS:
        port = free_port()
        if check in OF_ONE_WORKER:
            os.environ["TOKIO_WORKER_THREADS"] = "1"
        else:
            os.environ.pop("TOKIO_WORKER_THREADS", None)
        with Server(options.server_command.replace("--http-port 0", f"--http-port {port}")) as server:
            server.start()
            failed += not attempt(check, server, port)
    print(f"{len(CHECKS) - failed} of {len(CHECKS)} checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
