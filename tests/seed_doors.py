"""The doors of the systems Larder descends from, seen from outside: hustdb, hustcache and the JSON store.

    pairs, tables     every endpoint of /hustdb: status, body, Version and VerError compared
    parameters        bodies that override, what is missing, what is wrong, methods, decoding
    listings          pages, base64, order of fields, counts, exports and pages over them
    duplicates        writes that another server has made already, with its versions
    binlog            what another server has missed comes to it, over a kill of either
    shared data       RESP sees what hustdb wrote, hustdb notices what RESP changed, a killed server keeps it
    access            passwords and their realm, addresses that are cut off
    hustcache, JSON   every endpoint

What this deliberately is not: a client library's test. Requests are written as hustdb's documentation has them. Prints how
many answers were compared; exit status 1 at the first that differs, with the request.
"""

import base64
import http.client
import json
import sys
import time
import zlib

from resp import Connection
from support import Server, free_port, parser

compared = 0


def request(port, method, path, body=None, headers=None):
    """One request on a connection of its own: status, headers, body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


class Door:
    """One port and the path that everything asked there begins with."""

    def __init__(self, port, base):
        self.port, self.base = port, base

    def ask(self, path, want, body=None, method="GET", data=None, headers=None, **wanted_headers):
        """Compares status, body and the named headers; `_` in a name stands for `-`, None for a header that is not there."""
        global compared
        status, got_headers, got = request(self.port, method, self.base + path, data, headers)
        got_headers_wanted = {name: got_headers.get(name.replace("_", "-")) for name in wanted_headers}
        expected = (want, got if body is None else body, wanted_headers)
        if (status, got, got_headers_wanted) != expected:
            print(f"{method} {self.base}{path} {data!r}\n  got      {(status, got, got_headers_wanted)}\n  expected {expected}")
            sys.exit(1)
        if got_headers.get("Content-Length") != str(len(got)):
            sys.exit(f"{method} {path}: Content-Length {got_headers.get('Content-Length')} for {len(got)} bytes")
        compared += 1
        return got

    def items(self, path, count, total=0):
        """A listing: its items as dicts, whose order of fields is kept."""
        return json.loads(self.ask(path, 200, Keys=str(count), TotalCount=str(total)))


def check(is_right, what):
    """Ends the program unless something holds."""
    global compared
    if not is_right:
        sys.exit(f"not as it should be: {what}")
    compared += 1


def wait_until(holds, what):
    """Ends the program unless something comes to hold."""
    for _ in range(600):
        if holds():
            return check(True, what)
        time.sleep(0.05)
    return check(False, what)


def pairs(db):
    """Checklist 1: put, get, del, versions, their conflicts."""
    db.ask("exist?key=k", 404, b"", Version="0")
    db.ask("put?key=k&val=one", 200, b"", Version="1", VerError="false")
    db.ask("get?key=k", 200, b"one", Version="1", Content_Type="text/plain")
    db.ask("exist?key=k", 200, b"", Version="1")
    db.ask("put?key=k&val=two&ver=1", 200, b"", Version="2", VerError="false")
    db.ask("put?key=k&val=three&ver=1", 401, b"", Version="2", VerError="true")
    db.ask("put?key=absent&val=v&ver=3", 401, b"", Version="0", VerError="false")
    db.ask("del?key=absent&ver=3", 404, b"", Version="0", VerError="false")
    db.ask("del?key=k&ver=1", 401, b"", Version="2", VerError="true")
    db.ask("del?key=k&ver=2", 200, b"", Version="2", VerError="false")
    db.ask("get?key=k", 404, b"", Version="0")
    for version in range(70):
        db.ask(f"put?key=cas&val={version}&ver={version}", 200, b"", Version=str(version + 1))
        db.ask("get?key=cas", 200, str(version).encode(), Version=str(version + 1))
    db.ask("put?key=t&val=v&ttl=1", 200)
    db.ask("put?key=long&val=v&ttl=99999999", 200)
    time.sleep(1.1)
    db.ask("get?key=t", 404, b"", Version="0")
    db.ask("get?key=long", 200, b"v")


def parameters(db):
    """Checklist 2, and what stands about parameters and bodies."""
    db.ask("put?key=b&val=query", 200, data=b"body")
    db.ask("get?key=b", 200, b"body")
    db.ask("put?key=b", 200, method="POST", data=b"\x00posted")
    db.ask("get?key=b", 200, b"\x00posted")
    db.ask("put?key=b&val=query", 404, b"", method="POST", data=b"")
    for missing in ["put?key=b", "put?val=b", "get", "get?key=", "get?Key=b", "hget?tb=t", "hget?key=f", "zadd?tb=z&key=m"]:
        db.ask(missing, 404, b"")
    for method in ["PUT", "DELETE", "HEAD"]:
        db.ask("get?key=b", 405, b"", method=method)
    db.ask("get?key=b", 405, b"", method="POST", data=b"x")
    db.ask("nothing", 404, b"")
    db.ask("put?key=a%20b%2Fc%3Fd&val=1+2%20", 200)
    db.ask("get?key=a%20b/c?d", 200, b"1+2%20")
    db.ask("get?key=a%2", 400, b"")
    db.ask("put?key=x&key=last&val=v", 200)
    db.ask("get?key=last", 200, b"v")
    for name in ["a-b", "a%20b", "x" * 65]:
        db.ask(f"hset?tb={name}&key=f&val=v", 400, b"")
    db.ask(f"hset?tb={'x' * 64}&key=f&val=v", 200)
    db.ask("put?key=b&val=v&ver=4294967295", 400, b"")
    db.ask("put?key=b&val=v&ver=12abc", 401, b"", VerError="true")
    large = b"0123456789" * 400_000
    db.ask("put?key=large", 200, method="POST", data=large)
    db.ask("get?key=large", 200, large)
    packed = db.ask("get?key=large", 200, headers={"Accept-Encoding": "deflate"}, Content_Encoding="deflate")
    check(zlib.decompress(packed) == large, "the deflated value")
    db.ask("get?key=large", 200, large, headers={"Accept-Encoding": "gzip, deflate"}, Content_Encoding=None)


def tables(db):
    """Checklist 3 and 5: hashes, sets, sorted sets."""
    db.ask("hget?tb=h&key=f", 412, b"", Version="0")
    db.ask("hset?tb=h&key=f&val=5", 200, b"", Version="1", VerError="false")
    db.ask("hset?tb=h&key=f", 200, b"", method="POST", data=b"7", Version="2")
    db.ask("hget?tb=h&key=f", 200, b"7", Version="2")
    db.ask("hexist?tb=h&key=f", 200, b"", Version="2")
    db.ask("hexist?tb=h&key=g", 404, b"", Version="0")
    db.ask("hincrby?tb=h&key=f&val=-9", 200, b"-2", Version="3", VerError="false")
    db.ask("hincrby?tb=h&key=new&val=4", 200, b"4", Version="1")
    db.ask("hset?tb=h&key=text&val=x", 200)
    db.ask("hincrby?tb=h&key=text&val=1", 403, b"")
    db.ask("hset?tb=h&key=f&val=1&ver=2", 401, b"", Version="3", VerError="true")
    db.ask("hset?tb=h&key=none&val=1&ver=2", 401, b"", Version="0", VerError="false")
    db.ask("sadd?tb=h&key=m", 412, b"")
    db.ask("zscore?tb=h&key=m", 412, b"")
    db.ask("hdel?tb=h&key=f&ver=2", 401, b"", Version="3", VerError="true")
    db.ask("hdel?tb=h&key=f&ver=3", 200, b"", Version="3", VerError="false")
    for name in ["new", "text"]:
        db.ask(f"hdel?tb=h&key={name}", 200, Version="1")
    db.ask("hdel?tb=h&key=f", 412, b"")
    db.ask("hget?tb=h&key=f", 412, b"", Version="0")

    db.ask("sadd?tb=s&key=a%20b", 200, b"", Version="1", VerError="false")
    db.ask("sismember?tb=s&key=a%20b", 200, b"", Version="1")
    db.ask("sismember?tb=s", 404, b"", method="POST", data=b"a b", Version="0")
    db.ask("sadd?tb=s", 200, b"", method="POST", data=b"a b", Version="1")
    db.ask("sadd?tb=s", 200, b"", method="POST", data=b"a b", Version="2")
    db.ask("srem?tb=s&ver=1", 401, b"", method="POST", data=b"a b", Version="2", VerError="true")
    db.ask("srem?tb=s&ver=2", 200, b"", method="POST", data=b"a b", Version="2", VerError="false")
    db.ask("srem?tb=s", 404, b"", method="POST", data=b"a b", Version="0")
    db.ask("sadd?tb=s&key=short&ttl=1", 200)
    time.sleep(1.3)
    db.ask("sismember?tb=s&key=short", 404, b"", Version="0")

    db.ask("zadd?tb=z&key=m&score=10", 200, b"10", Version="1", VerError="false")
    db.ask("zadd?tb=z&key=m&score=10&ver=1", 200, b"10", Version="1", VerError="false")
    db.ask("zadd?tb=z&key=m&score=5&opt=1", 200, b"15", Version="2")
    db.ask("zadd?tb=z&key=m&score=20&opt=-1", 200, b"-5", Version="3")
    db.ask("zadd?tb=z&key=m&score=1&ver=9", 401, b"", Version="3", VerError="true")
    db.ask("zadd?tb=z&score=7", 200, b"7", method="POST", data=b"a%20b")
    db.ask("zscore?tb=z&key=a%2520b", 200, b"7", Version="1")
    db.ask("zismember?tb=z", 200, b"", method="POST", data=b"m", Version="3")
    db.ask("zscore?tb=z&key=m", 200, b"-5", Version="3")
    db.ask("zrem?tb=z&key=m&ver=3", 200, b"", Version="3", VerError="false")
    db.ask("zrem?tb=z&key=m", 404, b"", Version="0")
    db.ask("zrem?tb=none&key=m", 412, b"")


def b64(text):
    return base64.b64encode(text.encode()).decode()


def listings(db):
    """Checklist 4 and 5: pages, limits, counts, exports."""
    for number in range(25):
        db.ask(f"hset?tb=list&key=f{number:02}&val=v{number}", 200)
    first = db.items("hkeys?tb=list&offset=0&size=10&noval=false", 10)
    rest = db.items("hkeys?tb=list&offset=10&size=1000&noval=false", 15)
    check({item["key"] for item in first + rest} == {b64(f"f{number:02}") for number in range(25)}, "every field once")
    check(all(list(item) == ["key", "val", "ver"] for item in first), f"the order of fields: {first[0]}")
    check({item["val"] for item in first + rest} == {b64(f"v{number}") for number in range(25)}, "values")
    check(list(db.items("hkeys?tb=list&offset=0&size=1", 1)[0]) == ["key", "ver"], "no values unless asked for")
    halves = [db.items(f"hkeys?tb=list&offset=0&size=1000&start={start}&end={start + 512}", count) for start, count in
              [(0, sum(bucket(f"f{n:02}") < 512 for n in range(25))), (512, sum(bucket(f"f{n:02}") >= 512 for n in range(25)))]]
    check(len(halves[0]) + len(halves[1]) == 25, "buckets part the table")
    for wrong in ["size=1001", "size=-1", "size=1&start=5&end=5", "size=1&end=1025", "size=1&offset=1000001"]:
        path = wrong if "offset" in wrong else f"offset=0&{wrong}"
        db.ask(f"hkeys?tb=list&{path}", 400, b"")
    for missing in ["hkeys?tb=list&offset=0", "hkeys?tb=list&size=1", "keys?offset=0&size=1", "smembers?offset=0&size=1"]:
        db.ask(missing, 404, b"")
    db.ask("hkeys?tb=none&offset=0&size=1", 412, b"")
    db.ask("smembers?tb=list&offset=0&size=1", 412, b"")
    db.ask("sadd?tb=members&key=one&ttl=1000", 200)
    member = db.items("smembers?tb=members&offset=0&size=10", 1)[0]
    check(list(member) == ["key", "ver", "ttl"] and abs(member["ttl"] - time.time() - 1000) < 10, f"a member: {member}")

    for name, score in [("c", 30), ("a", 10), ("b", 20)]:
        db.ask(f"zadd?tb=ranks&key={name}&score={score}", 200)
    ranks = db.items("zrangebyrank?tb=ranks&offset=0&size=10", 3)
    check([(item["key"], item["val"]) for item in ranks] == [(b64("a"), "10"), (b64("b"), "20"), (b64("c"), "30")], ranks)
    check([item["val"] for item in db.items("zrangebyrank?tb=ranks&offset=1&size=1", 1)] == ["20"], "the second")
    scored = db.items("zrangebyscore?tb=ranks&min=10&max=20&offset=0&size=10", 2)
    check([item["val"] for item in scored] == ["10", "20"], "both bounds are included")
    db.ask("zrangebyscore?tb=ranks&min=2&max=1&offset=0&size=10", 400, b"")
    outside = (bucket("ranks") + 1) % 1024
    db.ask(f"zrangebyrank?tb=ranks&offset=0&size=10&start={outside}&end={outside + 1}", 412, b"")

    count = int(db.ask("file_count", 200))
    everything = [item for file in range(count) for item in
                  json.loads(db.ask(f"keys?file={file}&offset=0&size=1000&noval=false", 200))]
    check({item["key"] for item in everything if item.get("tb") == "list"} == {b64(f"f{n:02}") for n in range(25)}, "files")
    check({item["ty"] for item in everything if "ty" in item} == {"H", "S", "Z"}, "kinds of tables")
    check([list(i) for i in everything if i.get("tb") == "members"] == [["key", "ver", "ttl", "tb", "ty"]], "order in files")
    db.ask(f"keys?file={count}&offset=0&size=1", 400, b"")

    db.ask("hkeys?tb=list&offset=0&size=10&async=true", 500, b"")
    token = db.ask("export?tb=list", 200)
    db.ask(f"task_status?token={token.decode()}", 200, b"2")
    db.ask("task_status?token=777", 200, b"3")
    db.ask("task_status", 404, b"")
    db.ask("hset?tb=list&key=later&val=v", 200)
    check(len(db.items("hkeys?tb=list&offset=20&size=10&async=true", 5, total=25)) == 5, "a page of the snapshot")
    db.ask("hkeys?tb=list&offset=0&size=10&async=true&noval=false", 500, b"")
    db.ask("export?tb=list", 404, b"")
    db.ask("export?tb=list&cover=true", 200)
    db.items("hkeys?tb=list&offset=20&size=10&async=true", 6, total=26)
    db.ask("export?file=0&offset=5", 400, b"")
    db.ask("export?tb=unknown", 412, b"")
    db.ask("export", 404, b"")
    check(json.loads(db.ask("task_info", 200)) == {"undo": "0", "doning": 0, "done": 1}, "tasks")

    stat = db.ask("stat?tb=list", 200)
    check(stat.startswith(b'{"table":"list","type":"H","count":26,"size":'), stat)
    db.ask("stat?tb=ranks", 200, b'{"table":"ranks","type":"Z","count":3}')
    db.ask("stat?tb=unknown", 404, b"")
    db.ask("stat?tb=a-b", 400, b"")
    total = db.ask("stat", 200)
    check(total.startswith(b'{"TOTALIZE":{"KVPAIR":{"count":') and b'"HASHTABLE":{"count":' in total, total)
    every = json.loads(db.ask("stat_all", 200))
    check("TOTALIZE" in every[0] and {"table": "ranks", "type": "Z", "count": 3} in every[1:], every)
    check(b"used_memory" in db.ask("info", 200), "statistics")


def bucket(name):
    value = 0
    for byte in name.encode():
        value = (value * 31 + byte) % (1 << 64)
    return value % 1024


def shared(db, server):
    """RESP and hustdb over the same data, and over a kill."""
    resp = Connection(server.port)
    db.ask("put?key=shared&val=v", 200, Version="1")
    check(resp.call("GET", "shared") == b"v", "a pair is a string")
    resp.call("SET", "shared", "w")
    db.ask("put?key=shared&val=x&ver=1", 401, b"", Version="2", VerError="true")
    db.ask("hset?tb=both&key=f&val=1", 200, Version="1")
    check(resp.call("HGET", "both", "f") == b"1", "a table is a hash")
    resp.call("HSET", "both", "f", "2")
    db.ask("hget?tb=both&key=f", 200, b"2", Version="2")
    resp.call("DEL", "both")
    db.ask("hget?tb=both&key=f", 412, b"", Version="0")
    resp.call("HSET", "both", "f", "3")
    db.ask("hset?tb=both&key=f&val=4&ver=1", 200, Version="2")
    db.ask("put?key=both&val=pair", 200, Version="1")
    db.ask("get?key=both", 200, b"pair")
    db.ask("hget?tb=both&key=f", 200, b"4", Version="2")
    db.ask("zadd?tb=kept&key=m&score=1&ttl=1000", 200, Version="1")
    db.ask("zadd?tb=kept&key=m&score=2", 200, Version="2")
    server.kill9()
    server.start()
    db.ask("hget?tb=both&key=f", 200, b"4", Version="2")
    db.ask("get?key=both", 200, b"pair", Version="1")
    db.ask("zadd?tb=kept&key=m&score=1&opt=1&ver=2", 200, b"3", Version="3")
    resp = Connection(server.port)
    resp.call("HSET", "both", "f", "5")
    db.ask("hget?tb=both&key=f", 200, b"5", Version="3")


def duplicates(db):
    """`is_dup`: a write that another server has made keeps its version, and counts where it is not older."""
    for path, look, old in [("put?key=dup&val={}", "get?key=dup", b"a"), ("hset?tb=dups:h&key=f&val={}", "hget?tb=dups:h&key=f", b"a"),
                            ("sadd?tb=dups:s&key=f", "sismember?tb=dups:s&key=f", b""),
                            ("zadd?tb=dups:z&key=f&score={}", "zscore?tb=dups:z&key=f", b"5")]:
        value, other = (b"5", b"6") if "score" in path else (b"a", b"b") if "val" in path else (b"", b"")
        told = value if "score" in path else b""
        first = path.format(value.decode())
        db.ask(f"{first}&is_dup=1", 401, b"", Version="0", VerError="false")
        db.ask(f"{first}&is_dup=true&ver=7", 200, told, Version="7", VerError="false")
        db.ask(look, 200, old, Version="7")
        db.ask(f"{path.format(other.decode())}&is_dup=1&ver=6", 200, Version="7", VerError="true")
        db.ask(look, 200, old, Version="7")
        db.ask(f"{path.format(other.decode())}&is_dup=1&ver=7", 200, Version="7", VerError="false")
        db.ask(look, 200, other, Version="7")
        db.ask(f"{first}&ver=7", 200, Version="8", VerError="false")
        db.ask(f"{first}&is_dup=1&ver=4194300", 200, Version="4194300", VerError="false")
        db.ask(f"{path.format(other.decode())}&is_dup=1&ver=3", 200, Version="3", VerError="false")
        db.ask(f"{first}&is_dup=1&ver=4194304", 400, b"")
        db.ask(look, 200, other, Version="3")
    for path in ["del?key=dup", "hdel?tb=dups:h&key=f", "srem?tb=dups:s&key=f", "zrem?tb=dups:z&key=f"]:
        db.ask(f"{path}&is_dup=1&ver=2", 200, b"", Version="3", VerError="true")
        db.ask(f"{path}&is_dup=1&ver=0", 200, b"", Version="3", VerError="false")
    db.ask("hincrby?tb=dups:h&key=n&val=5&is_dup=1&ver=9", 200, b"5", Version="9")
    db.ask("hincrby?tb=dups:h&key=n&val=5&is_dup=1&ver=8", 200, Version="9", VerError="true")


def binlog(db, server, template):
    """`binlog`: what another server has missed comes to it when it answers again."""
    peer_port = free_port()
    peer = Server(template.replace(f"--http-port {db.port}", f"--http-port {peer_port}"))
    host = f"127.0.0.1:{peer_port}"
    for path in ["binlog", f"binlog?host={host}", f"binlog?host={host}&method=1", "binlog?method=1&key=k", f"binlog?host={host}&key=k"]:
        db.ask(path, 404, b"")
    for path in ["host=x&method=1&key=k", "host=127.0.0.1&method=1&key=k", f"host={'1' * 33}:80&method=1&key=k",
                 f"host={host}&method=0&key=k", f"host={host}&method=9&key=k", f"host={host}&method=3&key=k",
                 f"host={host}&method=3&tb=a-b&key=k"]:
        db.ask(f"binlog?{path}", 400, b"")
    db.ask(f"binlog?host={host}&method=1&key=k", 405, b"", method="PUT")
    db.ask("hincrby?tb=missed:h&key=n&val=1&host=nowhere", 400, b"")

    db.ask("put?key=missed%20pair&val=one&ttl=1000", 200, Version="1")
    db.ask("put?key=missed%20pair&val=two&ttl=1000", 200, Version="2")
    db.ask(f"binlog?host={host}&method=1&key=missed%20pair", 200, b"")
    db.ask("hset?tb=missed:h&key=f", 200, method="POST", data=bytes(range(256)))
    db.ask(f"binlog?host={host}&method=3&tb=missed:h&key=f", 200, b"")
    db.ask(f"hincrby?tb=missed:h&key=n&val=41&host={host}", 200, b"41", Version="1")
    db.ask("sadd?tb=missed:s", 200, method="POST", data=b"a\x00 b")
    db.ask(f"binlog?host={host}&method=5&tb=missed:s", 200, b"", method="POST", data=b"a\x00 b")
    db.ask("zadd?tb=missed:z&key=m&score=-12", 200)
    db.ask(f"binlog?host={host}&method=7&tb=missed:z&key=m", 200, b"")
    db.ask("put?key=anew&val=anew", 200, Version="1")
    db.ask("put?key=short&val=v", 200, Version="1")
    db.ask("put?key=short&val=w&ttl=1", 200, Version="2")
    db.ask(f"binlog?host={host}&method=1&key=short", 200, b"")
    time.sleep(1.1)
    db.ask("get?key=short", 404)
    db.ask("put?key=ahead&val=v&is_dup=1&ver=5000", 200, Version="5000")
    for path in ["method=2&key=removed", "method=4&tb=missed:h&key=removed", "method=6&tb=missed:s&key=removed",
                 "method=8&tb=missed:z&key=removed", "method=2&key=anew", "method=1&key=anew", "method=1&key=never"]:
        db.ask(f"binlog?host={host}&{path}", 200, b"")
    resp = Connection(server.port)
    resp.call("SELECT", "2")
    check(resp.call("HLEN", "hustdb:binlog") == 12, "a record for each but what never was there")
    resp.call("HSET", "hustdb:binlog", "no record", "at all")
    server.kill9()
    server.start()
    db.ask("get?key=ahead", 200, b"v", Version="5000")

    with peer:
        peer.start()
        there = Door(peer_port, "/hustdb/")
        there.ask("put?key=removed&val=v", 200)
        there.ask("put?key=short&val=old", 200)
        there.ask("put?key=anew&val=old&is_dup=1&ver=30", 200)
        there.ask("put?key=never&val=kept", 200)
        for tb, write in [("missed:h", "hset?tb={}&key=removed&val=v"), ("missed:s", "sadd?tb={}&key=removed"),
                          ("missed:z", "zadd?tb={}&key=removed&score=1")]:
            there.ask(write.format(tb), 200)
        resp = Connection(server.port)
        resp.call("SELECT", "2")
        wait_until(lambda: resp.call("HLEN", "hustdb:binlog") == 0, "the log has been sent")
        there.ask("get?key=missed%20pair", 200, b"two", Version="2")
        check(990 < Connection(peer.port).call("TTL", "missed pair") <= 1000, "its time to live came along")
        there.ask("hget?tb=missed:h&key=f", 200, bytes(range(256)), Version="1")
        there.ask("hget?tb=missed:h&key=n", 200, b"41", Version="1")
        there.ask("sismember?tb=missed:s", 200, b"", method="POST", data=b"a\x00 b", Version="1")
        there.ask("zscore?tb=missed:z&key=m", 200, b"-12", Version="1")
        there.ask("get?key=never", 200, b"kept")
        there.ask("get?key=anew", 200, b"anew", Version="1")
        there.ask("get?key=short", 404)
        for path in ["get?key=removed", "hget?tb=missed:h&key=removed", "sismember?tb=missed:s&key=removed", "zscore?tb=missed:z&key=removed"]:
            there.ask(path, 404, b"")

        there.ask("put?key=missed%20pair&val=newer&is_dup=1&ver=9", 200, Version="9")
        db.ask(f"binlog?host={host}&method=1&key=missed%20pair", 200, b"")
        wait_until(lambda: resp.call("HLEN", "hustdb:binlog") == 0, "an older write is sent, too")
        there.ask("get?key=missed%20pair", 200, b"newer", Version="9")

        Connection(peer.port).call("CONFIG", "SET", "requirepass", "other")
        db.ask("put?key=missed%20pair&val=newest&is_dup=1&ver=10", 200, Version="10")
        db.ask(f"binlog?host={host}&method=1&key=missed%20pair", 200, b"")
        time.sleep(1.5)
        check(resp.call("HLEN", "hustdb:binlog") == 1, "a record stays while its server wants to know who asks")
        resp.call("CONFIG", "SET", "hustdb-binlog-auth", "default:other")
        time.sleep(1.5)
        check(resp.call("HLEN", "hustdb:binlog") == 1, "nobody is told a password who is not listed")
        resp.call("CONFIG", "SET", "hustdb-binlog-hosts", host)
        db.ask("binlog?host=127.0.0.1:1&method=1&key=missed%20pair", 400, b"")
        wait_until(lambda: resp.call("HLEN", "hustdb:binlog") == 0, "who says so is let in")
        login = {"Authorization": "Basic " + base64.b64encode(b"default:other").decode()}
        there.ask("get?key=missed%20pair", 200, b"newest", Version="10", headers=login)

    db.ask(f"binlog?host={host}&method=1&key=missed%20pair", 200, b"")
    resp.call("CONFIG", "SET", "hustdb-binlog-timeout", "1")
    wait_until(lambda: resp.call("HLEN", "hustdb:binlog") == 0, "what is too old is given up")
    wait_until(lambda: b"hustdb-binlog" not in resp.call("CLIENT", "LIST"), "who sends is gone when there is nothing to be sent")


def cache(door, server):
    """hustcache: every endpoint."""
    door.ask("exist?key=k", 404, b"", Version=None)
    door.ask("put?key=k&val=v", 200, b"", Version=None, VerError=None)
    door.ask("get?key=k", 200, b"v")
    door.ask("exist?key=k", 200, b"")
    door.ask("ttl?key=k", 200, b"-1")
    door.ask("append?key=k", 200, b"", method="POST", data=b"w")
    door.ask("append?key=new&val=x", 200, b"")
    door.ask("get?key=k", 200, b"vw")
    door.ask("expire?key=k&ttl=100", 200, b"")
    door.ask("ttl?key=k", 200, b"100")
    door.ask("persist?key=k", 200, b"")
    door.ask("ttl?key=k", 200, b"-1")
    for path in ["expire?key=none&ttl=1", "persist?key=none", "ttl?key=none", "del?key=none", "expire?key=k", "put?key=k",
                 "put?key=k&val=v&ttl=0", "put?key=k&val=v&ttl=x", "hget?tb=t&key=f", "hdel?tb=t&key=f", "hset?key=f&val=v"]:
        door.ask(path, 404, b"")
    door.ask("put?key=short&val=v&ttl=1", 200)
    time.sleep(1.1)
    door.ask("get?key=short", 404, b"")
    door.ask("del?key=k", 200, b"")
    door.ask("hset?tb=any%20name&key=f", 200, b"", method="POST", data=b"5")
    door.ask("hget?tb=any%20name&key=f", 200, b"5")
    door.ask("hexist?tb=any%20name&key=f", 200, b"")
    door.ask("hincrby?tb=any%20name&key=f&val=-7", 200, b"-2")
    door.ask("hincrbyfloat?tb=any%20name&key=f&val=0.5", 200, b"-1.5")
    door.ask("hincrby?tb=any%20name&key=f&val=1", 404, b"")
    door.ask("hincrbyfloat?tb=any%20name&key=f&val=x", 404, b"")
    door.ask("hdel?tb=any%20name&key=f", 200, b"")
    door.ask("hget?tb=any%20name&key=f", 404, b"")
    door.ask("put?key=k", 405, b"", method="DELETE")
    door.ask("put?key=large", 401, b"", method="POST", data=b"x" * ((8 << 20) + 1))
    check(Connection(server.port).call("EXISTS", "new") == 0, "hustcache is apart from the keys")
    Connection(server.port).call("CONFIG", "SET", "hustcache-maxmemory", "0")
    door.ask("get?key=new", 500, b"")
    Connection(server.port).call("CONFIG", "SET", "hustcache-maxmemory", "64mb")
    door.ask("get?key=new", 200, b"x")


def json_store(door, server):
    """The JSON store: its three requests, and what is refused."""
    door.ask("key", 404, b'{"error":"key not found"}', Content_Type="application/json")
    value = json.dumps({"value": 'a "quoted" grüße'}).encode()
    door.ask("key", 200, b'{"success":true}', method="POST", data=value, headers={"Content-Type": "application/json"})
    check(json.loads(door.ask("key", 200)) == json.loads(value), "a value comes back")
    check(Connection(server.port).call("GET", "key") == 'a "quoted" grüße'.encode(), "it is a string of RESP's")
    door.ask("a/b%20c", 200, b'{"success":true}', method="POST", data=b'{"value":""}')
    door.ask("a/b%20c", 200, b'{"value":""}')
    for body in [b"", b"{", b"[]", b"{}", b'{"value":1}']:
        check("error" in json.loads(door.ask("key", 400, method="POST", data=body)), body)
    for _ in range(2):
        door.ask("key", 200, b'{"success":true}', method="DELETE")
    door.ask("key", 404)
    door.ask("key", 405, method="PUT", data=b"{}")
    Connection(server.port).call("SET", "key", b"\xff")
    check("/v1" in json.loads(door.ask("key", 406))["error"], "who wants bytes is told where")
    Connection(server.port).call("HSET", "hash", "f", "v")
    door.ask("hash", 409)


def access(db, cached, server):
    """Passwords and addresses."""
    login = base64.b64encode(b"default:secret").decode()
    Connection(server.port).call("CONFIG", "SET", "requirepass", "secret")
    for door in [db, cached]:
        door.ask("get?key=k", 401, b"", WWW_Authenticate='Basic realm="libevhtp"')
        wrong = {"Authorization": "Basic " + base64.b64encode(b"default:wrong").decode()}
        door.ask("nothing", 401, b"", headers=wrong, WWW_Authenticate='Basic realm="libevhtp"')
        door.ask("nothing", 404, b"", headers={"Authorization": f"Basic {login}"})
    db.ask("put?key=k&val=v", 200, headers={"Authorization": f"Basic {login}"})
    Door(db.port, "/").ask("status.html", 200, b"ok\n")
    resp = Connection(server.port)
    resp.call("AUTH", "secret")
    resp.call("CONFIG", "SET", "hustdb-allow", "10.1.2.3 ::1")
    for door in [db, cached]:
        try:
            request(door.port, "GET", door.base + "get?key=k", headers={"Authorization": f"Basic {login}"})
            sys.exit("who is not allowed was answered")
        except (http.client.RemoteDisconnected, ConnectionResetError):
            check(True, "cut off")
    resp.call("CONFIG", "SET", "hustdb-allow", "10.1.2.3 127.0.0.1")
    db.ask("get?key=k", 200, b"v", headers={"Authorization": f"Basic {login}"})


def main():
    """Runs everything against one server."""
    options = parser(__doc__).parse_args()
    http_port, hustdb_port, json_port = free_port(), free_port(), free_port()
    template = options.server_command.replace("--http-port 0", f"--http-port {http_port}")
    with Server(template, flags=f"--hustdb-port {hustdb_port} --json-port {json_port} --hustdb-binlog-interval 1") as server:
        server.start()
        db, cached = Door(http_port, "/hustdb/"), Door(http_port, "/hustcache/")
        pairs(db)
        parameters(db)
        tables(db)
        listings(db)
        shared(db, server)
        duplicates(db)
        binlog(db, server, template)
        cache(cached, server)
        json_store(Door(json_port, "/"), server)
        Door(hustdb_port, "/").ask("hustdb/get?key=long", 200, b"v", Version="1")
        Door(hustdb_port, "/").ask("v1/kv/long", 404)
        Door(http_port, "/").ask("status.html", 200, b"ok\n", method="POST", data=b"any")
        access(db, cached, server)
    print(f"seed doors: {compared} answers and facts as they should be")


if __name__ == "__main__":
    main()
