"""redis-py used as an application would: sync, asyncio, RESP2 and RESP3. Every command of strings, bitmaps, hashes,
keys, connection and server that redis-py has a method for, through that method, so that its reply parsers run too.

What this deliberately is not: a test of each option of each command; the golden tests of `commands` hold those.
"""

import asyncio
import concurrent.futures
import itertools
import threading
import time

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

FAR_FUTURE_S = 4_000_000_000


class Mismatch(Exception):
    """What was expected, and what came."""


def expect(got, want):
    """Refuses anything but `want`."""
    if got != want:
        raise Mismatch(f"expected {want!r}, got {got!r}")


def demand(holds: bool, rule: str):
    """Refuses what does not hold."""
    if not holds:
        raise Mismatch(rule)


def refused(call, *words, error: str):
    """The call must be answered with an error that starts with `error`."""
    try:
        got = call(*words)
    except redis.RedisError as refusal:
        if not str(refusal).startswith(error):
            raise Mismatch(f"expected the error {error!r}, got {refusal!r}") from refusal
        return
    raise Mismatch(f"expected the error {error!r}, got {got!r}")


def client(port: int, **options) -> redis.Redis:
    """A client that does not hide a broken connection by trying again."""
    return redis.Redis(port=port, retry=Retry(NoBackoff(), 0), **{"decode_responses": True} | options)


def strings(r):
    expect(r.set("s", "one", ex=100), True)
    expect(r.set("s", "two", nx=True), None)
    expect(r.set("s", "two", xx=True, get=True, keepttl=True), "one")
    expect(90 < r.ttl("s") <= 100, True)
    expect(r.getex("s", persist=True), "two")
    expect(r.ttl("s"), -1)
    expect(r.getdel("s"), "two")
    expect(r.get("s"), None)
    expect(r.mset({"a": "1", "b": "2", "{x}c": "3"}), True)
    expect(r.mget("a", "none", "b", "{x}c"), ["1", None, "2", "3"])
    expect(r.msetnx({"a": "0", "new": "0"}), False)
    expect(r.exists("new"), 0)
    expect([r.incr("a", 10), r.decr("b", 5), r.incrbyfloat("f", 1.5)], [11, -3, 1.5])
    expect([r.append("t", "Hello"), r.append("t", " World")], [5, 11])
    expect([r.strlen("t"), r.getrange("t", -5, -1), r.setrange("t", 6, "Redis")], [11, "World", 11])
    expect(r.get("t"), "Hello Redis")
    expect([r.setnx("t", "x"), r.getset("t", "y")], [False, "Hello Redis"])
    r.mset({"l1": "ohmytext", "l2": "mynewtext"})
    expect(r.lcs("l1", "l2"), "mytext")
    expect(r.lcs("l1", "l2", len=True), 6)
    refused(r.incr, "t", error="value is not an integer or out of range")


def binary(r):
    raw = client(r.connection_pool.connection_kwargs["port"], decode_responses=False)
    every_byte = bytes(range(256)) * 300
    expect(raw.set(b"\x00\r\n\xff", every_byte), True)
    expect(raw.get(b"\x00\r\n\xff"), every_byte)
    expect(list(raw.scan_iter(match=b"\x00*")), [b"\x00\r\n\xff"])
    dumped = raw.dump(b"\x00\r\n\xff")
    expect(raw.restore("copy", 0, dumped), b"OK")
    expect(raw.get("copy"), every_byte)
    big = b"larder" * 500_000
    expect([raw.set("big", big), raw.strlen("big"), raw.get("big") == big], [True, len(big), True])


