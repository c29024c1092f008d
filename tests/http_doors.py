"""The HTTP door as a black box: the native API by a plain HTTP client, what must be refused by raw sockets, and `curl`.

What this deliberately is not: a test of what commands do, which the golden scripts are. Each check is a function; its
name says what is true. Every one runs on an empty database of one server, but for those that need a server of their own.

Prints a line per check that fails; exit status 1 if any does.
"""

import base64
import http.client
import itertools
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
import traceback

from resp import Connection
from support import Server, attempt, free_port, parser

PASSWORD = "open sesame"
JSON = "application/json"
PROBLEM = "application/problem+json"


class Reply:
    """A status, headers and a body."""

    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    def json(self):
        """The body as JSON."""
        return json.loads(self.body)


class Door:
    """One server's HTTP port, and its RESP port."""

    def __init__(self, http_port: int, resp_port: int):
        self.http_port, self.resp_port = http_port, resp_port
        self.connection = http.client.HTTPConnection("127.0.0.1", http_port, timeout=20)

    def ask(self, method: str, path: str, body=None, **headers) -> Reply:
        """A request on the connection kept alive; `if_match=` is the header If-Match."""
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, body, named)
        return Reply(self.connection.getresponse())

    def command(self, *words, **headers):
        """The result of a command."""
        return self.ask("POST", "/v1/command", list(words), **headers).json()["result"]

    def resp(self, *words):
        """The same over RESP."""
        return Connection(self.resp_port).call(*words)

    def raw(self, sent: bytes, end: bool = True) -> bytes:
        """All that is answered to these bytes until the connection ends, or until nothing more comes when it does not."""
        with socket.create_connection(("127.0.0.1", self.http_port), timeout=15) as peer:
            peer.sendall(sent)
            if end:
                peer.shutdown(socket.SHUT_WR)
            said = b""
            try:
                while received := peer.recv(1 << 16):
                    said += received
            except ConnectionResetError:
                pass
            return said


def expect(got, wanted):
    """Fails unless they are equal."""
    if got != wanted:
        raise AssertionError(f"expected {wanted!r}, got {got!r}")


def expect_problem(reply: Reply, status: int, *words: str):
    """Fails unless the reply is a problem document with this status whose detail has these words."""
    expect((reply.status, reply.headers["content-type"]), (status, PROBLEM))
    problem = reply.json()
    expect(problem["status"], status)
    for word in words:
        if word not in problem["detail"]:
            raise AssertionError(f"{word!r} is not in {problem['detail']!r}")


def bytes_of_any_kind_come_back_as_they_were(door):
    value = bytes(range(256))
    for key, path in (("plain", "plain"), ("a/b c%\x00", "a%2Fb%20c%25%00"), ("ü", "%C3%BC")):
        put = door.ask("PUT", f"/v1/kv/{path}", value)
        expect((put.status, put.headers["larder-durability"] in ("os", "disk")), (204, True))
        got = door.ask("GET", f"/v1/kv/{path}")
        expect((got.status, got.body, got.headers["content-type"]), (200, value, "application/octet-stream"))
        expect(got.headers["etag"], put.headers["etag"])
        expect(door.resp("GET", key), value)
    head = door.ask("HEAD", "/v1/kv/plain")
    expect((head.status, head.body, head.headers["content-length"]), (200, b"", "256"))
    expect(door.ask("DELETE", "/v1/kv/plain").status, 204)
    expect_problem(door.ask("DELETE", "/v1/kv/plain"), 404)
    expect_problem(door.ask("GET", "/v1/kv/plain"), 404, "no such key")
    expect_problem(door.ask("GET", "/v1/kv/a%2"), 400, "hexadecimal")


def content_types_are_kept_and_told(door):
    stored = {"png": "image/png", "text": "Text/Plain; charset=utf-8", "page": "text/html", "drawing": "image/svg+xml"}
    for key, content_type in stored.items():
        expect(door.ask("PUT", f"/v1/kv/{key}", b"<b>", content_type=content_type).status, 204)
    for key, content_type in stored.items():
        for method, headers, status in (("GET", {}, 200), ("HEAD", {}, 200), ("GET", {"range": "bytes=0-1"}, 206)):
            got = door.ask(method, f"/v1/kv/{key}", **headers)
            expect((got.status, got.headers["content-type"]), (status, content_type))
            expect(got.headers["x-content-type-options"], "nosniff")
            runs = key in ("page", "drawing")
            expect(got.headers["content-security-policy"], "sandbox" if runs else None)
    # What is no news is not kept: the default, and what curl says of whatever it is given.
    for content_type in ("application/octet-stream", "application/x-www-form-urlencoded", ""):
        expect(door.ask("PUT", "/v1/kv/page", b"x", content_type=content_type).status, 204)
        got = door.ask("GET", "/v1/kv/page")
        expect(got.headers["content-type"], "application/octet-stream")
        expect((got.headers["x-content-type-options"], door.resp("GETVER", "page", "MEDIATYPE")[2]), (None, None))
    for wrong in ("text", "text/", "text/html, text/plain", "a/b; c", "x" * 300 + "/y", "multipart/x-mixed-replace"):
        expect_problem(door.ask("PUT", "/v1/kv/png", b"x", content_type=wrong), 400, "x-mixed" if "x-m" in wrong else "media type")
    expect(door.ask("GET", "/v1/kv/png").body, b"<b>")


