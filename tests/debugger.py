"""Scripts under the debugger, as `redis-cli --ldb` and `--ldb-sync-mode` step through them, beside a real Redis.

    transcripts    one session after the other in redis-cli, against Larder and against Redis: to the byte the same
    the protocol   the same sessions without redis-cli: array for array the same
    apart          SCRIPT DEBUG YES: what a session changes is seen by it alone, others go on, keys are as they were
    in sync        SCRIPT DEBUG SYNC: changes stay, others wait for the end, also where the client goes away
    bounds         large values and commands, scripts and code that do not end
    gone           a client that goes away leaves nothing behind; a server with sessions stops
    refusals       in MULTI, from a script, in a pipeline, by EVALSHA, words that are none

What this deliberately is not: a test of Lua. Prints how many sessions were compared; exit status 1 if one differed.
"""

import difflib
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from resp import Closed, Connection, Refused, encode
from support import REDIS_COMMAND, Server, attempt, parser

CLIENT_SECONDS_MAX = 60
# Long enough for a command that is not held back, on a busy machine.
HELD_SECONDS = 0.5
PATIENCE_SECONDS = 20
POINTER = re.compile(rb"@0x[0-9a-f]+")

STEPS = """local x = 1
local t = {1, 2, {a = "b"}}
local function double(n)
  local inner = n * 2.5
  redis.debug("in double", inner, t)
  return inner
end
redis.call('set', KEYS[1], ARGV[1])
local got = redis.call('get', KEYS[1])
redis.breakpoint()
local y = double(x)
local bad = redis.pcall('incr', KEYS[1])
local nocmd = redis.pcall('nosuch')
return {y, got}
"""
VALUES = """local none = nil
local yes, no = true, false
local whole, half, large, tiny, inf = 7, 0.5, 1e15, 1e-7, 1/0
local text = 'quote " back \\\\ line \\n tab \\t bell \\a zero \\0 high \\255'
local long = string.rep('x', 1000)
local empty, list, gap = {}, {1, 'two', {3}}, {1, nil, 3}
local map = {only = {deep = true}}
local deep = {}
deep[1] = deep
local f = function() end
local co = coroutine.create(f)
return redis.status_reply('end')
"""
NESTED = """local function third(n)
  local z = n + 1
  return z
end
local function second(n)
  local m = third(n)
  return m * 2
end
local first = function(n)
  return 1 + second(n)
end
local t = {method = function(self, k)
  return first(k)
end}
local result = t:method(20)
return result
"""
REPLIES = """redis.call('del', KEYS[1], KEYS[2])
redis.call('rpush', KEYS[1], 'a', 'b "c"', 'd')
redis.call('lrange', KEYS[1], 0, -1)
redis.call('get', KEYS[2])
redis.call('hset', KEYS[2], 'f', '1', 'g', '2')
redis.setresp(3)
redis.call('hgetall', KEYS[2])
redis.call('get', 'absent')
redis.call('smembers', 'absent')
redis.setresp(2)
redis.call('ping')
redis.call('mget', '1', '2', '3', '4', '5', '6', '7', '8', '9', '10', '11', '12')
redis.call('setrange', KEYS[1] .. 's', 300, 'end')
redis.call('get', KEYS[1] .. 's')
return redis.call('exists', KEYS[1])
"""
FAILS = """local ok, err = pcall(function() return redis.call('incr', KEYS[1]) end)
local list = redis.pcall('lpush', KEYS[1], 'x')
redis.log('wrong')
return 1
"""
COUNTS = """local sum = 0
for i = 1, 5 do
  sum = sum + i
  if i == 3 then
    redis.breakpoint()
  end
end
return sum
"""
OTHERS = """local c = coroutine.wrap(function(a)
  local b = a + 1
  coroutine.yield(b)
  return b + 1
end)
local one = c(1)
local two = c()
local loaded = loadstring('local q = 1 return q')()
return {one, two, loaded}
"""
HEADED = "#!lua flags=no-writes\nlocal seen = redis.call('get', KEYS[1])\nreturn redis.pcall('set', KEYS[1], 'x')\n\n\r\n"
KEY_COUNT = ("k1", "k2")

