"""TLS against a real server: redis-py and redis-cli, clients with and without certificates, certificates that are
replaced while connections go on, files that are no good, HTTP and the admin port.

What this deliberately is not: a test of the cryptography, which is rustls's. Certificates are made here by `openssl`.

Exit status 1 if a use failed.
"""

import contextlib
import http.client
import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request

import redis

from support import Server, free_port, parser
from tls_files import EXPIRED, Authority, replace

TRACE_FRAMES = 3
# The server looks at its files every 2 seconds, ends a handshake after 10, and logs at most one failure a second.
LOOKED_AT_SECONDS = 10
HANDSHAKE_SECONDS = 10
LOG_EVERY_SECONDS = 1.1
BIG = 3_000_000


def expect(found, wanted):
    """Fails with both, unless they are equal."""
    assert found == wanted, f"found {found!r} and not {wanted!r}"


def until(is_so):
    """Waits until it is so."""
    ends = time.monotonic() + LOOKED_AT_SECONDS
    while not is_so():
        assert time.monotonic() < ends, "it never came to be"
        time.sleep(0.01)


class Rig:
    """Files, and a server whose TLS port asks for certificates."""

    def __init__(self, home: pathlib.Path, template: str):
        ours, others = Authority(home / "ours", "ours"), Authority(home / "others", "others")
        self.authority = ours.certificate
        self.first, self.second = ours.sign("first"), ours.sign("second")
        self.good, self.late, self.foreign = ours.sign("good"), ours.sign("late", EXPIRED), others.sign("foreign")
        # In force is what lies here.
        self.served = home / "served.crt", home / "served.key"
        self.put(self.first)
        self.template, self.port, self.admin_port, self.https_port = template, free_port(), free_port(), free_port()
        ports = f"--tls-port {self.port} --http-tls-port {self.https_port}"
        self.server = Server(template, flags=f"{self.flags()} {ports}")

    def put(self, pair):
        """Replaces the certificate and key that the server was told of."""
        for source, target in zip(pair, self.served):
            replace(source, target)

    def flags(self, **changed):
        """Flags that name the files, but for what is changed."""
        files = {"cert_file": self.served[0], "key_file": self.served[1], "ca_cert_file": self.authority} | changed
        return " ".join(f"--tls-{name.replace('_', '-')} {path}" for name, path in files.items())

    def client(self, pair=None, **options):
        """redis-py over TLS, with this certificate."""
        certificate, key = pair or (None, None)
        options = {"port": self.port, "ssl": True, "ssl_ca_certs": str(self.authority), "socket_timeout": 20} | options
        named = {"ssl_certfile": certificate and str(certificate), "ssl_keyfile": key and str(key)}
        return redis.Redis(host="127.0.0.1", decode_responses=True, **named, **options)

    def plain(self):
        """redis-py without TLS."""
        return redis.Redis(port=self.server.port, decode_responses=True)

    def connect(self, pair=None, port=None, trusting=None, version=None):
        """A socket after its handshake."""
        context = ssl.create_default_context(cafile=str(trusting or self.authority))
        if pair:
            context.load_cert_chain(*map(str, pair))
        if version:
            context.minimum_version = context.maximum_version = version
        raw = socket.create_connection(("127.0.0.1", port or self.port), timeout=20)
        return context.wrap_socket(raw, server_hostname="127.0.0.1", suppress_ragged_eofs=False)

    def https(self, pair=None, port=None):
        """A client of HTTP over TLS, with this certificate."""
        context = ssl.create_default_context(cafile=str(self.authority))
        if pair:
            context.load_cert_chain(*map(str, pair))
        return http.client.HTTPSConnection("127.0.0.1", port or self.https_port, timeout=20, context=context)

    def shown(self, port=None):
        """The certificate that the server shows now."""
        with self.connect(self.good, port=port) as stream:
            return ssl.DER_cert_to_PEM_cert(stream.getpeercert(binary_form=True)).split()

    def logged(self, words: str):
        """Waits until the log has these words, and empties it."""
        try:
            until(lambda: words in self.server.log_path.read_text(errors="replace"))
        except AssertionError as error:
            raise AssertionError(f"the log does not say {words!r}:\n{self.server.log_tail()}") from error
        with open(self.server.log_path, "r+b") as file:
            file.truncate(0)