def content_types_go_where_values_go(door):
    typed = lambda key: door.ask("GET", f"/v1/kv/{key}").headers["content-type"]
    door.ask("PUT", "/v1/kv/k?ttl=60s", b"{}", content_type="text/css", larder_sync="disk")
    door.resp("RENAME", "k", "m")
    door.resp("COPY", "m", "n")
    door.resp("APPEND", "n", "x")
    expect((typed("m"), typed("n")), ("text/css", "text/css"))
    door.resp("SET", "m", "x")
    door.resp("DEL", "n")
    door.resp("SET", "n", "x")
    expect((typed("m"), typed("n")), ("application/octet-stream",) * 2)
    door.ask("PUT", "/v1/kv/short?ttl=50ms", b"x", content_type="text/css")
    time.sleep(0.1)
    door.resp("SET", "short", "x")
    expect(typed("short"), "application/octet-stream")


def what_was_put_as_json_is_not_told_within_a_string(door):
    door.ask("PUT", "/v1/kv/json", b'{"a": 1}', content_type=JSON)
    door.ask("PUT", "/v1/kv/text", b'{"a": 1}', content_type="text/plain")
    expect(door.ask("GET", "/v1/kv/json", accept=JSON).json(), {"a": 1})
    expect(door.ask("GET", "/v1/kv/text", accept=JSON).json(), '{"a": 1}')


def an_empty_value_is_a_value(door):
    expect(door.ask("PUT", "/v1/kv/e", b"").status, 204)
    expect((door.ask("GET", "/v1/kv/e").status, door.resp("EXISTS", "e")), (200, 1))


def versions_are_compared_and_set(door):
    first = door.ask("PUT", "/v1/kv/k", b"1", if_none_match="*").headers["etag"]
    expect_problem(door.ask("PUT", "/v1/kv/k", b"2", if_none_match="*"), 412)
    second = door.ask("PUT", "/v1/kv/k", b"2", if_match=first)
    expect(second.status, 204)
    for stale in (first, '"0"', '"nonsense"'):
        expect_problem(door.ask("PUT", "/v1/kv/k", b"3", if_match=stale), 412)
    expect_problem(door.ask("DELETE", "/v1/kv/k", if_match=first), 412)
    for method, malformed in itertools.product(("PUT", "DELETE"), (second.headers["etag"].strip('"'), "nonsense", '"', "")):
        expect_problem(door.ask(method, "/v1/kv/k", b"3", if_match=malformed), 400)
    expect(door.ask("GET", "/v1/kv/k", if_none_match=second.headers["etag"]).status, 304)
    expect(door.ask("GET", "/v1/kv/k", if_none_match=first).body, b"2")
    expect(door.ask("PUT", "/v1/kv/k", b"4", if_match="*").status, 204)
    expect_problem(door.ask("PUT", "/v1/kv/other", b"4", if_match="*"), 412)
    last = door.ask("HEAD", "/v1/kv/k").headers["etag"]
    expect(door.ask("DELETE", "/v1/kv/k", if_match=last).status, 204)
    expect_problem(door.ask("PUT", "/v1/kv/k", b"5", if_match=last), 412)
    expect_problem(door.ask("PUT", "/v1/kv/k", b"5", if_match="*", if_none_match="*"), 412)


def of_many_who_set_the_same_version_one_wins(door):
    tag = door.ask("PUT", "/v1/kv/k", b"0").headers["etag"]
    statuses = []

    def race(number):
        one = Door(door.http_port, door.resp_port)
        statuses.append(one.ask("PUT", "/v1/kv/k", str(number).encode(), if_match=tag).status)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(sorted(statuses), [204] + [412] * 7)


def values_end_when_they_are_told_to(door):
    door.ask("PUT", "/v1/kv/k?ttl=100", b"x")
    expect(90 < door.resp("TTL", "k") <= 100, True)
    door.ask("PUT", "/v1/kv/k?ttl=5m", b"x")
    expect(290 < door.resp("TTL", "k") <= 300, True)
    door.ask("PUT", "/v1/kv/k", b"x")
    expect(door.resp("TTL", "k"), -1)
    for wrong in ("0", "-1", "1w", ""):
        expect_problem(door.ask("PUT", f"/v1/kv/k?ttl={wrong}", b"x"), 400, "ttl")