def bitmaps(r):
    expect([r.setbit("bits", 7, 1), r.setbit("bits", 7, 1), r.getbit("bits", 7), r.getbit("bits", 100)], [0, 1, 1, 0])
    r.set("x", "foobar")
    expect([r.bitcount("x"), r.bitcount("x", 1, 1), r.bitcount("x", 5, 30, "BIT")], [26, 6, 17])
    expect([r.bitpos("x", 1), r.bitpos("x", 0), r.bitpos("x", 1, 2, -1, "BYTE")], [1, 0, 17])
    r.set("y", "abcdef")
    expect(r.bitop("AND", "z", "x", "y"), 6)
    expect(r.get("z"), "`bc`ab")
    field = (
        r.bitfield("bf").incrby("i5", 100, 1).get("u4", 0).set("u8", "#1", 255).overflow("FAIL").incrby("u8", "#1", 1)
    )
    expect(field.execute(), [1, 0, 0, None])
    expect(r.bitfield_ro("bf", "u8", "#1"), [255])


def hashes(r):
    expect(r.hset("h", mapping={"f1": "v1", "f2": "v2", "n": "5"}), 3)
    expect(r.hgetall("h"), {"f1": "v1", "f2": "v2", "n": "5"})
    expect([r.hget("h", "f1"), r.hget("h", "no"), r.hmget("h", "f1", "no")], ["v1", None, ["v1", None]])
    expect([r.hincrby("h", "n", 2), r.hincrbyfloat("h", "n", 0.5)], [7, 7.5])
    expect([r.hexists("h", "f1"), r.hlen("h"), r.hstrlen("h", "f2")], [True, 3, 2])
    expect([sorted(r.hkeys("h")), sorted(r.hvals("h"))], [["f1", "f2", "n"], ["7.5", "v1", "v2"]])
    expect([r.hsetnx("h", "f1", "x"), r.hdel("h", "f1", "no")], [0, 1])
    expect(set(r.hrandfield("h", 2)), {"f2", "n"})
    expect(sorted(map(tuple, zip(*[iter(flat(r.hrandfield("h", 5, withvalues=True)))] * 2, strict=True))),
           [("f2", "v2"), ("n", "7.5")])  # fmt: skip
    wide = {f"field:{index}": str(index) for index in range(2000)}
    r.hset("wide", mapping=wide)
    expect(dict(r.hscan_iter("wide", count=100)), wide)
    expect(r.type("h"), "hash")
    refused(r.get, "h", error="WRONGTYPE Operation against a key holding the wrong kind of value")


def flat(reply) -> list:
    """RESP3 answers pairs, RESP2 one list."""
    return [word for item in reply for word in (item if isinstance(item, list) else [item])]


def hash_expiry(r):
    r.hset("h", mapping={"a": "1", "b": "2", "c": "3"})
    expect(r.hexpire("h", 100, "a", "no"), [1, -2])
    expect([0 < r.httl("h", "a")[0] <= 100, r.httl("h", "b", "no")], [True, [-1, -2]])
    expect(r.hexpireat("h", FAR_FUTURE_S, "b"), [1])
    expect([r.hexpiretime("h", "b"), r.hpexpiretime("h", "b")], [[FAR_FUTURE_S], [FAR_FUTURE_S * 1000]])
    expect(r.hpersist("h", "a", "c"), [1, -1])
    expect(r.hpexpire("h", 1, "c"), [1])
    time.sleep(0.005)
    expect([r.hget("h", "c"), r.hgetall("h")], [None, {"a": "1", "b": "2"}])
    expect(r.hgetex("h", "a", ex=50), ["1"])
    expect(r.hsetex("h", mapping={"d": "4"}, ex=60), 1)
    expect([0 < r.httl("h", "a")[0] <= 50, 50 < r.httl("h", "d")[0] <= 60], [True, True])


