"""Real clients against a real server: redis-py (sync and asyncio, RESP2 and RESP3), redis-cli, redis-benchmark and
node's `redis`, limited to strings, bitmaps, hashes, keys, connection and server commands.

What this deliberately is not: the conformance suite. It answers "does my client work", one line per use, each use on
an empty database. A use that needs a program or a command the server side does not have is named as skipped; against
Larder only a missing program may be skipped.

Exit status 1 if a use failed.
"""

import shutil
import sys
import traceback

from clients_redis_py import BOTH_PROTOCOLS, NEWER_THAN_REDIS_7_0, ONCE, client, expect
from clients_tools import TOOLS
from resp import Connection
from support import Server, is_larder, parser

TRACE_FRAMES = 3
PROGRAMS = {"cli_": "redis-cli", "benchmark": "redis-benchmark", "node": "npm"}


def uses(port: int):
    """(name, function, its argument) of everything to try."""
    for protocol in 2, 3:
        for use in BOTH_PROTOCOLS:
            yield f"redis-py RESP{protocol} {use.__name__}", use, client(port, protocol=protocol)
    for use in ONCE:
        yield f"redis-py {use.__name__}", use, client(port)
    for use in TOOLS:
        yield use.__name__, use, port


def why_skipped(use, port: int, strict: bool):
    """Why this use cannot be tried here, or None."""
    for prefix, program in PROGRAMS.items():
        if use.__name__.startswith(prefix) and shutil.which(program) is None:
            return f"no {program} here"
    if not strict and use in NEWER_THAN_REDIS_7_0 and Connection(port).call("COMMAND", "INFO", "hexpire") == [None]:
        return "the server has the commands of Redis 7.0"
    return None


def attempt(name: str, use, argument) -> bool:
    """Tries one use and prints how it went."""
    try:
        use(argument)
    except Exception:
        print(f"FAILED   {name}\n{traceback.format_exc(limit=TRACE_FRAMES)}", flush=True)
        return False
    print(f"ok       {name}", flush=True)
    return True


def survives_a_restart(server):
    """What a client wrote is there after a clean shutdown."""
    client(server.port).set("kept", "yes", exat=4_000_000_000)
    expect(server.terminate(), 0)
    server.start()
    expect([client(server.port).get("kept"), client(server.port).expiretime("kept")], ["yes", 4_000_000_000])


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--only", default="", help="try only the uses whose name contains this")
    chosen = options.parse_args()
    failed = tried = 0
    with Server(chosen.server_command) as server:
        server.start()
        for name, use, argument in uses(server.port):
            if chosen.only not in name:
                continue
            client(server.port).flushall()
            if reason := why_skipped(use, server.port, is_larder(chosen.server_command)):
                print(f"skipped  {name}: {reason}")
                continue
            tried += 1
            failed += not attempt(name, use, argument)
        if chosen.only in survives_a_restart.__name__:
            tried += 1
            failed += not attempt("survives_a_restart", survives_a_restart, server)
    print(f"{tried} uses tried, {failed} failed")
    return 1 if failed or not tried else 0


if __name__ == "__main__":
    sys.exit(main())
