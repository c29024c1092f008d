"""redis-cli, redis-benchmark and a node program, run as their users run them and read as text.

What this deliberately is not: a measurement. redis-benchmark only has to finish every test it was asked for.
"""

import os
import pathlib
import pty
import re
import subprocess

from clients_redis_py import Mismatch, expect
from resp import encode

NODE = pathlib.Path(__file__).resolve().parent / "node"
BENCHMARK_TESTS = {
    "ping": ("PING_INLINE", "PING_MBULK"), "set": ("SET",), "get": ("GET",), "incr": ("INCR",),
    "hset": ("HSET",), "mset": ("MSET (10 keys)",),
}  # fmt: skip


def said(*words, stdin: bytes = b"") -> str:
    """What a program printed; it must succeed."""
    run = subprocess.run(words, input=stdin, capture_output=True)
    if run.returncode != 0:
        raise Mismatch(f"{words[:2]} ended with {run.returncode}: {run.stdout.decode()}{run.stderr.decode()}")
    return run.stdout.decode() + run.stderr.decode()


def cli(port: int, *words, stdin: bytes = b"") -> str:
    """redis-cli's output."""
    return said("redis-cli", "-p", str(port), *words, stdin=stdin)


def has(text: str, *patterns: str):
    """Each pattern must occur, in this order."""
    at = 0
    for pattern in patterns:
        match = re.compile(pattern, re.M).search(text, at)
        if match is None:
            raise Mismatch(f"no {pattern!r} in\n{text}")
        at = match.end()


def cli_commands(port: int):
    """Commands through stdin, as arguments, in RESP3, and formatted for other programs."""
    script = b'SET greeting "hello \\x41"\nGET greeting\nINCR greeting\nSELECT 2\nDBSIZE\nNOSUCH\nPING\n'
    has(cli(port, stdin=script), "^OK", "^hello A", "^ERR value is not an integer", "^OK", "^0",
        "^ERR unknown command 'NOSUCH'", "^PONG")  # fmt: skip
    expect(cli(port, "-x", "SET", "piped", stdin=b"from stdin"), "OK\n")
    expect(cli(port, "--csv", "MGET", "piped", "none"), '"from stdin",NULL\n')
    cli(port, "HSET", "h", "f", "v")
    expect(cli(port, "-3", "--no-raw", "HGETALL", "h"), '1# "f" => "v"\n')
    expect(cli(port, "--json", "HGETALL", "h"), '{"f":"v"}\n')
    expect(cli(port, "-n", "2", "DBSIZE"), "0\n")
    expect(cli(port, "-r", "3", "INCR", "n"), "1\n2\n3\n")
    has(cli(port, "INFO", "server"), "^# Server", "redis_version:")


def cli_help(port: int):
    """`help` inside redis-cli is made from COMMAND DOCS."""
    has(cli(port, stdin=b"help set\n"), "SET.*key value", "summary:", "group:.* string")


def cli_mass_insert(port: int):
    data = b"".join(encode("SET", f"mass:{index}", index) for index in range(20_000))
    has(cli(port, "--pipe", stdin=data), "errors: 0, replies: 20000")
    expect(cli(port, "DBSIZE"), "20000\n")


def cli_scans(port: int):
    cli(port, "MSET", "short", "x", "long", "x" * 5000)
    cli(port, "HSET", "hash", "a", "1", "b", "2")
    expect(sorted(cli(port, "--scan").split()), ["hash", "long", "short"])
    expect(cli(port, "--scan", "--pattern", "s*"), "short\n")
    has(cli(port, "--bigkeys"), "Biggest +string found '\"long\"' has 5000 bytes", "1 hashs with 2 fields")
    has(cli(port, "--memkeys"), "Biggest string found '\"long\"' has 5")


def cli_stat(port: int):
    """--stat prints until it is ended, and only a terminal sees its lines as they come."""
    ours, theirs = pty.openpty()
    program = subprocess.Popen(["redis-cli", "-p", str(port), "-i", "0.05", "--stat"], stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    while seen.count(b"\n") < 5:
        seen += os.read(ours, 4096)
    program.kill()
    program.wait()
    os.close(ours)
    has(seen.decode(), "keys +mem +clients +blocked +requests +connections", r"^\d+ +[\d.]+[BKMG] +\d+ +0 +\d+")


def cli_latency(port: int):
    low, high, mean, count = cli(port, "-i", "0.2", "--latency").split()
    expect([int(low) <= int(high), float(mean) <= float(high), 0 < int(count)], [True, True, True])


def benchmark(port: int):
    """redis-benchmark's tests that need strings and hashes only, plain, pipelined and with two threads."""
    for extra in (), ("-P", "16"), ("-r", "100000", "-d", "4096", "--threads", "2"):
        text = said("redis-benchmark", "-p", str(port), "-t", ",".join(BENCHMARK_TESTS), "-n", "3000", "-q", *extra)
        if "WARNING" in text or "rror" in text:
            raise Mismatch(text)
        lines = text.replace("\r", "\n")
        for names in BENCHMARK_TESTS.values():
            for name in names:
                has(lines, rf"^{re.escape(name)}: \d+\.\d+ requests per second")


def node_program(name: str) -> tuple:
    """The words that run a program of `tests/node`; `npm ci` gives exactly the locked versions, and runs no script of theirs."""
    installed, lock = NODE / "node_modules" / ".package-lock.json", NODE / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        said("npm", "ci", "--prefix", str(NODE), "--no-audit", "--no-fund", "--ignore-scripts")
    return "node", str(NODE / name)


def node(port: int):
    """The client of another language."""
    has(said(*node_program("client.js"), str(port)), "RESP2: .* checks", "RESP3: .* checks")


TOOLS = (cli_commands, cli_help, cli_mass_insert, cli_scans, cli_stat, cli_latency, benchmark, node)