def keys(r):
    r.mset({f"key:{index}": str(index) for index in range(500)})
    r.hset("hash", "f", "v")
    expect(r.dbsize(), 501)
    expect(len(set(r.scan_iter(match="key:*", count=50))), 500)
    expect(list(r.scan_iter(_type="hash")), ["hash"])
    expect(sorted(r.keys("key:1?")), [f"key:1{digit}" for digit in range(10)])
    expect(r.randomkey() in set(r.keys()), True)
    expect([r.rename("key:0", "moved"), r.renamenx("moved", "key:1"), r.copy("moved", "copied")], [True, False, True])
    expect([r.get("copied"), r.exists("moved", "copied", "none"), r.touch("moved", "none")], ["0", 2, 1])
    expect([r.delete("moved", "none"), r.unlink("copied")], [1, 1])
    expect(
        [r.expire("key:2", 100), r.expire("key:2", 50, gt=True), r.expire("key:2", 50, lt=True)], [True, False, True]
    )
    expect([r.expireat("key:3", FAR_FUTURE_S), r.expiretime("key:3")], [True, FAR_FUTURE_S])
    expect([r.pexpireat("key:3", FAR_FUTURE_S * 1000 + 7), r.pexpiretime("key:3")], [True, FAR_FUTURE_S * 1000 + 7])
    expect([r.persist("key:3"), r.ttl("key:3"), r.pttl("none")], [True, -1, -2])
    expect([r.pexpire("key:4", 1), time.sleep(0.01), r.exists("key:4")], [True, None, 0])
    expect([r.object("encoding", "key:5"), r.object("refcount", "key:5")][0], "int")
    expect(r.memory_usage("key:5") > 0, True)
    expect([r.move("key:5", 3), r.exists("key:5")], [True, 0])
    other = client(r.connection_pool.connection_kwargs["port"], db=3)
    expect([other.get("key:5"), r.swapdb(0, 3), r.get("key:5"), r.dbsize()], ["5", True, "5", 1])
    expect([r.flushdb(), other.dbsize() > 490, r.flushall(), other.dbsize()], [True, True, True, 0])


def connection(r):
    port = r.connection_pool.connection_kwargs["port"]
    expect([r.ping(), r.echo("hello")], [True, "hello"])
    with client(port, client_name="tester", single_connection_client=True) as named:
        expect(named.client_getname(), "tester")
        own_id = named.client_id()
        expect(named.client_info()["name"], "tester")
        listed = {entry["id"]: entry for entry in r.client_list()}
        expect([listed[str(own_id)]["name"], listed[str(own_id)]["db"]], ["tester", "0"])
        expect(r.client_kill_filter(_id=str(own_id)), 1)
        try:
            named.ping()
        except redis.ConnectionError:
            pass
        else:
            raise Mismatch("a killed client was answered")
    expect([r.client_pause(20), r.client_unpause()], [True, "OK"])
    expect(r.client_no_evict("ON"), "OK")
    pipeline = r.pipeline(transaction=False)
    for index in range(10_000):
        pipeline.set(f"p:{index}", index)
    expect(pipeline.execute(), [True] * 10_000)


def transactions(r):
    port = r.connection_pool.connection_kwargs["port"]
    with r.pipeline(transaction=True) as pipeline:
        expect(pipeline.set("a", 1).incr("a").hset("h", "f", "v").get("a").execute(), [True, 2, 1, "2"])
        pipeline.set("text", "x").incr("text").set("after", 1)
        try:
            pipeline.execute()
            raise Mismatch("INCR of a text was not refused")
        except redis.ResponseError as refusal:
            expect("value is not an integer" in str(refusal), True)
    expect(r.get("after"), "1")
    with r.pipeline(transaction=True) as pipeline:
        # Each of these looks at partitions, one of which this transaction holds.
        pipeline.set("a", 1).config_set("maxmemory", "1gb").info().memory_stats().config_resetstat()
        expect([type(reply).__name__ for reply in pipeline.config_set("maxmemory", 0).execute()],
               ["bool", "bool", "dict", "dict", "bool", "bool"])
    with r.pipeline() as pipeline:
        pipeline.watch("a")
        r.set("a", 10)
        pipeline.multi()
        pipeline.set("a", 0)
        try:
            pipeline.execute()
            raise Mismatch("EXEC ran although the watched key had changed")
        except redis.WatchError:
            pass
        pipeline.watch("a")
        pipeline.unwatch()
        expect(pipeline.set("b", 1).execute(), [True])
    expect(r.get("a"), "10")

    def add_one(pipeline):
        was = int(pipeline.get("a"))
        pipeline.multi()
        pipeline.set("a", was + 1)

    expect(r.transaction(add_one, "a"), [True])
    raced(port)