def pem(path: pathlib.Path):
    """What `Rig.shown` gives for this certificate."""
    return path.read_text().split()


def refused(rig: Rig, pair, words: str):
    """A connection with this certificate comes to nothing, and the log says why."""
    time.sleep(LOG_EVERY_SECONDS)
    try:
        rig.client(pair).ping()
    except redis.ConnectionError:
        rig.logged(words)
        return
    raise AssertionError("the server let it in")


def redis_py_speaks_both_protocols(rig: Rig):
    for protocol in 2, 3:
        client = rig.client(rig.good, protocol=protocol)
        client.flushall()
        expect(client.set("key", "v" * BIG), True)
        expect(client.get("key"), "v" * BIG)
        pipeline = client.pipeline(transaction=False)
        for number in range(5000):
            pipeline.rpush("list", number)
        expect(pipeline.execute(), list(range(1, 5001)))
        expect(client.lrange("list", 0, -1), [str(number) for number in range(5000)])
        with client.pubsub() as subscriber:
            subscriber.subscribe("news")
            expect(subscriber.get_message(timeout=5)["type"], "subscribe")
            expect(rig.plain().publish("news", "said"), 1)
            expect(subscriber.get_message(timeout=5)["data"], "said")


def a_blocked_client_is_served(rig: Rig):
    waiting = rig.connect(rig.good)
    waiting.sendall(b"BLPOP queue 0\r\n")
    until(lambda: any("b" in client["flags"] for client in rig.plain().client_list()))
    rig.plain().rpush("queue", "job")
    expect(waiting.recv(100), b"*2\r\n$5\r\nqueue\r\n$3\r\njob\r\n")


def a_slow_reader_gets_all_of_a_large_reply(rig: Rig):
    rig.plain().set("large", "x" * BIG)
    with rig.connect(rig.good) as stream:
        stream.sendall(b"GET large\r\n" * 8 + b"PING\r\n")
        time.sleep(0.5)
        left = 8 * len(f"${BIG}\r\n{'x' * BIG}\r\n")
        while left:
            left -= len(stream.recv(min(left, 1 << 20)))
        expect(stream.recv(7), b"+PONG\r\n")


def quit_ends_as_tls_should(rig: Rig):
    with rig.connect(rig.good) as stream:
        stream.sendall(b"QUIT\r\n")
        expect(stream.recv(5), b"+OK\r\n")
        # Anything but a notice of the end is an exception.
        expect(stream.recv(1), b"")


def redis_cli_speaks_tls(rig: Rig):
    words = ["redis-cli", "--tls", "-p", str(rig.port), "--cacert", rig.authority]
    words += ["--cert", rig.good[0], "--key", rig.good[1], "SET", "cli", "yes"]
    expect(subprocess.run(words, capture_output=True, text=True, check=False).stdout, "OK\n")
    expect(rig.plain().get("cli"), "yes")


def who_shows_no_good_certificate_is_refused_and_logged(rig: Rig):
    refused(rig, None, "the client showed no certificate, which tls-auth-clients asks for")
    refused(rig, rig.late, "the client's certificate is refused: certificate expired")
    refused(rig, rig.foreign, "the client's certificate is refused: ")
    expect(rig.client(rig.good).ping(), True)


def certificates_are_optional_when_told_so(rig: Rig):
    settings = rig.plain()
    settings.config_set("tls-auth-clients", "optional")
    expect(rig.client().ping(), True)
    refused(rig, rig.late, "the client's certificate is refused: certificate expired")
    settings.config_set("tls-auth-clients", "no")
    expect(rig.client(rig.late).ping(), True)
    settings.config_set("tls-auth-clients", "yes")
    refused(rig, None, "the client showed no certificate")


