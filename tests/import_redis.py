"""Moves data of a real redis-server into Larder by `larder import`, and compares everything with the original.

    RDB file                every type in every encoding, keys that end and that have ended, two databases
    append-only directory   an RDB base and one of commands, with transactions, scripts, groups and random pops behind
    append-only file        one file with both, as before Redis 7; with its last command cut off
    damage, refusals        a flipped bit, a directory that holds keys, --merge, --replace
    payloads                DUMP of Redis restored here and DUMP of Larder restored there, for every key

What this deliberately is not: a test of decoders (`crates/rdb/tests`). `--keys N` imports that many strings instead and
prints how long it took. Prints what was compared; exit status 1 on any difference. Says SKIPPED where there is no redis-server.
"""

import contextlib
import pathlib
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

from resp import Connection, Refused
from support import Server, free_port, parser

FAR_FUTURE_MS = 4_000_000_000_000
SOON_MS = 1
BULK_KEYS_PER_PIPELINE = 1000
# Two thresholds in one: below it everything is packed, above it nothing is.
MANY = 700
# Small sets of words and streams are written as Redis 7.2 writes them; 7.0 refuses that.
TYPES_SINCE_7_2 = (20, 21)
LONG = b"long " * 40


class Redis:
    """A redis-server in a directory of its own."""

    def __init__(self, program: str, home: pathlib.Path, *flags: str):
        self.port = free_port()
        self.dir = home
        self.dir.mkdir(exist_ok=True)
        command = [program, "--port", str(self.port), "--dir", str(home), "--save", "", "--enable-debug-command", "yes"]
        self.process = subprocess.Popen([*command, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        self.client = self._connect()

    def _connect(self) -> Connection:
        while True:
            with contextlib.suppress(OSError):
                client = Connection(self.port)
                if not isinstance(client.call("DBSIZE"), Refused):
                    return client
                client.close()
            if self.process.poll() is not None:
                raise SystemExit(f"redis-server exited with status {self.process.returncode}")
            time.sleep(0.01)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def do(client: Connection, *lines: str):
    """Runs commands written as lines; none may be refused."""
    for line, reply in zip(lines, client.pipeline([shlex.split(line) for line in lines]), strict=True):
        if isinstance(reply, Refused):
            raise SystemExit(f"{line}: {reply}")


def fill(client: Connection):
    """Every type in every encoding that redis-server 7.0 writes by itself."""
    do(
        client,
        "CONFIG SET maxmemory-policy allkeys-lru",
        "DEBUG SET-ACTIVE-EXPIRE 0",
        "SET int8 -7", "SET int16 1000", "SET int32 -70000", "SET int64 9999999999", "SET text hello", "SET empty ''",
        "SET float 3.25", "SETBIT bits 1000 1", "PFADD hll a b c d e", "GEOADD geo 13.361389 38.115556 Palermo",
        "SET {tag}a 1", f"SET ends v PXAT {FAR_FUTURE_MS}", f"SET ended v PX {SOON_MS}",
        "RPUSH list:small a 1 -5000 '' 123456789012", "SADD set:ints -40000 3 7", "SADD set:words apple 12 pear",
        "HSET hash:small name larder count 42 empty ''", "ZADD zset:small -inf low 0 zero 1.5 mid inf high",
        f"PEXPIREAT hash:small {FAR_FUTURE_MS + 1}",
        "XADD stream:one 5-1 a 1 b 2", "XADD stream:one 6-0 a 3 b 4", "XADD stream:one 7-0 other x", "XDEL stream:one 6-0",
        "XGROUP CREATE stream:one readers 0", "XREADGROUP GROUP readers ada COUNT 1 STREAMS stream:one >",
        "XGROUP CREATECONSUMER stream:one readers bob", "XGROUP CREATE stream:one late $ ENTRIESREAD 3",
        "XADD stream:gone 1-1 f v", "XTRIM stream:gone MAXLEN 0",
        "SELECT 9", "SET elsewhere 1", "HSET h f v", "SELECT 0",
        "FUNCTION LOAD '#!lua name=shelf\nredis.register_function(\"one\", function() return 1 end)'",
    )  # fmt: skip
    dice = random.Random(7)
    words = [b"%d" % dice.randrange(-(1 << 62), 1 << 62) if at % 3 else b"member:%d" % at for at in range(MANY)]
    pairs = [half for word in words for half in (word, LONG[: dice.randrange(len(LONG))])]
    client.pipeline(
        [
            (b"SET", b"string:compressible", b"abcabcabc" * 5000),
            (b"SET", b"string:random", dice.randbytes(100_000)),
            (b"SET", dice.randbytes(300), b"a binary key"),
            (b"RPUSH", b"list:large", *words, b"x" * 9000, *words),
            (b"SADD", b"set:large-ints", *[b"%d" % at for at in range(MANY)]),
            (b"SADD", b"set:large", *words),
            (b"HSET", b"hash:large", *pairs),
            (b"HSET", b"hash:long", b"field", LONG),
            (b"ZADD", b"zset:large", *[half for word in words for half in (b"%r" % dice.uniform(-1e9, 1e9), word)]),
            (b"ZADD", b"zset:long", b"1", LONG),
            *[(b"XADD", b"stream:large", b"%d-%d" % (at // 3 + 1, at), b"n", b"%d" % at, b"t", LONG) for at in range(MANY)],
        ]
    )
    do(client, "XGROUP CREATE stream:large g 0", "XREADGROUP GROUP g c COUNT 50 STREAMS stream:large >")
    time.sleep(0.01)


def work(client: Connection):
    """What an append-only file records in other words than it was said."""
    do(
        client,
        "MULTI", "SET tx:a 1", "INCRBY tx:a 41", "LPUSH tx:list x y z", "EXEC",
        "SPOP set:large 20", "LMOVE list:large list:moved RIGHT LEFT", "INCRBYFLOAT float 0.5", "HINCRBYFLOAT hash:small f 2.5",
        f"SET soon v PX {SOON_MS}", "EXPIRE text 1000000", "GETEX int8 PERSIST", "RENAME int16 renamed", "COPY text text:copy",
        "EVAL 'redis.call(\"SET\", KEYS[1], ARGV[1]) redis.call(\"RPUSH\", KEYS[2], 1, 2)' 2 {s}a {s}b from-a-script",
        "XREADGROUP GROUP readers bob COUNT 5 STREAMS stream:one >", "XACK stream:one readers 5-1", "XADD stream:one * k v",
        "XAUTOCLAIM stream:large g d 0 0 COUNT 3", "ZADD zset:small GT CH 9 mid", "ZPOPMIN zset:large 3", "SORT set:ints STORE sorted",
        "GEOSEARCHSTORE near geo FROMMEMBER Palermo BYRADIUS 1 km", "BITFIELD bits SET u8 0 200", "PFMERGE hll2 hll", "SELECT 3",
        "SET third 3", "MOVE third 4", "SELECT 0", "SWAPDB 9 10", "BLPOP tx:list 1", "DEL int32",
    )  # fmt: skip


def read(client: Connection, key: bytes):
    """A key's type, content and end."""
    kind = client.call("TYPE", key)
    end = client.call("PEXPIRETIME", key)
    match kind:
        case b"string":
            return kind, end, client.call("GET", key)
        case b"list":
            return kind, end, client.call("LRANGE", key, 0, -1)
        case b"set":
            return kind, end, sorted(client.call("SMEMBERS", key))
        case b"zset":
            flat = client.call("ZRANGE", key, 0, -1, "WITHSCORES")
            # Redis 7.0 spells numbers in 17 digits, as nothing since does.
            return kind, end, [(member, float(score)) for member, score in zip(flat[::2], flat[1::2], strict=True)]
        case b"hash":
            flat = client.call("HGETALL", key)
            return kind, end, sorted(zip(flat[::2], flat[1::2], strict=True))
        case b"stream":
            return kind, end, stream(client, key)
    raise SystemExit(f"{key!r} has the type {kind!r}")


def stream(client: Connection, key: bytes):
    """Entries, counters, groups, and who holds what."""
    told = client.call("XINFO", "STREAM", key)
    told = dict(zip(told[::2], told[1::2], strict=True))
    counters = [told[name] for name in (b"length", b"last-generated-id", b"max-deleted-entry-id", b"entries-added")]
    groups = []
    for flat in client.call("XINFO", "GROUPS", key):
        group = dict(zip(flat[::2], flat[1::2], strict=True))
        pending = client.call("XPENDING", key, group[b"name"], "-", "+", 10_000)
        names = sorted(consumer[1] for consumer in client.call("XINFO", "CONSUMERS", key, group[b"name"]))
        groups.append((group, names, [(one[0], one[1], one[3]) for one in pending]))
    return counters, client.call("XRANGE", key, "-", "+"), groups


def everything(client: Connection) -> dict:
    """All keys of all databases."""
    found = {}
    for db in range(16):
        client.call("SELECT", db)
        for key in client.call("KEYS", "*"):
            found[db, key] = read(client, key)
    client.call("SELECT", 0)
    return found


def differences(ours: dict, theirs: dict) -> list:
    """Keys that differ, with both contents shortened."""
    return [
        f"{key}: larder {str(ours.get(key))[:300]}, redis {str(theirs.get(key))[:300]}"
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key) != theirs.get(key)
    ]


class Judge:
    """Counts and prints what was found."""

    def __init__(self):
        self.failures = 0

    def holds(self, what: str, is_so: bool, detail: str = ""):
        print(f"{'ok  ' if is_so else 'FAIL'} {what}{'' if is_so else ': ' + detail}", flush=True)
        self.failures += not is_so

    def same(self, what: str, ours: dict, theirs: dict):
        different = differences(ours, theirs)
        self.holds(f"{what}: {len(theirs)} keys", not different and bool(theirs), "\n  ".join(different[:5]))


class Bench:
    """Runs imports and serves what they made."""

    def __init__(self, template: str, home: pathlib.Path):
        self.template, self.home = template, home
        self.count = 0

    def new_dir(self) -> pathlib.Path:
        self.count += 1
        return self.home / f"data{self.count}"

    def run(self, source: pathlib.Path, data_dir: pathlib.Path, *flags: str) -> subprocess.CompletedProcess:
        program = shlex.split(self.template)[0]
        command = [program, "import", str(source), "--data-dir", str(data_dir), *flags]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    @contextlib.contextmanager
    def served(self, data_dir: pathlib.Path):
        with Server(self.template) as server:
            shutil.rmtree(server.dir)
            shutil.copytree(data_dir, server.dir)
            server.start()
            yield Connection(server.port)


def payloads(judge: Judge, ours: Connection, theirs: Connection):
    """DUMP of either restored in the other."""
    theirs.call("SELECT", 0)
    ours.call("SELECT", 0)
    wrong = []
    for key in theirs.call("KEYS", "*"):
        for giver, taker in ((theirs, ours), (ours, theirs)):
            payload, want = giver.call("DUMP", key), read(giver, key)
            reply = taker.call("RESTORE", b"exchanged", 0, payload, "REPLACE")
            if taker is theirs and payload[0] in TYPES_SINCE_7_2 and isinstance(reply, Refused):
                continue
            got = (want[0], want[1], read(taker, b"exchanged")[2]) if reply == b"OK" else reply
            if got != want:
                wrong.append(f"{key!r} from {'redis' if giver is theirs else 'larder'}: {str(got)[:200]}")
            taker.call("DEL", b"exchanged")
    judge.holds("payloads in both directions", not wrong, "\n  ".join(wrong[:5]))


def rdb_rounds(judge: Judge, bench: Bench, program: str):
    with Redis(program, bench.home / "rdb") as redis:
        fill(redis.client)
        do(redis.client, "SAVE")
        source, data_dir = redis.dir / "dump.rdb", bench.new_dir()
        done = bench.run(source, data_dir)
        told = done.stdout + done.stderr
        judge.holds("an RDB file imports", done.returncode == 0, told)
        judge.holds("the key that has ended is left out", "left out because their time had come: keys 1" in done.stdout, told)
        theirs = everything(redis.client)
        with bench.served(data_dir) as ours:
            judge.same("what the RDB file held", everything(ours), theirs)
            judge.holds("times of last use move along", ours.call("OBJECT", "IDLETIME", "text") < 60)
            payloads(judge, ours, redis.client)

        done = bench.run(source, data_dir)
        judge.holds("a directory with keys is refused", done.returncode == 2 and "--merge" in done.stderr, done.stderr)
        do(redis.client, "FLUSHALL", "SET new 1", "SET text changed", "SAVE")
        done = bench.run(source, data_dir, "--merge")
        judge.holds("--merge", done.returncode == 0, done.stdout + done.stderr)
        with bench.served(data_dir) as ours:
            judge.same("merged", everything(ours), theirs | everything(redis.client))
        done = bench.run(source, data_dir, "--replace")
        judge.holds("--replace", done.returncode == 0, done.stdout + done.stderr)
        with bench.served(data_dir) as ours:
            judge.same("replaced", everything(ours), everything(redis.client))

        bent = bytearray(source.read_bytes())
        bent[len(bent) // 2] ^= 4
        (bench.home / "bent.rdb").write_bytes(bent)
        done = bench.run(bench.home / "bent.rdb", data_dir, "--replace")
        judge.holds("a flipped bit is refused", done.returncode == 1 and "damaged" in done.stderr, str(done))
        with bench.served(data_dir) as ours:
            judge.same("and nothing was removed for it", everything(ours), everything(redis.client))


def aof_rounds(judge: Judge, bench: Bench, program: str, preamble: str):
    flags = ["--appendonly", "yes", "--appendfsync", "no", "--aof-use-rdb-preamble", preamble]
    home = bench.home / f"aof-{preamble}"
    with Redis(program, home, *flags) as redis:
        fill(redis.client)
        do(redis.client, "BGREWRITEAOF")
        while b"aof_rewrite_in_progress:1" in redis.client.call("INFO", "persistence"):
            time.sleep(0.01)
        work(redis.client)
    source = home / "appendonlydir"
    whole = bench.new_dir()
    done = bench.run(source, whole)
    told = done.stdout + done.stderr
    judge.holds(f"an append-only directory imports (preamble {preamble})", done.returncode == 0, told)
    base, last = sorted(source.glob("*.base.*"))[0], sorted(source.glob("*.incr.*"))[-1]
    one = bench.home / f"one-{preamble}.aof"
    one.write_bytes(base.read_bytes() + last.read_bytes() + b"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$4\r\ntorn\r\n$5\r\nval")
    single = bench.new_dir()
    torn = bench.run(one, single)
    judge.holds("a torn file says so", "never written whole: bytes 45" in torn.stdout, torn.stdout + torn.stderr)
    judge.holds("commands are not merged", bench.run(source, single, "--merge").returncode == 2)
    with Redis(program, home, *flags) as redis:
        do(redis.client, "SELECT 0")
        theirs = everything(redis.client)
    for what, data_dir in (("the directory", whole), ("one torn file", single)):
        with bench.served(data_dir) as ours:
            judge.same(f"what {what} held (preamble {preamble})", everything(ours), theirs)


def speed(bench: Bench, program: str, keys: int):
    with Redis(program, bench.home / "speed") as redis:
        for start in range(0, keys, BULK_KEYS_PER_PIPELINE):
            redis.client.pipeline([("SET", f"key:{at:012}", f"value:{at:026}") for at in range(start, start + BULK_KEYS_PER_PIPELINE)])
        do(redis.client, "SAVE")
        begun = time.monotonic()
        done = bench.run(redis.dir / "dump.rdb", bench.new_dir())
        seconds = time.monotonic() - begun
        print(done.stdout + done.stderr, end="")
        print(f"{keys} keys in {seconds:.2f} s, {keys / seconds:,.0f} a second, from start to exit")


def main():
    options = parser(__doc__)
    options.add_argument("--redis", default="redis-server", help="the redis-server to move away from")
    options.add_argument("--keys", type=int, help="import this many strings instead, and print how long it took")
    chosen = options.parse_args()
    if shutil.which(chosen.redis) is None:
        print(f"SKIPPED: there is no {chosen.redis}")
        return
    judge = Judge()
    with tempfile.TemporaryDirectory(prefix="larder-import-") as home:
        bench = Bench(chosen.server_command, pathlib.Path(home))
        if chosen.keys:
            speed(bench, chosen.redis, chosen.keys)
            return
        rdb_rounds(judge, bench, chosen.redis)
        for preamble in ("yes", "no"):
            aof_rounds(judge, bench, chosen.redis, preamble)
    sys.exit(1 if judge.failures else 0)


if __name__ == "__main__":
    main()