# Name, script, what the client says, one command a line.
SESSIONS = [
    ("steps", STEPS, "s\np\np x\ns\ns\np t\nl\nw\nb 5\nb\nb -5\nb 4\nc\ns\ns\ns\nt\np inner\np n\np KEYS\np ARGV\np nothing\ns\ns\ns\ns\ns"),
    ("evaluates", STEPS, "s\ns\ne x\ne 1 + 1\ne return 7\ne KEYS[1]\ne local a = 5 return a * 2\ne error('boom')\n"
     "e syntax error here(\ne nil\ne {1,{2}}\neval redis.call('set', 'k2', 'seen')\neval redis.call('get', 'k2')\nc\ne got\nc"),
    ("asks redis", STEPS, "r\nr get k1\nr nosuch\nr incr k3\nredis set k3 abc\nr incr k3\nr get\nr lrange k1 0 -1\nr eval x 0\nc\nc"),
    ("breaks", STEPS, "b\nb 8 9 99\nb 0\nb -3\nb x\nb 11\nb -11\nbreak 14 13\nb\nc\nl\nc\nc"),
    ("lists", STEPS, "l\nl 8\nl 8 1\nl 0\nlist 0 2\nl x\nl 99\nw\nwhole\nhelp\nh\nb 7\nl 7 0\nabort"),
    ("words", STEPS, "nosuch\np x y\nP x\nSTEP\nNEXT\nN\nm 10 20\nmaxlen\nM 61\nm 5\nm 0\nm -1\nm x\nt\nTRACE\nCONTINUE\nC"),
    ("values", VALUES, "b 12\nc\np\np none\np yes\np whole\np half\np large\np tiny\np inf\np text\np long\np long\nm 0\np long\np gap\np deep\np f\nm 100\np long\nc"),
    ("nested", NESTED, "b 2\nc\nt\np n\np z\ns\np\np z\np m\np result\nt\ns\ns\nt\nc"),
    ("replies", REPLIES, "s\n" * 20),
    ("replies whole", REPLIES, "m 0\n" + "s\n" * 20),
    ("fails", FAILS, "s\n" * 10),
    ("fails at once", FAILS, "c"),
    ("counts", COUNTS, "c\np sum\np i\nb 3\nc\np\nc\np\nb 0\nc"),
    ("others", OTHERS, "s\np\ns\ns\np\nt\ns\ns\ns\ns\ns\ns\ns\ns"),
    ("headed", HEADED, "l\ns\ns\nc"),
    ("aborts", STEPS, "s\ns\ns\na"),
    ("aborts in a call", "local ok, err = pcall(function()\n  local z = 1\n  return z\nend)\nreturn {tostring(ok)}", "s\na\ns\ns\ns"),
    ("does not compile", "local = 1", ""),
    ("ends by an error", "local x = 1\nerror('an end')\nreturn 1", "s\ns\ns"),
    ("ends by a table", "local x = 1\nreturn redis.error_reply('MY end')", "s\ns"),
    ("unknown global", "local x = 1\nlocal y = nosuch\nreturn 1", "s\ns\ns"),
    ("empty", "", "s"),
    ("one line", "return {KEYS[1], ARGV[2], 3.7, false, true}", "p\ns"),
    ("carriage returns", "local x = 1\r\nlocal y = 2\r\nreturn x\r\n", "w\ns\ns\ns"),
]
SEEDED = [("set", "k1", "old"), ("set", "k3", "3"), ("rpush", "l", "a", "b")]


def command(port, *words):
    """One command on a connection of its own."""
    connection = Connection(port)
    try:
        connection.send(encode(*words))
        return connection.read()
    finally:
        connection.socket.close()


def seed(port):
    """The same few keys on either server."""
    command(port, "flushall")
    for words in SEEDED:
        command(port, *words)


def transcript(port, mode, path, said):
    """What redis-cli shows of a session."""
    words = ["redis-cli", "-p", str(port), mode, "--eval", str(path), *KEY_COUNT, ",", "v1", "v2"]
    run = subprocess.run(words, input=said.encode() + b"\n", capture_output=True, timeout=CLIENT_SECONDS_MAX)
    # After the session's end it goes on as a client without a debugger, which is none of this.
    shown = run.stdout.split(b"(Lua debugging session ended")[0]
    return POINTER.sub(b"@0x", shown + run.stderr)