def who_does_not_trust_the_server_or_speaks_no_tls_is_logged(rig: Rig):
    time.sleep(LOG_EVERY_SECONDS)
    with contextlib.suppress(ssl.SSLError):
        rig.connect(rig.good, trusting=rig.foreign[0].with_name("others.crt"))
        raise AssertionError("the client trusts a stranger")
    rig.logged("the client refused this server: UnknownCA")
    time.sleep(LOG_EVERY_SECONDS)
    with socket.create_connection(("127.0.0.1", rig.port), timeout=5) as plain:
        plain.sendall(b"PING\r\n")
        with contextlib.suppress(ConnectionResetError):
            expect(plain.recv(100), b"")
    rig.logged("the client does not speak TLS")


def a_replaced_certificate_is_taken_up_and_connections_go_on(rig: Rig):
    old = rig.client(rig.good, single_connection_client=True)
    old.ping()
    number = old.client_id()
    expect(rig.shown(), pem(rig.first[0]))
    rig.put(rig.second)
    rig.logged("new connections get the new certificate")
    expect(rig.shown(), pem(rig.second[0]))
    rig.put(rig.first)
    rig.plain().config_set("tls-cert-file", str(rig.served[0]))
    expect(rig.shown(), pem(rig.first[0]))
    expect(old.client_id(), number)


def files_that_are_no_good_change_nothing(rig: Rig):
    settings = rig.plain()
    for name, path in [("tls-cert-file", rig.second[0]), ("tls-key-file", "/nowhere"), ("tls-ca-cert-file", "")]:
        before = settings.config_get("tls-*")
        try:
            settings.config_set(name, str(path))
            raise AssertionError(f"{name} {path} was taken")
        except redis.ResponseError as error:
            assert str(error).endswith("Unable to update TLS configuration. Check server logs."), error
        expect(settings.config_get("tls-*"), before)
    rig.logged("is not the key of the certificate in")
    settings.config_set("tls-cert-file", str(rig.second[0]), "tls-key-file", str(rig.second[1]))
    expect(rig.shown(), pem(rig.second[0]))
    settings.config_set("tls-cert-file", str(rig.served[0]), "tls-key-file", str(rig.served[1]))
    rig.served[1].write_text("nonsense")
    rig.logged(f"the old ones stay: `tls-key-file`: {rig.served[1]} holds no private key")
    expect(rig.shown(), pem(rig.first[0]))
    rig.put(rig.second)
    rig.logged("new connections get the new certificate")
    expect(rig.shown(), pem(rig.second[0]))
    rig.put(rig.first)
    rig.logged("new connections get the new certificate")


def versions_can_be_chosen(rig: Rig):
    rig.plain().config_set("tls-protocols", "TLSv1.3")
    with contextlib.suppress(ssl.SSLError):
        rig.connect(rig.good, version=ssl.TLSVersion.TLSv1_2)
        raise AssertionError("TLS 1.2 is spoken")
    expect(rig.connect(rig.good, version=ssl.TLSVersion.TLSv1_3).version(), "TLSv1.3")
    rig.plain().config_set("tls-protocols", "")
    expect(rig.connect(rig.good, version=ssl.TLSVersion.TLSv1_2).version(), "TLSv1.2")


def a_port_changes_between_plain_and_tls(rig: Rig):
    moved, settings = free_port(), rig.client(rig.good)
    settings.config_set("tls-port", moved)
    expect(rig.client(rig.good, port=moved).ping(), True)
    rig.plain().config_set("tls-port", 0)
    rig.plain().config_set("port", moved)
    there = redis.Redis(port=moved)
    expect(there.ping(), True)
    there.config_set("port", rig.server.port, "tls-port", rig.port)
    expect([rig.client(rig.good).ping(), rig.plain().ping()], [True, True])


def a_handshake_ends_when_it_is_killed_or_too_slow(rig: Rig):
    with socket.create_connection(("127.0.0.1", rig.port)) as killed, socket.create_connection(
        ("127.0.0.1", rig.port)
    ) as slow:
        begun = time.monotonic()
        address = "{}:{}".format(*killed.getsockname())
        until(lambda: any(client["addr"] == address for client in rig.plain().client_list()))
        expect(rig.plain().client_kill(address), True)
        killed.settimeout(5)
        expect(killed.recv(1), b"")
        slow.settimeout(2 * HANDSHAKE_SECONDS)
        expect(slow.recv(1), b"")
        assert HANDSHAKE_SECONDS - 1 < time.monotonic() - begun, "too early"
        rig.logged("it took too long")