def parts_of_a_value_can_be_read(door):
    tag = door.ask("PUT", "/v1/kv/k", b"0123456789").headers["etag"]
    for wanted, said, part in (
        ("bytes=2-4", "bytes 2-4/10", b"234"),
        ("bytes=7-", "bytes 7-9/10", b"789"),
        ("bytes=-2", "bytes 8-9/10", b"89"),
        ("bytes=5-99", "bytes 5-9/10", b"56789"),
    ):
        got = door.ask("GET", "/v1/kv/k", range=wanted)
        expect((got.status, got.headers["content-range"], got.body), (206, said, part))
    refused = door.ask("GET", "/v1/kv/k", range="bytes=10-")
    expect_problem(refused, 416)
    expect(refused.headers["content-range"], "bytes */10")
    expect(door.ask("GET", "/v1/kv/k", range="bytes=0-1", if_range=tag).body, b"01")
    expect(door.ask("GET", "/v1/kv/k", range="bytes=0-1", if_range='"1"').status in (200, 206), True)
    expect(door.ask("GET", "/v1/kv/k", range="bytes=0-1,3-4").status, 200)


def databases_are_apart(door):
    door.ask("PUT", "/v1/kv/k?db=3", b"three")
    expect(door.ask("GET", "/v1/kv/k").status, 404)
    expect(door.ask("GET", "/v1/kv/k?db=3").body, b"three")
    for wrong in ("16", "-1", "x", "", "%2"):
        expect_problem(door.ask("GET", f"/v1/kv/k?db={wrong}"), 400, "database")
    door.resp("FLUSHALL")


def a_write_waits_for_the_disk_when_asked_to(door):
    expect(door.ask("PUT", "/v1/kv/k", b"x", larder_sync="disk").headers["larder-durability"], "disk")
    expect(door.ask("PUT", "/v1/kv/k", b"x", larder_sync="os").status, 204)
    expect_problem(door.ask("PUT", "/v1/kv/k", b"x", larder_sync="moon"), 400, "Larder-Sync")
    batch = door.ask("POST", "/v1/batch", {"commands": [["INCR", "n"]]}, larder_sync="disk")
    expect(batch.headers["larder-durability"], "disk")
    expect(door.ask("GET", "/v1/kv/k").headers["larder-durability"], None)


def bytes_that_are_no_text_are_base64_in_json(door):
    door.ask("PUT", "/v1/kv/text", "grüße".encode())
    door.ask("PUT", "/v1/kv/bytes", b"\xff\x00")
    expect(door.ask("GET", "/v1/kv/text", accept=JSON).json(), "grüße")
    expect(door.ask("GET", "/v1/kv/bytes", accept=JSON).json(), {"base64": "/wA="})
    expect(door.command("SET", {"base64": "/w=="}, {"base64": "AP8="}), "OK")
    expect(door.ask("GET", "/v1/kv/%FF").body, b"\x00\xff")


def hashes_are_resources(door):
    expect(door.ask("POST", "/v1/hashes/h", {"a": 1, "b": "two"}).json(), 2)
    expect(door.ask("PUT", "/v1/hashes/h/c%2F", b"\xff").status, 204)
    expect(door.ask("GET", "/v1/hashes/h/b").body, b"two")
    expect(door.ask("GET", "/v1/hashes/h/b", accept=JSON).json(), "two")
    expect(door.ask("GET", "/v1/hashes/h").json(), {"a": "1", "b": "two", "c/": {"base64": "/w=="}})
    expect(door.ask("DELETE", "/v1/hashes/h/a").status, 204)
    expect_problem(door.ask("DELETE", "/v1/hashes/h/a"), 404)
    expect_problem(door.ask("GET", "/v1/hashes/h/a"), 404)
    expect(door.ask("GET", "/v1/hashes/none").json(), {})
    for wrong in ([], {}, "", "{", {"a": None}, {"a": [1]}):
        expect_problem(door.ask("POST", "/v1/hashes/h", wrong), 400)


def sets_are_resources(door):
    expect(door.ask("POST", "/v1/sets/s", ["a", 1, "a"]).json(), 2)
    expect(door.ask("PUT", "/v1/sets/s/%20").status, 204)
    expect(sorted(door.ask("GET", "/v1/sets/s").json()), [" ", "1", "a"])
    expect(door.ask("GET", "/v1/sets/s/a").status, 204)
    expect(door.ask("DELETE", "/v1/sets/s/a").status, 204)
    expect_problem(door.ask("GET", "/v1/sets/s/a"), 404)