def arrays(port, mode, script, said):
    """Everything the server sends in a session."""
    connection = Connection(port)
    connection.socket.settimeout(PATIENCE_SECONDS)
    connection.send(encode("script", "debug", mode))
    replies = [connection.read()]
    connection.send(encode("eval", script, 2, *KEY_COUNT, "v1", "v2"))
    lines = iter(said.split("\n"))
    try:
        while True:
            reply = connection.read()
            replies.append([POINTER.sub(b"@0x", line) for line in reply] if isinstance(reply, list) else reply)
            is_over = isinstance(reply, list) and b"<endsession>" in reply
            if is_over:
                replies.append(connection.read())
                replies.append(connection.read())
            word = next((line for line in lines if line), "c")
            connection.send(encode(*word.split(" ")))
    except Closed:
        pass
    connection.socket.close()
    return replies


def differ(name, larder, redis):
    """Says where two sessions part, if they do."""
    if larder == redis:
        return False
    shown = [text if isinstance(text, list) else text.decode(errors="replace").splitlines() for text in (redis, larder)]
    lines = difflib.unified_diff(*[[str(line) for line in text] for text in shown], "redis", "larder", lineterm="", n=2)
    print(f"{name} differs\n" + "\n".join(lines), flush=True)
    return True


def compare(larder, redis):
    """Every session, in either mode, in redis-cli and without it."""
    count, differing = 0, 0
    with tempfile.TemporaryDirectory() as home:
        path = pathlib.Path(home) / "script.lua"
        for name, script, said in SESSIONS:
            path.write_bytes(script.encode("latin-1"))
            for mode in ("--ldb", "--ldb-sync-mode"):
                seen = []
                for port in (larder, redis):
                    seed(port)
                    seen.append((transcript(port, mode, path, said), kept(port)))
                differing += differ(f"{name} {mode}", seen[0][0], seen[1][0])
                differing += differ(f"{name} {mode}, keys", seen[0][1], seen[1][1])
                count += 1
            for mode in ("yes", "sync"):
                seen = []
                for port in (larder, redis):
                    seed(port)
                    seen.append(arrays(port, mode, script, said))
                differing += differ(f"{name} by {mode}", *seen)
                count += 1
    print(f"{count} sessions compared", flush=True)
    assert differing == 0, f"{differing} differ"


def kept(port):
    """What there is after a session."""
    keys = sorted(command(port, "keys", "*"))
    return [(key, command(port, "type", key), command(port, "sort", key, "by", "none")) for key in keys] + [
        command(port, "mget", *keys)
    ]


class Session:
    """A session that is led by hand."""

    def __init__(self, port, mode, script, *keys):
        self.connection = Connection(port)
        self.connection.socket.settimeout(PATIENCE_SECONDS)
        self.connection.send(encode("script", "debug", mode))
        assert self.connection.read() == b"OK"
        self.connection.send(encode("eval", script, len(keys), *keys))
        self.stopped = self.connection.read()

    def say(self, *words):
        """One command, and what it is answered."""
        self.connection.send(encode(*words))
        return self.connection.read()

    def end(self):
        """Goes on to the end: the script's reply."""
        said = self.say("c")
        assert said[-1] == b"<endsession>", said
        return self.connection.read()


def expect(found, wanted):
    """Fails with both, unless they are equal."""
    assert found == wanted, f"found {found!r} and not {wanted!r}"


CHANGES = """redis.call('set', KEYS[1], 'changed')
redis.call('expire', KEYS[2], 100)
redis.call('rpush', KEYS[3], 'c')
redis.call('del', KEYS[4])
redis.call('select', 3)
redis.call('set', 'elsewhere', 1)
redis.call('select', 0)
local all = redis.call('keys', '*')
table.sort(all)
local size, list = redis.call('dbsize'), redis.call('sort', KEYS[3], 'alpha', 'desc')
redis.call('flushall')
return {all, size, list, redis.call('dbsize'), redis.call('get', 'other')}
"""


def stays_apart(port):
    """Nothing of a session with YES is seen by anybody else, nor does anybody wait for it."""
    seed(port)
    for words in (("set", "other", "theirs"), ("set", "gone", "here"), ("set", "ends", "x")):
        command(port, *words)
    session = Session(port, "yes", CHANGES, "k1", "ends", "l", "gone")
    begun = time.monotonic()
    for number in range(100):
        expect(command(port, "set", f"n{number}", number), b"OK")
    assert time.monotonic() - begun < PATIENCE_SECONDS
    for _ in range(4):
        session.say("s")
    expect(session.say("r", "get", "k1"), [b"<redis> get k1", b'<reply> "changed"'])
    expect(command(port, "get", "k1"), b"old")
    expect(command(port, "get", "gone"), b"here")
    all_keys, size, members, left, other = session.end()
    expect(size, len(all_keys))
    assert {b"k1", b"l", b"n99", b"other"} <= set(all_keys) and b"gone" not in all_keys, all_keys
    expect((members, left, other), ([b"c", b"b", b"a"], 0, None))
    expect((command(port, "get", "k1"), command(port, "ttl", "ends")), (b"old", -1))
    expect((command(port, "lrange", "l", 0, -1), command(port, "get", "other")), ([b"a", b"b"], b"theirs"))
    expect(command(port, "dbsize"), 106)