def the_admin_port_speaks_tls(rig: Rig):
    flags = f"{rig.flags()} --tls-auth-clients no --admin-tls=yes"
    template = rig.template.replace("--admin-port 0", f"--admin-port {rig.admin_port}")
    with Server(template, flags=flags) as server:
        server.start()
        context = ssl.create_default_context(cafile=str(rig.authority))
        with urllib.request.urlopen(f"https://127.0.0.1:{rig.admin_port}/health/ready", context=context) as page:
            expect(page.read(), b"ready\n")
        with contextlib.suppress(OSError, http.client.HTTPException):
            urllib.request.urlopen(f"http://127.0.0.1:{rig.admin_port}/health/ready")
            raise AssertionError("the admin port answers without TLS")


def a_server_without_a_plain_port_serves_tls(rig: Rig):
    port = free_port()
    with Server(rig.template, flags=f"{rig.flags()} --tls-port {port}") as server:
        server.template = server.template.replace("--port {port}", "--port 0")
        server.spawn()
        rig.server, main = server, rig.server
        rig.logged("listening for RESP over TLS")
        rig.server = main
        client = rig.client(rig.good, port=port)
        expect(client.info("server")["tcp_port"], port)


def a_server_that_cannot_serve_tls_says_why_and_ends(rig: Rig):
    cases = [
        (f"{rig.flags(cert_file='/nowhere')} --tls-port 1", "`tls-cert-file`: cannot read /nowhere: No such file"),
        (f"{rig.flags(key_file=rig.second[1])} --tls-port 1", f"{rig.second[1]} is not the key of the certificate in"),
        ("--tls-port 1", "`tls-cert-file` names no file"),
        ("--http-tls-port 1", "`tls-cert-file` names no file"),
        (f"{rig.flags()} --tls-port 1", "refusing to serve 0.0.0.0 without a password"),
    ]
    everywhere = rig.template.replace("--bind 127.0.0.1", "--bind '*'").replace("--port {port}", "--port 0")
    for flags, words in cases:
        with Server(everywhere if "0.0.0.0" in words else rig.template, flags=flags) as server:
            server.spawn()
            status, server.process = server.process.wait(20), None
            assert status == 2 and words in server.log_tail(), f"{status}, {server.log_tail()} and not {words!r}"


def ask(client, method, path, body=None, headers=None):
    """Status and body of an answer, on a connection that is kept."""
    client.request(method, path, body, headers or {})
    response = client.getresponse()
    return response.status, response.read()


def http_is_the_same_over_tls(rig: Rig):
    client, big = rig.https(rig.good), b"b" * BIG
    expect(ask(client, "PUT", "/v1/kv/https", big, {"content-type": "text/plain"}), (204, b""))
    expect(ask(client, "GET", "/v1/kv/https"), (200, big))
    expect(rig.plain().get("https"), "b" * BIG)
    expect(ask(client, "GET", "/hustdb/exist?key=https")[0], 200)
    expect(f"https://127.0.0.1:{rig.https_port}/v1/kv/greeting".encode() in ask(client, "GET", "/v1/docs")[1], True)
    name = f"127.0.0.1:{rig.https_port}"
    own = {"origin": f"https://{name}", "host": name, "sec-fetch-site": "same-origin"}
    expect(ask(client, "DELETE", "/v1/kv/https", headers=own), (204, b""))


def answers_without_an_end_come_over_tls_as_they_are_said(rig: Rig):
    client = rig.https(rig.good)
    client.request("GET", "/v1/subscribe/over-tls")
    events = client.getresponse()
    expect(events.status, 200)
    until(lambda: rig.plain().publish("over-tls", "said") == 1)
    expect([events.readline(), events.readline()], [b"id: 1\n", b'data: {"channel":"over-tls","message":"said"}\n'])