def sorted_sets_are_resources(door):
    expect(door.ask("POST", "/v1/zsets/z", {"a": 1, "b": 2.5}).json(), 2)
    expect(door.ask("PUT", "/v1/zsets/z/c", b"0.5").status, 204)
    expect(door.ask("GET", "/v1/zsets/z").json(), [["c", 0.5], ["a", 1], ["b", 2.5]])
    expect(door.ask("GET", "/v1/zsets/z?start=1&stop=1").json(), [["a", 1]])
    expect(door.ask("GET", "/v1/zsets/z/b").json(), 2.5)
    expect(door.ask("DELETE", "/v1/zsets/z/b").status, 204)
    expect_problem(door.ask("GET", "/v1/zsets/z/b"), 404)
    expect_problem(door.ask("PUT", "/v1/zsets/z/c", b"x"), 400, "float")
    expect_problem(door.ask("GET", "/v1/zsets/z?start=x"), 400, "integer")


def lists_are_resources_and_can_be_waited_for(door):
    expect(door.ask("POST", "/v1/lists/l", ["b", "c"]).json(), 2)
    expect(door.ask("POST", "/v1/lists/l?side=left", ["a"]).json(), 3)
    expect(door.ask("GET", "/v1/lists/l?start=1").json(), ["b", "c"])
    expect(door.ask("GET", "/v1/lists/l/-1").body, b"c")
    expect(door.ask("PUT", "/v1/lists/l/0", b"A").status, 204)
    expect_problem(door.ask("PUT", "/v1/lists/l/9", b"x"), 404, "range")
    expect(door.ask("POST", "/v1/lists/l/pop").body, b"A")
    expect(door.ask("POST", "/v1/lists/l/pop?side=right&wait=1s").body, b"c")
    expect(door.ask("POST", "/v1/lists/l/pop", accept=JSON).json(), "b")
    expect_problem(door.ask("POST", "/v1/lists/l/pop"), 404)
    begun = time.monotonic()
    expect_problem(door.ask("POST", "/v1/lists/l/pop?wait=300ms"), 404, "in time")
    expect(0.25 < time.monotonic() - begun < 5, True)
    threading.Timer(0.2, lambda: door.resp("RPUSH", "l", "late")).start()
    expect(door.ask("POST", "/v1/lists/l/pop?wait=10s").body, b"late")
    expect_problem(door.ask("POST", "/v1/lists/l/pop?side=up"), 400, "side")


def a_waiting_request_can_be_unblocked_and_killed(door):
    def waiting():
        while True:
            found = [line for line in door.resp("CLIENT", "LIST").decode().splitlines() if "cmd=blpop" in line and "flags=b" in line]
            if found:
                return dict(part.split("=", 1) for part in found[0].split())

    answers = []
    ask = lambda: answers.append(Door(door.http_port, door.resp_port).ask("POST", "/v1/lists/l/pop?wait=20s"))
    thread = threading.Thread(target=ask)
    thread.start()
    client = waiting()
    expect((client["lib-name"], client["flags"]), ("http", "b"))
    expect(door.resp("CLIENT", "UNBLOCK", client["id"], "ERROR"), 1)
    thread.join()
    expect_problem(answers[0], 503, "UNBLOCK")

    with socket.create_connection(("127.0.0.1", door.http_port), timeout=10) as peer:
        peer.sendall(b"POST /v1/lists/l/pop?wait=20s HTTP/1.1\r\nHost: x\r\n\r\n")
        expect(door.resp("CLIENT", "KILL", "ID", waiting()["id"]), 1)
        expect(peer.recv(100), b"")


def keys_are_found_by_prefix(door):
    door.command("MSET", *(word for number in range(300) for word in (f"user:{number}", "x")))
    door.command("MSET", "user*", "x", "use", "x", "other", "x")
    found, cursor, rounds = set(), "0", 0
    while rounds == 0 or cursor != "0":
        page = door.ask("GET", f"/v1/keys?prefix=user%3A&cursor={cursor}&count=50").json()
        found |= set(page["keys"])
        cursor, rounds = page["cursor"], rounds + 1
    expect((len(found), rounds > 2), (300, True))
    expect(set(door.ask("GET", "/v1/keys?prefix=user*&count=1000").json()["keys"]), {"user*"})
    expect_problem(door.ask("GET", "/v1/keys?cursor=x"), 400, "cursor")


def any_command_runs_as_hosted_services_have_it(door):
    for path in ("/v1/command", "/v1"):
        expect(door.ask("POST", path, ["SET", "k", "v", "EX", 10]).json(), {"result": "OK"})
    expect(door.command("HSET", "h", "a", "1"), 1)
    expect(door.command("HGETALL", "h"), ["a", "1"])
    expect(door.command("GET", "none"), None)
    wrong = door.ask("POST", "/v1/command", ["GET", "h"])
    expect((wrong.status, wrong.json()["error"].split()[0]), (409, "WRONGTYPE"))
    encoded = door.ask("POST", "/v1/command", ["HGETALL", "h"], upstash_encoding="base64").json()["result"]
    expect([base64.b64decode(text) for text in encoded], [b"a", b"1"])
    expect(door.ask("POST", "/v1/command", ["SET", "k", "v"], upstash_encoding="base64").json(), {"result": "OK"})
    for body in ("", "{}", "[]", '["GET"', '["GET", null]', '"GET"'):
        refused = door.ask("POST", "/v1/command", body)
        expect((refused.status, "error" in refused.json()), (400, True))
    for words in (["SUBSCRIBE", "c"], ["MULTI"], ["SELECT", 1], ["AUTH", "x"], ["CLIENT", "REPLY", "OFF"], ["QUIT"], ["SCRIPT", "DEBUG", "YES"]):
        refused = door.ask("POST", "/v1/command", words)
        expect((refused.status, "acts on a connection" in refused.json()["error"]), (400, True))