KINDS = """local out = {}
local function note(...) out[#out + 1] = redis.call(...) end
for round = 1, 3 do
  note('append', 'string', 'more')
  note('setrange', 'string', 400, 'end')
  note('hset', 'hash', 'f' .. round, string.rep('v', 100))
  note('hdel', 'hash', 'old')
  note('rpush', 'list', 'x' .. round, string.rep('y', 100))
  note('lpop', 'list')
  note('sadd', 'set', 'x' .. round)
  note('spop', 'one')
  note('zadd', 'zset', round, 'm' .. round)
  note('zincrby', 'zset', 5, 'm1')
  note('xadd', 'stream', round .. '-0', 'f', 'v')
  note('incr', 'number')
  note('pfadd', 'hll', round)
  note('rename', 'list', 'renamed')
  note('rename', 'renamed', 'list')
  note('expire', 'hash', 1000)
  note('ttl', 'ends')
  note('setbit', 'bits', 70 * round, 1)
end
note('copy', 'set', 'copied', 'db', 2)
note('move', 'number', 2)
note('sort', 'set', 'alpha', 'store', 'sorted')
note('sunionstore', 'union', 'set', 'sorted2')
for _, key in ipairs({'string', 'list', 'set', 'zset', 'stream', 'sorted', 'union', 'hash'}) do
  note('type', key)
end
note('lrange', 'list', 0, -1)
note('zrange', 'zset', 0, -1, 'withscores')
note('xrange', 'stream', '-', '+')
note('get', 'string')
note('hgetall', 'hash')
note('select', 2)
note('get', 'number')
note('scard', 'copied')
note('swapdb', 2, 3)
note('dbsize')
note('select', 3)
note('dbsize')
note('flushdb')
note('dbsize')
return out
"""
FILLED = [
    ("set", "string", "s" * 300), ("hset", "hash", "old", "1", "kept", "2"), ("rpush", "list", "a", "b", "c", "d"),
    ("sadd", "set", "p", "q"), ("sadd", "one", "z"), ("zadd", "zset", "2", "m1"), ("xadd", "stream", "0-5", "f", "v"),
    ("set", "number", "41"), ("pfadd", "hll", "a", "b"), ("set", "ends", "x", "ex", "5000"), ("set", "bits", "b"),
]


def every_kind_stays_apart(port):
    """What a script does to keys of every kind is the same under the debugger and without it, where it is no matter for keys."""
    def fill():
        command(port, "flushall")
        for words in FILLED:
            command(port, *words)

    def dumps():
        return [command(port, "dump", words[1]) for words in FILLED]

    fill()
    before = dumps()
    session = Session(port, "yes", KINDS)
    apart = session.end()
    expect(dumps(), before)
    expect(command(port, "dbsize"), len(FILLED))
    expect(command(port, "eval", KINDS, 0), apart)
    fill()
    session = Session(port, "sync", KINDS)
    expect(session.end(), apart)
    assert dumps() != before


def is_held(connection):
    """Whether no reply comes for a while."""
    connection.socket.settimeout(HELD_SECONDS)
    try:
        connection.read()
    except (TimeoutError, Closed):
        return True
    finally:
        connection.socket.settimeout(PATIENCE_SECONDS)
    return False


def stays_in_sync(port):
    """With SYNC others wait, and then see what was changed; who waits for a key is served at the end."""
    seed(port)
    waiter, other, reader = Connection(port), Connection(port), Connection(port)
    waiter.send(encode("blpop", "queue", 0))
    for connection in (other, reader):
        connection.send(encode("ping"))
        expect(connection.read(), b"PONG")
    session = Session(port, "sync", "redis.call('set', KEYS[1], 'changed')\nredis.call('lpush', 'queue', 'job')\nreturn 1", "k1")
    other.send(encode("incr", "k3"))
    reader.send(encode("get", "k1"))
    session.say("s")
    session.say("s")
    assert is_held(other), "a write did not wait"
    expect(session.say("r", "get", "k3"), [b"<redis> get k3", b'<reply> "3"'])
    expect(session.end(), 1)
    expect((other.read(), reader.read(), waiter.read()), (4, b"changed", [b"queue", b"job"]))
    # An abort leaves what was done.
    session = Session(port, "sync", "redis.call('set', KEYS[1], 'again')\nreturn 1", "k1")
    session.say("s")
    expect(session.say("a"), [b"<endsession>"])
    assert "script aborted" in str(session.connection.read())
    expect(command(port, "get", "k1"), b"again")