def transactions_seen(r):
    """What the others see of a transaction: CLIENT LIST, INFO, SLOWLOG and MONITOR."""
    port = r.connection_pool.connection_kwargs["port"]
    one = client(port, single_connection_client=True)
    own_id = one.client_id()

    def entry():
        return next(entry for entry in r.client_list() if entry["id"] == str(own_id))

    def errors():
        return r.info("errorstats").get("errorstat_ERR", {"count": 0})["count"]

    expect([entry()["multi"], entry()["watch"], "x" in entry()["flags"]], ["-1", "0", False])
    one.execute_command("WATCH", "k", "l", "k")
    expect([entry()["multi"], entry()["watch"], r.info("clients")["watching_clients"]], ["-1", "2", 1])
    r.config_resetstat()
    r.slowlog_reset()
    r.config_set("slowlog-log-slower-than", 0)
    with r.monitor() as monitor:
        for words in ("MULTI",), ("SET", "k", "v"), ("INCR", "k"):
            one.execute_command(*words)
        expect([entry()["multi"], int(entry()["multi-mem"]) > 0, "x" in entry()["flags"]], ["2", True, True])
        expect("cmdstat_set" in r.info("commandstats"), False)
        # Over RESP3 redis-py asks each server it connects to for what only newer ones know: errors as well.
        errors_before = errors()
        replies = one.execute_command("EXEC")
        errors_of_exec = errors() - errors_before
        one.set("end", 1)
        wanted = ("MULTI", "SET k v", "INCR k", "EXEC", "SET end 1")
        shown = (shown["command"] for shown in monitor.listen())
        until_end = itertools.takewhile(lambda text: text != wanted[-1], filter(wanted.__contains__, shown))
        expect(tuple(until_end), wanted[:-1])
    r.config_set("slowlog-log-slower-than", 10_000)
    expect([str(replies[0]), "not an integer" in str(replies[1])], ["OK", True])
    logged = [bytes(entry["command"]).decode() for entry in r.slowlog_get(100)]
    expect(["SET k v" in logged, "MULTI" in logged, "EXEC" in logged], [True, True, False])
    stats = r.info("commandstats")
    expect([stats["cmdstat_incr"]["failed_calls"], stats["cmdstat_exec"]["calls"]], [1, 1])
    expect(errors_of_exec, 1)
    expect([entry()["multi"], entry()["watch"], r.info("clients")["watching_clients"]], ["-1", "0", 0])


def raced(port: int):
    """Several threads add to one number, each by reading, adding and writing under WATCH."""

    def work():
        own = client(port)
        for _ in range(50):
            own.transaction(step, "raced", "{other}raced")

    def step(pipeline):
        was = int(pipeline.get("raced") or 0)
        pipeline.multi()
        pipeline.set("raced", was + 1).incr("{other}raced")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(client(port).mget("raced", "{other}raced"), ["200", "200"])


def no_touch(r):
    expect([r.client_no_touch("ON"), r.client_no_touch("OFF")], ["OK", "OK"])


def password(r):
    port = r.connection_pool.connection_kwargs["port"]
    r.config_set("requirepass", "secret")
    try:
        refused(client(port, protocol=2).ping, error="Authentication required")
        refused(client(port, protocol=3).ping, error="HELLO must be called with the client already authenticated")
        for protocol in 2, 3:
            wrong = client(port, password="wrong", protocol=protocol)
            refused(wrong.ping, error="invalid username-password pair or user is disabled.")
        expect(client(port, password="secret").ping(), True)
        expect(client(port, username="default", password="secret").ping(), True)
    finally:
        client(port, password="secret").config_set("requirepass", "")


