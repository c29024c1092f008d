"""The description of the HTTP API against the server that serves it: what the document promises is what is answered.

Every operation of `/v1/openapi.json` is asked with the examples of the document, on keys of its own, of another type and in
a database that does not exist; status, content type, headers and body must be ones that the document has for it. Then the
page made of it, and the streams of server-sent events, which have no end and are read as they come.

What this deliberately is not: a validator of OpenAPI, or a search for requests that nobody thought of.

Prints a line per check that fails; exit status 1 if any does.
"""

import http.client
import json
import re
import shlex
import shutil
import socket
import subprocess
import sys

from resp import Connection
from support import Server, attempt, free_port, parser

STREAMS = ("/v1/subscribe", "/v1/subscribe/{channel}", "/v1/changes")
# What the examples call a key of each type.
KEYS = ("greeting", "person", "fruit", "scores", "basket")
SETUPS = {
    "nothing is there": [],
    "a string": [("SET", key, "hello") for key in KEYS],
    "a hash": [("HSET", key, "name", "Ada") for key in KEYS],
    "a set": [("SADD", key, "apples") for key in KEYS],
    "a sorted set": [("ZADD", key, "1", "ada") for key in KEYS],
    "a list": [("RPUSH", key, "ada") for key in KEYS],
}


def expect(got, wanted):
    """Fails unless they are equal."""
    if got != wanted:
        raise AssertionError(f"expected {wanted!r}, got {got!r}")


class Door:
    """One server's ports, and its document."""

    def __init__(self, http_port: int, resp_port: int):
        self.http_port, self.resp = http_port, Connection(resp_port)
        self.connection = http.client.HTTPConnection("127.0.0.1", http_port, timeout=20)
        self.document = None

    def ask(self, method: str, path: str, body=None, headers=None):
        """A response, and its body, which is read to its end."""
        self.connection.request(method, path, body, headers or {})
        response = self.connection.getresponse()
        return response, response.read()

    def stream(self, path: str) -> "Events":
        """A stream of events whose head has come."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=20)
        connection.request("GET", path)
        return Events(connection, connection.getresponse())


class Events:
    """A stream of events."""

    def __init__(self, connection, response):
        self.connection, self.response = connection, response

    def next(self) -> tuple:
        """The id and the data of the next event."""
        fields = {}
        while line := self.response.readline().decode().rstrip("\n"):
            name, value = line.split(": ", 1)
            fields[name] = value
        return int(fields["id"]), json.loads(fields["data"])


class Judge:
    """What the document allows."""

    def __init__(self, document):
        self.document = document

    def resolve(self, part):
        """What a part says, or what it refers to."""
        while "$ref" in part:
            at, part = part["$ref"].split("/")[1:], self.document
            for name in at:
                part = part[name]
        return part

    def fits(self, schema, value) -> bool:
        """Whether a value is what a schema says, as far as the document's schemas go."""
        schema = self.resolve(schema)
        if "anyOf" in schema:
            return any(self.fits(one, value) for one in schema["anyOf"])
        kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}
        wanted = schema.get("type", list(kinds))
        wanted = [wanted] if isinstance(wanted, str) else wanted
        if "type" in schema and not any(isinstance(value, kinds[kind]) for kind in wanted):
            return False
        if "enum" in schema and value not in schema["enum"]:
            return False
        if isinstance(value, dict):
            properties = schema.get("properties", {})
            if any(name not in value for name in schema.get("required", [])):
                return False
            return all(self.fits(properties[name], item) for name, item in value.items() if name in properties)
        if isinstance(value, list) and "items" in schema:
            return all(self.fits(schema["items"], item) for item in value)
        return True

    def check(self, operation, response, body: bytes):
        """Fails unless this is an answer that the document has for the operation."""
        said = operation["responses"]
        assert str(response.status) in said, f"{response.status} is not documented: {body[:200]!r}"
        promised = said[str(response.status)]
        content = promised.get("content")
        if content is None:
            expect(body, b"")
            return
        content_type = response.headers["content-type"].split(";")[0]
        assert content_type in content, f"{content_type} is not documented for {response.status}"
        if content_type.endswith("json"):
            value = json.loads(body)
            assert self.fits(content[content_type]["schema"], value), f"not what its schema says: {value!r}"
        for name in promised.get("headers", {}):
            if name != "Larder-Durability":
                assert response.headers[name], f"{name} is missing"