def pipelines_go_on_after_errors_and_transactions_are_whole(door):
    results = door.ask("POST", "/v1/pipeline", [["SET", "k", "1"], ["LPUSH", "k", "x"], ["INCR", "k"]]).json()
    expect([next(iter(result)) for result in results], ["result", "error", "result"])
    expect(results[2], {"result": 2})
    expect(door.ask("POST", "/v1/pipeline", []).json(), [])
    both = door.ask("POST", "/v1/multi-exec", [["INCR", "k"], ["GET", "k"]])
    expect((both.status, both.json()), (200, [{"result": 3}, {"result": "3"}]))
    refused = door.ask("POST", "/v1/multi-exec", [["INCR", "k"], ["NOSUCH"]])
    expect((refused.status, "unknown command" in refused.json()["error"]), (400, True))
    expect(door.command("GET", "k"), "3")
    batch = {"atomic": True, "commands": [["HSET", "h", "a", "1"], ["HGETALL", "h"], ["LPUSH", "h", "x"]]}
    results = door.ask("POST", "/v1/batch", batch).json()["results"]
    expect(results[:2], [{"result": 1}, {"result": {"a": "1"}}])
    expect(results[2]["error"].split()[0], "WRONGTYPE")
    expect_problem(door.ask("POST", "/v1/batch", {**batch, "commands": [["INCR", "k"], ["GET"]]}), 400, "arguments")
    expect_problem(door.ask("POST", "/v1/batch", {"comands": []}), 400, "comands")
    expect(door.command("GET", "k"), "3")


def what_is_not_there_is_refused_by_name(door):
    expect_problem(door.ask("GET", "/"), 404, "/v1/")
    expect_problem(door.ask("GET", "/v1/nothing"), 404, "/v1/nothing")
    expect_problem(door.ask("GET", "/v1/kv/a/b"), 404, "%2F")
    expect_problem(door.ask("PUT", "/v1/kv/a?tll=60", b"x"), 400, "tll", "ttl")
    refused = door.ask("POST", "/v1/kv/a", b"x")
    expect_problem(refused, 405, "POST")
    expect(sorted(refused.headers["allow"].split(", ")), ["DELETE", "GET", "HEAD", "PUT"])
    for path, name in (
        ("/v1/keys?count=x", "count"),
        ("/v1/keys?count=0", "count"),
        ("/v1/keys?cursor=x", "cursor"),
        ("/v1/zsets/z?start=x", "start"),
        ("/v1/lists/l?stop=1.5", "stop"),
    ):
        expect_problem(door.ask("GET", path), 400, name)
    door.command("LPUSH", "l", "x")
    expect_problem(door.ask("GET", "/v1/kv/l"), 409, "wrong kind")
    expect(door.ask("GET", "/v1/kv/l").json()["code"], "WRONGTYPE")


def pages_of_other_origins_may_ask_when_they_are_allowed(door):
    preflight = {"origin": "https://a.example", "access_control_request_method": "PUT"}
    refused = door.ask("OPTIONS", "/v1/kv/k", **preflight)
    expect((refused.status, refused.headers["access-control-allow-origin"]), (403, None))
    door.command("CONFIG", "SET", "http-cors-origins", "https://a.example")
    allowed = door.ask("OPTIONS", "/v1/kv/k", **preflight)
    expect(allowed.headers["access-control-allow-origin"], "https://a.example")
    expect("PUT" in allowed.headers["access-control-allow-methods"], True)
    got = door.ask("GET", "/v1/kv/k", origin="https://a.example")
    expect((got.status, got.headers["access-control-allow-origin"]), (404, "https://a.example"))
    expect_problem(door.ask("GET", "/v1/kv/k", origin="https://b.example"), 403, "https://b.example")
    door.command("CONFIG", "SET", "http-cors-origins", "")