def users(r):
    port = r.connection_pool.connection_kwargs["port"]
    name = "clients-bob"
    expect(r.acl_whoami(), "default")
    expect(r.acl_setuser(name, enabled=True, passwords=["+secret"], keys=["cache:*"], channels=["news"],
                         commands=["+get", "+set", "+multi", "+exec", "+eval", "+publish", "+@connection"]), True)  # fmt: skip
    try:
        rules = r.acl_getuser(name)
        expect([rules["enabled"], rules["keys"], rules["channels"]], [True, ["~cache:*"], ["&news"]])
        expect(rules["commands"][:2], ["+get", "+set"])
        expect(any(line.startswith(f"user {name} on #") for line in r.acl_list()), True)
        expect(name in r.acl_users(), True)
        for protocol in 2, 3:
            bob = client(port, username=name, password="secret", protocol=protocol)
            expect([bob.set("cache:1", "v"), bob.get("cache:1"), bob.publish("news", "m")], [True, "v", 0])
            for call, *words in (bob.get, "other"), (bob.delete, "cache:1"), (bob.publish, "weather", "m"):
                try:
                    call(*words)
                    raise Mismatch(f"{words} should not be permitted")
                except redis.exceptions.NoPermissionError:
                    pass
            refused(bob.eval, "return redis.call('get', 'other')", 0, error="ACL failure in script")
            expect(bob.pipeline(transaction=True).get("cache:1").execute(), ["v"])
        entry = r.acl_log(1)[0]
        expect([entry[field] for field in ("username", "context", "reason", "object")], [name, "lua", "key", "other"])
        expect(name in str(entry["client-info"]), True)
        expect("get" in r.acl_cat("string"), True)
        expect(len(r.acl_genpass(128)), 32)
        expect(r.acl_dryrun(name, "get", "cache:1"), "OK")
        expect(r.acl_log_reset(), True)
    finally:
        expect(r.acl_deluser(name), 1)
    refused(client(port, username=name, password="secret").ping, error="invalid username-password pair")


def server(r):
    info = r.info()
    for name in ("redis_version", "uptime_in_seconds", "connected_clients", "used_memory", "total_commands_processed",
                 "tcp_port", "process_id", "role", "loading", "expired_keys", "maxmemory_policy"):  # fmt: skip
        expect(name in info, True)
    r.set("k", "v", ex=100)
    expect([r.info("keyspace")["db0"]["keys"], r.info("keyspace")["db0"]["expires"]], [1, 1])
    r.config_resetstat()
    expect("cmdstat_set" in r.info("commandstats"), False)
    was = r.config_get("maxmemory-policy")["maxmemory-policy"]
    expect(r.config_set("maxmemory-policy", "allkeys-lru"), True)
    expect(r.config_get("maxmemory*")["maxmemory-policy"], "allkeys-lru")
    r.config_set("maxmemory-policy", was)
    expect(r.command_count() > 100, True)
    expect(r.command()["get"]["arity"], 2)
    expect(r.command_getkeys("MSET", "a", "1", "b", "2"), ["a", "b"])
    seconds, micros = r.time()
    expect([abs(seconds - time.time()) < 5, 0 <= micros < 1_000_000], [True, True])
    expect(r.bgsave() in (True, "Background saving started"), True)
    expect([r.lastsave().timestamp() > 0, r.wait(0, 0)], [True, 0])
    r.config_set("slowlog-log-slower-than", 0)
    r.get("k")
    expect(r.slowlog_len() > 0, True)
    expect(any(b"k" in bytes(entry["command"]) for entry in r.slowlog_get(10)), True)
    expect(r.slowlog_reset(), True)
    r.config_set("slowlog-log-slower-than", 10_000)
    with r.monitor() as monitor:
        r.set("watched", 'a "b"')
        shown = next(shown for shown in monitor.listen() if shown["command"].startswith("SET"))
        expect([shown["db"], shown["command"], shown["client_type"]], [0, 'SET watched a "b"', "tcp"])
    refused(r.execute_command, "NOSUCH", "a", error="unknown command 'NOSUCH', with args beginning with: 'a'")