def http_over_tls_ends_as_tls_should(rig: Rig):
    with rig.connect(rig.good, port=rig.https_port) as stream:
        stream.sendall(b"GET /v1/kv/none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        said = b""
        # Anything but a notice of the end is an exception.
        while received := stream.recv(1 << 16):
            said += received
    expect(said[:13], b"HTTP/1.1 404 ")


def http_over_tls_asks_for_certificates_as_resp_does(rig: Rig):
    for pair, words in (None, "the client showed no certificate"), (rig.late, "certificate expired"):
        time.sleep(LOG_EVERY_SECONDS)
        with contextlib.suppress(ssl.SSLError, ConnectionResetError, http.client.RemoteDisconnected):
            ask(rig.https(pair), "GET", "/v1/kv/k")
            raise AssertionError("the server let it in")
        rig.logged(words)
    time.sleep(LOG_EVERY_SECONDS)
    with contextlib.suppress(ConnectionResetError, http.client.RemoteDisconnected):
        ask(http.client.HTTPConnection("127.0.0.1", rig.https_port, timeout=20), "GET", "/v1/kv/k")
        raise AssertionError("it speaks without TLS")
    rig.logged("the client does not speak TLS")


def a_replaced_certificate_is_shown_over_http_too(rig: Rig):
    old = rig.https(rig.good)
    expect(ask(old, "GET", "/v1/kv/none")[0], 404)
    socket_before = old.sock
    rig.put(rig.second)
    rig.logged("new connections get the new certificate")
    expect(rig.shown(rig.https_port), pem(rig.second[0]))
    rig.put(rig.first)
    rig.logged("new connections get the new certificate")
    expect(rig.shown(rig.https_port), pem(rig.first[0]))
    expect((ask(old, "GET", "/v1/kv/none")[0], old.sock is socket_before), (404, True))


def the_port_of_http_over_tls_can_be_moved_and_closed(rig: Rig):
    moved, settings = free_port(), rig.plain()
    settings.config_set("http-tls-port", moved)
    expect(ask(rig.https(rig.good, moved), "GET", "/v1/kv/none")[0], 404)
    settings.config_set("http-tls-port", 0)
    with contextlib.suppress(ConnectionRefusedError):
        ask(rig.https(rig.good, moved), "GET", "/v1/kv/none")
        raise AssertionError("it is still served")
    settings.config_set("http-tls-port", rig.https_port)
    expect(ask(rig.https(rig.good), "GET", "/v1/kv/none")[0], 404)


USES = [
    redis_py_speaks_both_protocols,
    a_blocked_client_is_served,
    a_slow_reader_gets_all_of_a_large_reply,
    quit_ends_as_tls_should,
    redis_cli_speaks_tls,
    who_shows_no_good_certificate_is_refused_and_logged,
    certificates_are_optional_when_told_so,
    who_does_not_trust_the_server_or_speaks_no_tls_is_logged,
    a_replaced_certificate_is_taken_up_and_connections_go_on,
    files_that_are_no_good_change_nothing,
    versions_can_be_chosen,
    a_port_changes_between_plain_and_tls,
    a_handshake_ends_when_it_is_killed_or_too_slow,
    the_admin_port_speaks_tls,
    http_is_the_same_over_tls,
    answers_without_an_end_come_over_tls_as_they_are_said,
    http_over_tls_ends_as_tls_should,
    http_over_tls_asks_for_certificates_as_resp_does,
    a_replaced_certificate_is_shown_over_http_too,
    the_port_of_http_over_tls_can_be_moved_and_closed,
    a_server_without_a_plain_port_serves_tls,
    a_server_that_cannot_serve_tls_says_why_and_ends,
]


def attempt(use, rig: Rig) -> bool:
    """Tries one use and prints how it went."""
    try:
        use(rig)
    except Exception:
        print(f"FAILED   {use.__name__}\n{traceback.format_exc(limit=TRACE_FRAMES)}", flush=True)
        return False
    print(f"ok       {use.__name__}", flush=True)
    return True


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--only", default="", help="try only the uses whose name contains this")
    chosen = options.parse_args()
    uses = [use for use in USES if chosen.only in use.__name__]
    with tempfile.TemporaryDirectory(prefix="larder-tls-") as home:
        rig = Rig(pathlib.Path(home), chosen.server_command)
        with rig.server:
            rig.server.start()
            failed = sum(not attempt(use, rig) for use in uses)
    print(f"{len(uses)} uses tried, {failed} failed")
    return 1 if failed or not uses else 0


if __name__ == "__main__":
    sys.exit(main())