def pages_of_strangers_change_and_read_nothing(door):
    door.command("SET", "k", "v")
    # What a browser sends for a page elsewhere: with an origin, without one, and to a name that leads here.
    simple = {"origin": "https://a.example", "content_type": "text/plain"}
    expect_problem(door.ask("POST", "/v1/command", b'["DEL", "k"]', **simple), 403, "https://a.example")
    expect_problem(door.ask("GET", "/hustdb/del?key=k", sec_fetch_site="cross-site"), 403, "http-cors-origins")
    expect_problem(door.ask("GET", "/hustdb/del?key=k", user_agent="Mozilla/5.0"), 403, "http-cors-origins")
    expect_problem(door.ask("GET", "/v1/kv/k", host="a.example:8080"), 403, "a.example:8080")
    expect(door.ask("GET", "/v1/docs", sec_fetch_site="cross-site").status, 200)
    # However often, and whatever the connection said before: headers that come again are not looked at again.
    for said in ({}, {}, {"user_agent": "Mozilla/5.0"}, {}):
        for _ in range(2):
            expect(door.ask("GET", "/v1/kv/k", **said).body, b"v")
        for _ in range(2):
            expect_problem(door.ask("GET", "/v1/kv/k", host="a.example:8080", **said), 403, "a.example:8080")
        for _ in range(2):
            expect(door.ask("GET", "/hustdb/exist?key=k", **said).status, 403 if said else 200)
    # Its own pages, and what no page sent.
    own = {"origin": f"http://localhost:{door.http_port}", "host": f"localhost:{door.http_port}", "sec_fetch_site": "same-origin"}
    expect(door.ask("GET", "/v1/kv/k", **own).body, b"v")
    expect(door.ask("GET", "/v1/kv/k", host="larder:8080").body, b"v")
    door.command("CONFIG", "SET", "http-cors-origins", "http://a.example:8080")
    expect(door.ask("GET", "/v1/kv/k", host="a.example:8080").body, b"v")
    door.command("CONFIG", "SET", "http-cors-origins", "")


HEAD = b"Host: x\r\n"


def what_could_be_read_in_two_ways_is_refused(door):
    for sent in (
        b"POST /v1 HTTP/1.1\r\n" + HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1",
        b"POST /v1 HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"POST /v1 HTTP/1.1\r\n" + HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n[]",
        b"POST /v1 HTTP/1.1\r\n" + HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n[]",
        b"POST /v1 HTTP/1.1\r\n" + HEAD + b"Content-Length: +2\r\n\r\n[]",
        b"POST /v1 HTTP/1.1\r\n" + HEAD + b"Content-Length: 2,2\r\n\r\n[]",
        b"POST /v1 HTTP/1.1\r\n" + HEAD + b"Content-Length : 2\r\n\r\n[]",
        b"GET /v1/kv/k HTTP/1.1\nHost: x\n\n",
        b"GET /v1/kv/k HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
        b"GET /v1/kv/k HTTP/1.1\r\n" + HEAD + b"X: a\r\n b\r\n\r\n",
        b"GET /v1/kv/k HTTP/1.1\r\n\r\n",
        b"GET /v1/kv/k HTTP/1.1\r\n" + HEAD + HEAD + b"\r\n",
        b"POST /v1 HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\n[]\r\n0\r\n\r\n",
        b"POST /v1 HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n[]\r\n0\r\n\r\n",
        b"PING\r\n\r\n",
        b"*1\r\n$4\r\nPING\r\n",
    ):
        said = door.raw(sent + b"GET /v1/kv/k HTTP/1.1\r\nHost: x\r\n\r\n")
        expect((said[:13], said.count(b"HTTP/1.1 4"), b"connection: close" in said), (b"HTTP/1.1 400 ", 1, True))
    for sent, status in (
        (b"POST /v1 HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", b"501"),
        (b"GET /v1 HTTP/2.0\r\n" + HEAD + b"\r\n", b"505"),
        (b"GET /v1 HTTP/1.1\r\n" + HEAD + b"Expect: payment\r\n\r\n", b"417"),
        (b"GET /v1/kv/" + b"x" * 40_000, b"431"),
        (b"GET / HTTP/1.1\r\n" + HEAD + b"X: y\r\n" * 100 + b"\r\n", b"431"),
    ):
        expect(door.raw(sent)[9:12], status)


def known_headers_excuse_no_line(door):
    good = b"GET /v1/kv/none HTTP/1.1\r\n" + HEAD + b"\r\n"
    for line in (b"GET  /v1/kv/none HTTP/1.1\r\n", b"GET /v1/kv/\x7f HTTP/1.1\r\n", b"GET /v1/kv/none HTTP/1.1\n", b"GET HTTP/1.1\r\n"):
        said = door.raw(good + good + line + HEAD + b"\r\n" + good)
        expect([part[:3] for part in said.split(b"HTTP/1.1 ")], [b"", b"404", b"404", b"400"])