def resp3_types(r):
    three = client(r.connection_pool.connection_kwargs["port"], protocol=3)
    three.hset("h", mapping={"a": "1"})
    expect(three.execute_command("HELLO", 3)["proto"], 3)
    expect(three.execute_command("HGETALL", "h"), {"a": "1"})
    expect(three.execute_command("CONFIG", "GET", "maxmemory-policy").keys(), {"maxmemory-policy"})
    expect(three.execute_command("GET", "none"), None)
    expect(three.execute_command("HRANDFIELD", "h", 1, "WITHVALUES"), [["a", "1"]])


async def asyncio_client(port: int, protocol: int):
    """Fifty tasks on one pool, each with keys of its own."""
    async with redis.asyncio.Redis(port=port, protocol=protocol, decode_responses=True, max_connections=50) as r:

        async def work(task: int):
            for step in range(40):
                key = f"async:{task}:{step}"
                await r.set(key, step, ex=1000)
                await r.hset(f"async:{task}", key, step)
                expect(await r.get(key), str(step))
                expect(await r.incr(key), step + 1)
            expect(await r.hlen(f"async:{task}"), 40)

        await asyncio.gather(*(work(task) for task in range(50)))
        expect(await r.dbsize(), 50 * 41)
        found = [key async for key in r.scan_iter(match="async:7:*", count=500)]
        expect(len(set(found)), 40)
        for transaction in False, True:
            async with r.pipeline(transaction=transaction) as pipeline:
                expect(await pipeline.set("x", 1).incr("x").get("x").execute(), [True, 2, "2"])


def asyncio_resp2(r):
    asyncio.run(asyncio_client(r.connection_pool.connection_kwargs["port"], 2))


def asyncio_resp3(r):
    asyncio.run(asyncio_client(r.connection_pool.connection_kwargs["port"], 3))


def told(pubsub, count: int):
    """The next messages, as (type, pattern, channel, data)."""
    messages = []
    while len(messages) < count:
        message = pubsub.get_message(timeout=10)
        demand(message is not None, f"only {messages} came, {count} were expected")
        messages.append((message["type"], message["pattern"], message["channel"], message["data"]))
    return messages


def publish_subscribe(r):
    with r.pubsub() as pubsub:
        pubsub.subscribe("news", "weather")
        pubsub.psubscribe("n*")
        expect([kind for kind, *_ in told(pubsub, 3)], ["subscribe", "subscribe", "psubscribe"])
        expect(r.publish("news", "one"), 2)
        expect(told(pubsub, 2), [("message", None, "news", "one"), ("pmessage", "n*", "news", "one")])
        expect([r.pubsub_numsub("news", "none"), r.pubsub_numpat()], [[("news", 1), ("none", 0)], 1])
        expect(sorted(r.pubsub_channels()), ["news", "weather"])
        for number in range(1000):
            r.publish("weather", number)
        expect([data for *_, data in told(pubsub, 1000)], [str(number) for number in range(1000)])
        pubsub.ssubscribe("shard")
        expect([told(pubsub, 1)[0][0], r.spublish("shard", "two")], ["ssubscribe", 1])
        pubsub.unsubscribe()
        pubsub.punsubscribe()
        kinds = [kind for kind, *_ in told(pubsub, 4)]
        expect(kinds, ["smessage", "unsubscribe", "unsubscribe", "punsubscribe"])
        expect(r.publish("news", "three"), 0)


def keyspace_events(r):
    was = r.config_get("notify-keyspace-events")["notify-keyspace-events"]
    r.config_set("notify-keyspace-events", "KEA")
    with r.pubsub() as pubsub:
        pubsub.psubscribe("__key*__:*")
        told(pubsub, 1)
        r.set("k", "v", px=50)
        r.hset("h", "f", "v")
        r.hdel("h", "f")
        seen = [(channel.split("__:")[1], data) for *_, channel, data in told(pubsub, 12)]
    by_key = [("k", "set"), ("k", "expire"), ("h", "hset"), ("h", "hdel"), ("h", "del"), ("k", "expired")]
    expect(sorted(seen), sorted(by_key + [(event, key) for key, event in by_key]))
    expect([pair for pair in seen if pair in by_key and pair[0] == "h"], by_key[2:5])
    r.config_set("notify-keyspace-events", was)