def operations(document):
    """Method, path with examples for what varies, operation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            filled = path
            for parameter in operation["parameters"]:
                if parameter["in"] == "path":
                    filled = filled.replace("{%s}" % parameter["name"], str(parameter["example"]))
            yield method.upper(), path, filled, operation


def example_body(operation):
    """The example of the body, or none."""
    for content_type, media in operation.get("requestBody", {}).get("content", {}).items():
        example = media["example"]
        return json.dumps(example) if content_type == "application/json" or not isinstance(example, str) else example
    return None


def every_operation_answers_as_it_is_described(door):
    judge, seen = Judge(door.document), {}
    for setup, commands in SETUPS.items():
        for method, path, filled, operation in operations(door.document):
            if path in STREAMS:
                continue
            door.resp.call("FLUSHALL")
            for command in commands:
                door.resp.call(*command)
            headers = {"accept": "application/json"} if setup == "a hash" else {}
            response, body = door.ask(method, filled, example_body(operation), headers)
            try:
                judge.check(operation, response, body)
            except AssertionError as wrong:
                raise AssertionError(f"{method} {filled} when there is {setup}: {wrong}") from None
            seen.setdefault((method, path), set()).add(response.status)
    failing = {route for route, statuses in seen.items() if not any(status < 300 for status in statuses)}
    expect(failing, set())


def what_is_asked_wrongly_is_answered_as_described(door):
    judge = Judge(door.document)
    for method, path, filled, operation in operations(door.document):
        response, body = door.ask(method, f"{filled}?db=99", example_body(operation))
        if any(parameter["name"] == "db" for parameter in operation["parameters"]):
            expect((method, path, response.status), (method, path, 400))
            if method != "HEAD":
                judge.check(operation, response, body)
        if operation.get("requestBody", {}).get("required"):
            response, body = door.ask(method, filled, b'{"a":')
            expect((method, path, response.status), (method, path, 400))
            judge.check(operation, response, body)
        response, body = door.ask("PATCH", filled)
        expect((path, response.status), (path, 405))
        assert method in response.headers["allow"]


def heads_have_no_ranges(door):
    door.resp.call("SET", "greeting", "hello")
    for method, status in (("GET", 206), ("HEAD", 200)):
        response, _ = door.ask(method, "/v1/kv/greeting", headers={"range": "bytes=0-1"})
        expect((method, response.status), (method, status))
        assert str(status) in door.document["paths"]["/v1/kv/{key}"][method.lower()]["responses"]
    response, _ = door.ask("HEAD", "/v1/kv/greeting", headers={"range": "bytes=99-"})
    expect(response.status, 200)


def every_command_is_in_the_document(door):
    named = door.document["components"]["schemas"]["CommandName"]
    table = {name.decode().upper() for name in door.resp.call("COMMAND", "LIST") if b"|" not in name}
    expect(set(named["anyOf"][0]["enum"]), table)
    expect(set(named["x-commands"]), table)


def what_was_read_before_is_not_sent_again(door):
    for path in ("/v1/openapi.json", "/v1/docs"):
        response, body = door.ask("GET", path)
        again, nothing = door.ask("GET", path, headers={"if-none-match": response.headers["etag"]})
        expect((response.status, again.status, nothing), (200, 304, b""))
        other, same = door.ask("GET", path, headers={"if-none-match": '"x"'})
        expect((other.status, same), (200, body))


def the_page_has_every_operation_and_needs_nobody_else(door):
    response, body = door.ask("GET", "/v1/docs")
    expect(response.headers["content-type"], "text/html; charset=utf-8")
    page = body.decode()
    for *_, operation in operations(door.document):
        assert f'id="{operation["operationId"]}"' in page, operation["operationId"]
    expect(re.findall(r"<script|src=|@import|url\(|href=\"http", page), [])


def examples_can_be_followed_in_a_row(door):
    """Each is run by a shell's rules, from the top of the page to its end: none meets a key of another type."""
    door.resp.call("FLUSHALL")
    assert shutil.which("curl"), "this needs curl"
    for _, path, sample in every_sample(door.document):
        if path in STREAMS:
            continue
        words = ["-sS", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", *shlex.split(sample)[1:]]
        status = int(subprocess.run(["curl", *words], capture_output=True, text=True, check=True).stdout)
        assert status < 300 or status == 404, f"{sample}: {status}"


def every_sample(document):
    """Method, path and example of each operation, in the order of the document."""
    for method, path, _, operation in operations(document):
        yield method, path, operation["x-codeSamples"][0]["source"]


def examples_ask_the_server_that_was_asked(door):
    for path in ("/v1/docs", "/v1/openapi.json"):
        for host in (f"127.0.0.1:{door.http_port}", "larder:9999", "[::1]:1"):
            response, body = door.ask("GET", path, headers={"host": host})
            assert f"http://{host}/v1/kv/greeting" in body.decode(), host
        # HTTP/1.0 need not say.
        with socket.create_connection(("127.0.0.1", door.http_port), timeout=20) as peer:
            peer.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            page = b""
            while received := peer.recv(1 << 16):
                page += received
        assert f"http://localhost:{door.http_port}/v1/kv/greeting" in page.decode()


def messages_come_as_events(door):
    stream = door.stream("/v1/subscribe/news,a%2Cb?channel=more&pattern=w*")
    expect((stream.response.status, stream.response.headers["content-type"]), (200, "text/event-stream"))
    for channel in ("news", "a,b", "more"):
        expect(door.resp.call("PUBLISH", channel, "hello\nyou"), 1)
    expect(door.resp.call("PUBLISH", "weather", b"\xff"), 1)
    expect(door.resp.call("PUBLISH", "other", "x"), 0)
    for number, channel in enumerate(("news", "a,b", "more"), 1):
        expect(stream.next(), (number, {"channel": channel, "message": "hello\nyou"}))
    expect(stream.next(), (4, {"channel": "weather", "pattern": "w*", "message": {"base64": "/w=="}}))
    everything = door.stream("/v1/subscribe")
    expect(door.resp.call("PUBLISH", "other", "x"), 1)
    expect(everything.next(), (1, {"channel": "other", "pattern": "*", "message": "x"}))
    # Who goes leaves nothing behind.
    for one in (stream, everything):
        one.response.close()
        one.connection.close()
    while door.resp.call("PUBSUB", "NUMPAT"):
        door.resp.call("PUBLISH", "weather", "x")


def changes_of_keys_come_as_events_when_they_are_told(door):
    response, body = door.ask("GET", "/v1/changes")
    expect((response.status, b"notify-keyspace-events" in json.loads(body)["detail"].encode()), (409, True))
    door.resp.call("CONFIG", "SET", "notify-keyspace-events", "KA")
    stream = door.stream("/v1/changes?prefix=us%5Ber%3A&db=3")
    door.ask("PUT", "/v1/kv/us%5Ber%3A1?db=3", b"x")
    door.ask("PUT", "/v1/kv/us%5Ber%3A1", b"x")
    door.ask("PUT", "/v1/kv/other?db=3", b"x")
    door.ask("DELETE", "/v1/kv/us%5Ber%3A1?db=3")
    expect(stream.next(), (1, {"key": "us[er:1", "event": "set"}))
    expect(stream.next(), (2, {"key": "us[er:1", "event": "del"}))
    door.resp.call("CONFIG", "SET", "notify-keyspace-events", "")


def a_reader_that_is_too_slow_is_cut(door):
    door.resp.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 0 0")
    stream = door.stream("/v1/subscribe/flood")
    for _ in range(1000):
        if door.resp.call("PUBLISH", "flood", b"x" * 65536) == 0:
            break
    else:
        raise AssertionError("it takes 64 MiB that nobody reads")
    stream.connection.close()


def who_may_not_subscribe_is_refused(door):
    door.resp.call("ACL", "SETUSER", "listener", "on", ">pw", "+subscribe", "+psubscribe", "resetchannels", "&open")
    user = {"authorization": "Bearer listener:pw"}
    for path, status in (("secret", 403), ("open,secret", 403), ("open?pattern=*", 403)):
        response, _ = door.ask("GET", f"/v1/subscribe/{path}", headers=user)
        expect((path, response.status), (path, status))
        door.connection.close()
    response, _ = door.ask("HEAD", "/v1/subscribe/open", headers=user)
    expect(response.status, 200)


CHECKS = [
    every_operation_answers_as_it_is_described,
    what_is_asked_wrongly_is_answered_as_described,
    heads_have_no_ranges,
    every_command_is_in_the_document,
    what_was_read_before_is_not_sent_again,
    the_page_has_every_operation_and_needs_nobody_else,
    examples_can_be_followed_in_a_row,
    examples_ask_the_server_that_was_asked,
    messages_come_as_events,
    changes_of_keys_come_as_events_when_they_are_told,
    a_reader_that_is_too_slow_is_cut,
    who_may_not_subscribe_is_refused,
]


def main() -> int:
    options = parser(__doc__).parse_args()
    port, failed = free_port(), 0
    with Server(options.server_command.replace("--http-port 0", f"--http-port {port}")) as server:
        server.start()
        for check in CHECKS:
            door = Door(port, server.port)
            response, body = door.ask("GET", "/v1/openapi.json")
            expect(response.status, 200)
            door.document = json.loads(body)
            failed += not attempt(check, door)
    print(f"{len(CHECKS) - failed} of {len(CHECKS)} checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
