"""redis-py's own test suite against Redis and against Larder, and what passes there and fails here.

Downloads the release that `requirements.txt` pins as its author published it, makes a virtual environment for its tests
(under target/redis-py-suite, kept for the next time), and runs them with RESP2 and RESP3, each against a fresh server.
Prints how many passed, failed and were skipped, and names every test that fails against Larder: those that Redis passes,
and those that Redis 7.0 is too old for. Exit status 1 if one of them is not in KNOWN.

What this deliberately is not: part of CI, for it takes many minutes and the network. Left out are tests of clusters, sentinels,
modules and TLS, and those that speak to no server, or to localhost:6379 whatever they are told.
"""

import pathlib
import shutil
import subprocess
import sys
import venv
import xml.etree.ElementTree

from support import LOG_LINES_SHOWN, REDIS_COMMAND, ROOT, Server, parser

HOME = ROOT / "target" / "redis-py-suite"
PACKAGES = (
    "coverage",
    "mock",
    "numpy",
    "opentelemetry-api",
    "packaging",
    "pybreaker",
    "PyJWT",
    "pytest",
    "pytest-asyncio",
    "pytest-forked",
    "pytest-timeout",
    "redis-entraid",
    "requests",
    "xxhash",
)
PROTOCOLS = ("2", "3")
TEST_SECONDS_MAX = 60
MARKS = "not onlycluster and not redismod and not ssl and not fixed_client"
LEFT_OUT = ("maint_notifications", "test_http", "test_multidb", "test_observability", "test_scenario")
LEFT_OUT_GLOBS = ("*cluster*", "*sentinel*", "*ssl*", "*json*", "*search*", "*timeseries*", "*bloom*")
# They also make clients of their own, for localhost:6379.
LEFT_OUT_NAMES = "not client_setinfo"
# Tests that fail against Larder, by the end of their names; docs/compatibility.md says why.
KNOWN = ("test_get_moveable_keys", "test_lolwut", "test_readonly_invalid_cluster_state", "test_replicaof")


def pinned() -> str:
    """The requirement of redis-py, with its version."""
    pins = (ROOT / "tests" / "requirements.txt").read_text().splitlines()
    return next(pin for pin in pins if pin.startswith("redis=="))


def prepare() -> tuple[pathlib.Path, pathlib.Path]:
    """The directory of the release's source, and a Python that has what its tests import."""
    requirement = pinned()
    source = HOME / requirement.replace("==", "-")
    python = HOME / "venv" / "bin" / "python"
    HOME.mkdir(parents=True, exist_ok=True)
    if not python.exists():
        venv.create(HOME / "venv", with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    if not source.exists():
        download = [python, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", HOME, requirement]
        subprocess.run(download, check=True)
        shutil.unpack_archive(f"{source}.tar.gz", HOME, filter="data")
    return source, python


def run(template: str, protocol: str, tests: list[str], source: pathlib.Path, python: pathlib.Path, report: pathlib.Path):
    """Runs the suite against a fresh server: the outcome of each test by its name. The report has a log beside it."""
    command = [python, "-m", "pytest", *tests, "-v", "--tb=short", "-p", "no:cacheprovider", "-m", MARKS, "-k", LEFT_OUT_NAMES]
    for folder in ("tests", "tests/test_asyncio"):
        command += [f"--ignore={folder}/{name}" for name in LEFT_OUT]
        command += [f"--ignore-glob={folder}/test_{pattern}.py" for pattern in LEFT_OUT_GLOBS]
    report.unlink(missing_ok=True)
    with Server(template) as server, open(report.with_suffix(".log"), "wb") as log:
        server.start()
        command += [f"--redis-url=redis://127.0.0.1:{server.port}/0", f"--protocol={protocol}"]
        command += [f"--timeout={TEST_SECONDS_MAX}", f"--junit-xml={report}"]
        ended = subprocess.run(command, cwd=source, stdout=log, stderr=log, check=False)
        if not report.exists():
            raise SystemExit(ended_early(ended.returncode, server, report.with_suffix(".log")))
    return outcomes(report)


def ended_early(status: int, server: Server, log: pathlib.Path) -> str:
    """Why there is no report: pytest writes it last, so a signal or a wrong command leaves none."""
    served = server.process.poll()
    state = "is running" if served is None else f"ended with status {served}"
    last = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:])
    return f"pytest ended with status {status} and left no report; the server {state}; {log} ends:\n{last}"


def outcomes(report: pathlib.Path) -> dict[str, str]:
    """What pytest wrote down: passed, failed or skipped, by test."""
    found = {}
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        found[f"{case.get('classname')}.{case.get('name')}"] = outcome
    return found


def known(test: str) -> bool:
    """Whether it is written down why this test fails. The names of asynchronous tests end with `[single]` or `[pool]`."""
    return test.split("[")[0].endswith(KNOWN)


def counts(found: dict[str, str]) -> str:
    """How many tests ended how."""
    return ", ".join(f"{list(found.values()).count(kind)} {kind}" for kind in ("passed", "failed", "skipped"))


def main():
    options = parser(__doc__)
    redis_command = f"{REDIS_COMMAND} --enable-debug-command yes"
    options.add_argument("--redis-command", default=redis_command, help="template of the server to compare with")
    options.add_argument("tests", nargs="*", default=["tests"], help="files of the suite; default: all")
    chosen = options.parse_args()
    source, python = prepare()
    failures = {}
    for protocol in PROTOCOLS:
        # One after the other: some tests listen on ports of their own.
        theirs = run(chosen.redis_command, protocol, chosen.tests, source, python, HOME / f"redis-{protocol}.xml")
        ours = run(chosen.server_command, protocol, chosen.tests, source, python, HOME / f"larder-{protocol}.xml")
        print(f"RESP{protocol}: Redis {counts(theirs)}; Larder {counts(ours)}", flush=True)
        for test, outcome in ours.items():
            if outcome == "failed" and theirs.get(test) != "failed":
                failures.setdefault(test, f"RESP{protocol}; by Redis {theirs.get(test)}")
    for test, how in sorted(failures.items()):
        print(f"{'known' if known(test) else 'NEW'}: {test} ({how})")
    sys.exit(0 if all(map(known, failures)) else 1)


if __name__ == "__main__":
    main()