def invalidations(r):
    """What CLIENT TRACKING tells a connection over RESP3. The cache that redis-py builds on it serves only servers that
    call themselves Redis 7.4 or later."""
    forgotten = []
    connection = client(r.connection_pool.connection_kwargs["port"], protocol=3).connection_pool.get_connection()
    connection._parser.set_invalidation_push_handler(lambda push, **_: forgotten.append(push[1]))

    def ask(*words):
        connection.send_command(*words)
        return connection.read_response()

    expect([ask("CLIENT", "TRACKING", "ON"), r.info("clients")["tracking_clients"]], ["OK", 1])
    for number in range(100):
        r.set("cached", number)
        expect([ask("GET", "cached"), ask("GET", "none")], [str(number), None])
    r.delete("cached")
    r.flushall()
    ask("PING")
    # The first write came before the first read: 99 more of them, and the removal.
    expect(forgotten, [["cached"]] * 100 + [None])
    connection.disconnect()


def waiting(r, count: int, *uses):
    """Begins `uses`, one after the other, each on a connection of its own and in its turn among the `count` that wait
    then. Returns what they will be answered with, to be called for."""
    options = r.connection_pool.connection_kwargs
    pool = concurrent.futures.ThreadPoolExecutor(len(uses))
    answers = []
    for ahead, use in enumerate(uses, count - len(uses)):
        answers.append(pool.submit(use, client(options["port"], protocol=options["protocol"])))
        deadline = time.monotonic() + 10
        while r.info("clients")["blocked_clients"] <= ahead:
            demand(time.monotonic() < deadline, "it does not wait")
            time.sleep(0.001)
    pool.shutdown(wait=False)
    return [lambda answer=answer: answer.result(10) for answer in answers]


def waiting_for_lists(r):
    first, second, moving = waiting(
        r, 3, lambda c: c.blpop(["none", "l"]), lambda c: c.brpop("l"), lambda c: c.blmove("l", "m", 0)
    )
    expect(r.rpush("l", "a"), 1)
    expect(plain(first()), ["l", "a"])
    expect(r.rpush("l", "b", "c", "d"), 3)
    expect([plain(second()), moving(), r.lrange("l", 0, -1), r.lrange("m", 0, -1)], [["l", "d"], "b", ["c"], ["b"]])
    expect([r.blpop("none", timeout=0.01), r.brpoplpush("none", "m", timeout=0.01)], [None, None])
    expect(plain(r.blmpop(0, 2, "none", "l", direction="LEFT", count=5)), ["l", ["c"]])


def waiting_for_sorted_sets(r):
    lowest, highest, many = waiting(
        r,
        3,
        lambda c: c.bzpopmin(["none", "z"]),
        lambda c: c.bzpopmax("z"),
        lambda c: c.bzmpop(0, 2, ["none", "z"], min=True, count=5),
    )
    expect(r.zadd("z", {"a": 1, "b": 2.5, "c": 3, "d": 4}), 4)
    expect([plain(lowest()), plain(highest())], [["z", "a", 1.0], ["z", "d", 4.0]])
    name, pairs = many()
    expect([name, [[member, float(score)] for member, score in pairs]], ["z", [["b", 2.5], ["c", 3.0]]])
    expect([r.exists("z"), r.bzpopmin("z", timeout=0.01), r.bzmpop(0.01, 1, ["z"], max=True)], [0, None, None])
    with r.pipeline(transaction=True) as pipeline:
        expect(pipeline.bzpopmin("z").zadd("z", {"a": 1}).bzpopmax("z").execute()[:2], [None, 1])


def plain(answer) -> list:
    """RESP3 answers lists where RESP2 answers tuples."""
    return list(answer)


def entries(answer) -> list:
    """Ids and fields of what was read of one stream. RESP3 answers a map of lists, RESP2 a list of pairs."""
    found = answer["s"][0] if isinstance(answer, dict) else answer[0][1]
    return [(entry_id, fields) for entry_id, fields in found]