def requests_that_come_together_are_answered_in_order(door):
    door.ask("PUT", "/v1/kv/k", b"value")
    one = b"GET /v1/kv/k HTTP/1.1\r\nHost: x\r\n\r\n"
    put = b"PUT /v1/kv/k HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nnew"
    chunked = b"PUT /v1/kv/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nla\r\n2;x\r\nst\r\n0\r\nA: b\r\n\r\n"
    last = b"GET /v1/kv/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    pop = b"POST /v1/lists/none/pop?wait=100ms HTTP/1.1\r\nHost: x\r\n\r\n"
    said = door.raw(one * 50 + put + one + pop + chunked + last + one, end=False)
    expect((said.count(b"HTTP/1.1 200 "), said.count(b"\r\n\r\nvalue"), said.count(b"\r\n\r\nnew")), (52, 50, 1))
    expect((said.endswith(b"\r\n\r\nlast"), said.count(b"HTTP/1.1 404 ")), (True, 1))
    with socket.create_connection(("127.0.0.1", door.http_port), timeout=10) as peer:
        for byte in put + last:
            peer.sendall(bytes([byte]))
        said = b""
        while received := peer.recv(1 << 16):
            said += received
    expect((said[:13], said.endswith(b"\r\n\r\nnew")), (b"HTTP/1.1 204 ", True))


def a_body_is_asked_for_only_when_it_is_wanted(door):
    head = b"PUT /v1/kv/k HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", door.http_port), timeout=10) as peer:
        peer.sendall(head % 5)
        expect(peer.recv(100), b"HTTP/1.1 100 Continue\r\n\r\n")
        peer.sendall(b"hello")
        expect(peer.recv(100)[:13], b"HTTP/1.1 204 ")
    door.command("CONFIG", "SET", "proto-max-bulk-len", "2mb")
    said = door.raw(head % (2 << 20 | 1))
    expect((said[:13], b"2097152 bytes" in said, b"100 Continue" in said), (b"HTTP/1.1 413 ", True, False))
    # More than the system holds between the two: who sends it all before reading gets to read why it was refused.
    refused = Door(door.http_port, door.resp_port).ask("PUT", "/v1/kv/k", b"x" * (64 << 20))
    expect_problem(refused, 413, "2097152", "proto-max-bulk-len")
    chunked = b"PUT /v1/kv/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    said = door.raw(chunked + b"%x\r\n" % (1 << 20) + b"x" * (1 << 20) + b"\r\n%x\r\n" % (1 << 21))
    expect(said[:13], b"HTTP/1.1 413 ")
    expect(door.ask("PUT", "/v1/kv/k", b"x" * (2 << 20)).status, 204)
    expect(len(door.ask("GET", "/v1/kv/k").body), 2 << 20)
    door.command("CONFIG", "SET", "proto-max-bulk-len", "512mb")
    expect(door.ask("GET", "/v1/kv/k", None).status, 200)


def a_head_that_does_not_come_is_not_waited_for(door):
    begun = time.monotonic()
    said = door.raw(b"GET /v1/kv/k HTTP/1.1\r\nX-Slow: ", end=False)
    expect((said[:13], 9 < time.monotonic() - begun < 14), (b"HTTP/1.1 408 ", True))


def connections_are_listed_and_counted(door):
    door.command("CLIENT", "ID")
    lines = door.resp("CLIENT", "LIST").decode().splitlines()
    expect(any("lib-name=http" in line and "resp=3" in line for line in lines), True)
    info = door.resp("INFO", "clients").decode()
    expect(f"connected_clients:{len(lines)}" in info or "connected_clients:" in info, True)
    before = int(door.resp("INFO", "commandstats").decode().split("cmdstat_getver:calls=")[1].split(",")[0])
    door.ask("GET", "/v1/kv/none")
    after = int(door.resp("INFO", "commandstats").decode().split("cmdstat_getver:calls=")[1].split(",")[0])
    expect(after - before, 1)


def curl_gets_what_it_put(door):
    url = f"http://127.0.0.1:{door.http_port}/v1/kv/curl"
    run = lambda *words: subprocess.run(["curl", "-sS", *words], capture_output=True, check=True, timeout=30).stdout
    run("-X", "PUT", "--data-binary", "hello", url)
    expect(run(url), b"hello")
    expect(run("-r", "1-2", url), b"el")