def until(is_so, what):
    """Waits until it is so."""
    ends = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < ends, what
        time.sleep(0.02)


def goes_away(server):
    """A client that goes away: its script runs to its end, others go on, and the server stops with sessions open."""
    port = server.port
    seed(port)
    session = Session(port, "sync", "local x = 1\nredis.call('set', KEYS[1], 'to the end')\nreturn 1", "k1")
    session.connection.socket.close()
    expect(command(port, "get", "k1"), b"to the end")
    session = Session(port, "yes", "local x = 1\nredis.call('set', KEYS[1], 'not seen')\nreturn 1", "k1")
    session.connection.socket.close()
    # One that would never end by itself is ended once it takes too long.
    command(port, "config", "set", "busy-reply-threshold", 200)
    session = Session(port, "sync", "while true do pcall(function() redis.call('incr', KEYS[1]) end) end", "turns")
    session.connection.socket.close()
    expect(command(port, "ping"), b"PONG")
    turns = int(command(port, "get", "turns"))
    expect(int(command(port, "get", "turns")), turns)
    # One that takes long while its client is there stops and says so.
    session = Session(port, "yes", "local n = 0\nwhile true do n = n + 1 end", "k1")
    assert b"timeout reached" in session.say("c")[0]
    session.say("p", "n")
    session.connection.socket.close()
    threads = pathlib.Path(f"/proc/{server.process.pid}/task")
    names = lambda: [name.read_text().strip() for name in threads.glob("*/comm")]
    until(lambda: "debugged" not in names(), "threads of sessions are left")
    expect(command(port, "get", "k1"), b"to the end")
    # Once there is one with SYNC, nobody else begins anything.
    others = [Session(port, "yes", "return 1") for _ in range(3)]
    killed = Session(port, "sync", "return 1")
    expect(server.terminate(), 0)
    for session in [killed, *others]:
        try:
            session.say("s")
        except Closed:
            pass
    server.start()
    expect(command(port, "get", "k1"), b"to the end")


ENDLESS = [
    "while true do redis.breakpoint() end",
    "loadstring('while true do end')()",
    "loadstring('while true do end', '=sandbox')()",
    "while true do pcall(function() while true do redis.breakpoint() end end) end",
    "xpcall(function() while true do redis.breakpoint() end end, function() while true do end end)",
    "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
]

SLOW = [
    "while true do end",
    "while true do pcall(function() while true do end end) end",
    "xpcall(function() while true do end end, function() while true do end end)",
    "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
]

# As deep as functions of C go in Lua, with a large buffer in each.
DEEP = "local function f(n) if n == 0 then return {last} end return ('x'):gsub('x', function() return f(n - 1) end) end {do_it}"


def endless_scripts_end(port):
    """Whatever a script does when its client has gone, it is ended; so is code of the client's that does not end."""
    seed(port)
    command(port, "config", "set", "busy-reply-threshold", 200)
    for source in ENDLESS:
        for parting in (b"", encode("c"), b"no command\r\n"):
            session = Session(port, "sync", f"local x = 1\n{source}", "k1")
            session.connection.socket.sendall(parting)
            session.connection.socket.close()
            expect(command(port, "ping"), b"PONG")
    session = Session(port, "yes", "local x = 1\nreturn x", "k1")
    for code in SLOW:
        assert b"takes too long" in session.say("e", *code.split())[0], code
    expect(session.say("e", "1", "+", "1"), [b"<retval> 2"])
    expect(session.end(), 1)
    # An abort is met in a function whose errors are handled by what does not end.
    session = Session(port, "yes", "xpcall(function()\nreturn 1\nend, function() while true do end end)\nreturn 2", "k1")
    session.say("b", "2")
    assert b"Stopped at 2" in session.say("c")[0]
    expect(session.say("a"), [b"<endsession>"])
    expect(session.connection.read(), 2)
    script = "local function g()\nreturn ''\nend\n" + DEEP.format(last="g()", do_it="return f(150)")
    session = Session(port, "yes", script, "k1")
    session.say("b", "2")
    assert b"break point" in session.say("c")[0]
    code = DEEP.format(last="''", do_it="return f(150)")
    assert b"<retval>" in session.say("e", *code.split())[0]
    session.connection.socket.close()