def waiting_for_streams(r):
    r.xadd("s", {"f": "0"}, id="1-0")
    expect([entries(r.xread({"s": "0"}, block=1000)), len(r.xread({"s": "$"}, block=1))], [[("1-0", {"f": "0"})], 0])
    readers = waiting(r, 2, lambda c: c.xread({"s": "$", "none": "0"}, block=0), lambda c: c.xread({"s": "1"}, block=0))
    r.xadd("s", {"f": "1"}, id="2-0")
    expect([entries(reader()) for reader in readers], [[("2-0", {"f": "1"})]] * 2)
    r.xgroup_create("s", "g", "$")
    read = {"groupname": "g", "streams": {"s": ">"}, "block": 0}
    one, two = waiting(
        r, 2, lambda c: c.xreadgroup(consumername="one", **read), lambda c: c.xreadgroup(consumername="two", **read)
    )
    r.xadd("s", {"f": "2"}, id="3-0")
    expect([entries(one()), r.info("clients")["blocked_clients"]], [[("3-0", {"f": "2"})], 1])
    r.xadd("s", {"f": "3"}, id="4-0")
    expect([entries(two()), r.xpending("s", "g")["pending"]], [[("4-0", {"f": "3"})], 2])


def waiting_for_what_goes(r):
    """A consumer that waits is told that its stream is gone, in whatever way it went."""
    gone = "NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option"
    wrong = "WRONGTYPE Operation against a key holding the wrong kind of value"

    def replaced():
        with r.pipeline(transaction=True) as pipeline:
            pipeline.delete("s").sadd("s", "member").execute()

    for goes, error in (
        (lambda: r.delete("s"), gone),
        (lambda: r.pexpire("s", 1), gone),
        (lambda: r.set("s", "text", px=10_000), wrong),
        (replaced, wrong),
        (lambda: r.xgroup_destroy("s", "g"), gone),
        (lambda: r.flushall(), gone),
        (lambda: r.swapdb(0, 1), gone),
    ):
        r.delete("s")
        r.xgroup_create("s", "g", "$", mkstream=True)
        (answer,) = waiting(r, 1, lambda c: c.xreadgroup("g", "one", {"s": ">"}, block=0))
        goes()
        refused(answer, error=error)
        expect(r.info("clients")["total_blocking_keys_on_nokey"], 0)
    r.xgroup_create("s", "g", "$", mkstream=True)
    (answer,) = waiting(r, 1, lambda c: c.xreadgroup("g", "one", {"s": ">"}, block=0))
    (blocked,) = [entry["id"] for entry in r.client_list() if "b" in entry["flags"]]
    r.client_unblock(blocked, error=True)
    refused(answer, error="UNBLOCKED client unblocked via CLIENT UNBLOCK")


async def asyncio_messages(port: int, protocol: int):
    async with redis.asyncio.Redis(port=port, protocol=protocol, decode_responses=True) as r, r.pubsub() as pubsub:
        await pubsub.subscribe("a")
        expect((await pubsub.get_message(timeout=10))["type"], "subscribe")
        for number in range(100):
            expect(await r.publish("a", number), 1)
        for number in range(100):
            expect((await pubsub.get_message(timeout=10))["data"], str(number))


def asyncio_pubsub(r):
    for protocol in (2, 3):
        asyncio.run(asyncio_messages(r.connection_pool.connection_kwargs["port"], protocol))


BOTH_PROTOCOLS = (
    strings, binary, bitmaps, hashes, hash_expiry, keys, connection, transactions, transactions_seen, no_touch,
    password, users, server, publish_subscribe, keyspace_events, waiting_for_lists, waiting_for_sorted_sets,
    waiting_for_streams, waiting_for_what_goes,
)  # fmt: skip
ONCE = (resp3_types, asyncio_pubsub, invalidations, asyncio_resp2, asyncio_resp3)
NEWER_THAN_REDIS_7_0 = (hash_expiry, no_touch, transactions_seen, waiting_for_what_goes)