def users_are_those_of_the_server(door):
    def status(authorization):
        headers = {} if authorization is None else {"authorization": authorization}
        return door.ask("GET", "/v1/kv/k", **headers).status

    basic = lambda user, password: "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    refused = door.ask("GET", "/v1/kv/k")
    expect_problem(refused, 401)
    expect(refused.headers["www-authenticate"].startswith("Basic realm="), True)
    for right in (basic("default", PASSWORD), basic("", PASSWORD), f"Bearer {PASSWORD}", f"bearer default:{PASSWORD}"):
        expect(status(right), 404)
        expect(status(right), 404)
    for wrong in (basic("default", "x"), "Bearer x", "Basic !", "Digest x", "", None):
        expect(status(wrong), 401)
    admin = {"authorization": f"Bearer {PASSWORD}"}
    rules = ["ACL", "SETUSER", "reader", "on", ">pw", "~r:*", "+getver", "+get", "+ping"]
    expect(door.command(*rules, **admin), "OK")
    reader = {"authorization": basic("reader", "pw")}
    expect(door.ask("GET", "/v1/kv/r%3A1", **reader).status, 404)
    expect_problem(door.ask("GET", "/v1/kv/k", **reader), 403, "key")
    expect_problem(door.ask("PUT", "/v1/kv/r%3A1", b"x", **reader), 403, "set")
    expect(door.ask("PUT", "/v1/kv/k", b"x", **admin).status, 204)
    expect(status(None), 401)
    # Who may open a transaction and not end it leaves none behind.
    expect(door.command("ACL", "SETUSER", "opener", "on", ">pw", "~*", "+multi", "+getver", **admin), "OK")
    opener = {"authorization": basic("opener", "pw")}
    expect(door.ask("POST", "/v1/multi-exec", [["GET", "k"]], **opener).status, 403)
    expect(door.ask("GET", "/v1/kv/k", **opener).body, b"x")
    # What is not permitted is not received.
    said = door.raw(b"PUT /v1/kv/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n")
    expect((said[:13], b"100 Continue" in said), (b"HTTP/1.1 401 ", False))


CHECKS = [
    bytes_of_any_kind_come_back_as_they_were,
    content_types_are_kept_and_told,
    content_types_go_where_values_go,
    what_was_put_as_json_is_not_told_within_a_string,
    an_empty_value_is_a_value,
    versions_are_compared_and_set,
    of_many_who_set_the_same_version_one_wins,
    values_end_when_they_are_told_to,
    parts_of_a_value_can_be_read,
    databases_are_apart,
    a_write_waits_for_the_disk_when_asked_to,
    bytes_that_are_no_text_are_base64_in_json,
    hashes_are_resources,
    sets_are_resources,
    sorted_sets_are_resources,
    lists_are_resources_and_can_be_waited_for,
    a_waiting_request_can_be_unblocked_and_killed,
    keys_are_found_by_prefix,
    any_command_runs_as_hosted_services_have_it,
    pipelines_go_on_after_errors_and_transactions_are_whole,
    what_is_not_there_is_refused_by_name,
    pages_of_other_origins_may_ask_when_they_are_allowed,
    pages_of_strangers_change_and_read_nothing,
    what_could_be_read_in_two_ways_is_refused,
    known_headers_excuse_no_line,
    requests_that_come_together_are_answered_in_order,
    a_body_is_asked_for_only_when_it_is_wanted,
    a_head_that_does_not_come_is_not_waited_for,
    connections_are_listed_and_counted,
    curl_gets_what_it_put,
]
WITH_PASSWORD = [users_are_those_of_the_server]


def content_types_outlive_the_process(template: str) -> bool:
    """What was acknowledged is told after a kill and after a clean stop, which leaves a checkpoint."""
    port = free_port()
    with Server(template.replace("--http-port 0", f"--http-port {port}")) as server:
        try:
            for round, stop in enumerate((server.kill9, server.terminate, server.kill9, server.kill9)):
                server.start()
                door = Door(port, server.port)
                for number in range(round):
                    got = door.ask("GET", f"/v1/kv/{number}")
                    expect((got.headers["content-type"], got.body), (f"text/of-{number}", b"value"))
                put = door.ask("PUT", f"/v1/kv/{round}", b"value", content_type=f"text/of-{round}")
                expect(put.status, 204)
                door.connection.close()
                stop()
            return True
        except AssertionError:
            print(f"FAILED   content_types_outlive_the_process\n{traceback.format_exc(limit=3)}", flush=True)
            return False


def taken_port_is_named(template: str) -> bool:
    """A second server on the same HTTP port says which flag names it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with Server(template.replace("--http-port 0", f"--http-port {port}")) as server:
            server.spawn()
            status = server.process.wait(timeout=20)
            log = server.log_tail()
            if status == 0 or "--http-port" not in log or str(port) not in log:
                print(f"FAILED   taken_port_is_named: status {status}\n{log}", flush=True)
                return False
    return True


def main() -> int:
    options = parser(__doc__).parse_args()
    checks = [check for check in CHECKS if check is not curl_gets_what_it_put or shutil.which("curl")]
    passed = []
    for has_password, chosen in ((False, checks), (True, WITH_PASSWORD)):
        port = free_port()
        template = options.server_command.replace("--http-port 0", f"--http-port {port}")
        with Server(template) as server:
            server.start()
            if has_password:
                Connection(server.port).call("CONFIG", "SET", "requirepass", PASSWORD)
            for check in chosen:
                if not has_password:
                    Connection(server.port).call("FLUSHALL")
                passed.append(attempt(check, Door(port, server.port)))
    passed.append(content_types_outlive_the_process(options.server_command))
    passed.append(taken_port_is_named(options.server_command))
    print(f"{sum(passed)} of {len(passed)} checks passed")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