def much_is_bounded(port):
    """Large commands of the client's, and large values of the script's, cost what they are allowed to."""
    session = Session(port, "yes", "local s = string.rep('x', 3e7); local t = {}; for i = 1, 1e5 do t[i] = s end\n"
                      "redis.debug(t, t, t)\nredis.breakpoint()\nreturn redis.call('ECHO', s):len()")
    for words in (("m", "0"), ("c",), ("p", "t"), ("p",), ("e", "string.rep('x',", "1e8)"), ("r", "echo", "x" * 1000)):
        lines = session.say(*words)
        assert 0 < sum(map(len, lines)) < 20 << 20, words
    session.connection.send(encode("r", "ping", *["x" * 1000] * 1000) + encode("p", "KEYS"))
    session.connection.read()
    expect(session.connection.read(), [b"<value> {}"])
    expect(session.end(), 30_000_000)


def refuses(port, is_larder=True):
    """What cannot be debugged, in Redis's words."""
    connection = Connection(port)

    def say(*words):
        connection.send(encode(*words))
        return connection.read()

    expect(say("script", "debug", "maybe"), Refused("ERR Use SCRIPT DEBUG YES/SYNC/NO"))
    expect(say("script", "debug"), Refused("ERR wrong number of arguments for 'script|debug' command"))
    connection.send(encode("ping") + encode("script", "debug", "yes"))
    expect((connection.read(), connection.read()), (b"PONG", Refused("ERR SCRIPT DEBUG must be called outside a pipeline")))
    expect((say("multi"), say("script", "debug", "yes")), (b"OK", b"QUEUED"))
    expect(say("exec"), [Refused("ERR SCRIPT DEBUG must be called outside a pipeline")])
    assert "not allowed from script" in str(say("eval", "return redis.call('script', 'debug', 'yes')", 0))
    sha = say("script", "load", "return 1").decode()
    expect(say("script", "debug", "yes"), b"OK")
    expect(say("evalsha", sha, 0), Refused("ERR Please use EVAL instead of EVALSHA for debugging"))
    assert str(say("evalsha", "short", 0)).startswith("NOSCRIPT")
    expect(say("script", "debug", "no"), b"OK")
    expect(say("evalsha", sha, 0), 1)
    expect(say("eval", "return {redis.breakpoint(), redis.debug('x')}", 0), [None])
    if is_larder:
        say("script", "debug", "yes")
        say("multi")
        say("eval", "return 1", 0)
        expect(say("exec"), [Refused("ERR a script is not debugged within MULTI")])
        expect(say("reset"), b"RESET")
        expect(say("eval", "return 1", 0), 1)


def looks_at_too_much(port):
    """A session that would copy more keys than it may says so."""
    command(port, "flushall")
    command(port, "eval", "for n = 1, 100001 do redis.call('set', n, n) end", 0)
    session = Session(port, "yes", "return redis.pcall('dbsize')")
    reply = session.end()
    assert "SCRIPT DEBUG SYNC" in str(reply), reply
    session = Session(port, "yes", "return {redis.call('get', '7'), redis.call('del', '7'), redis.call('exists', '7')}")
    expect(session.end(), [b"7", 1, 0])
    expect((command(port, "get", "7"), command(port, "dbsize")), (b"7", 100001))


def main():
    """Runs everything."""
    options = parser(__doc__).parse_args()
    with Server(options.server_command) as larder, Server(REDIS_COMMAND) as redis:
        larder.start()
        redis.start()
        passed = [
            attempt(compare, larder.port, redis.port),
            attempt(refuses, larder.port),
            attempt(refuses, redis.port, False),
            attempt(stays_apart, larder.port),
            attempt(every_kind_stays_apart, larder.port),
            attempt(stays_in_sync, larder.port),
            attempt(looks_at_too_much, larder.port),
            attempt(much_is_bounded, larder.port),
            attempt(endless_scripts_end, larder.port),
            attempt(goes_away, larder),
        ]
        larder.keep |= not all(passed)
    sys.exit(not all(passed))


if __name__ == "__main__":
    main()
