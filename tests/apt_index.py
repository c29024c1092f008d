"""Loads the Debian package index through redis-py, kills the server during a second load, and compares every
acknowledged field with the source.

    pkg:<name>:<version>:<architecture>   a hash, one field per line of the package's entry, and `Load` (1 or 2)
    sha256:<hash>                         a string: the package's key
    description:<md5>                     a string: the description

A fifth of the packages and a seventh of the strings expire, years from now, at a time computed from their key, one
second later on the second load: so EXPIRETIME can be compared as well. The second load rewrites every package, so
that losing any acknowledged part of it shows: the times and `Load` would be those of the first.

What this deliberately is not: a benchmark, though it prints how long each load took. The source is the output of
`apt-cache dumpavail` (some 60,000 packages), kept under target/ so that repeated runs see the same input.

Prints counts, missing and different; exit status 1 on any, 2 if the server died on its own.
"""

import pathlib
import random
import subprocess
import sys
import threading
import time
import zlib

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from support import ROOT, SYNC_MODES, Server, ServerDied, parser

CACHE = ROOT / "target" / "apt-dumpavail.txt"
FAR_FUTURE_S = 4_000_000_000
PIPELINE_PACKAGES = 100
DIFFERENCES_SHOWN = 10
PLANTS = ("hdel", "hset", "persist", "del")


def source_text(cache: pathlib.Path) -> str:
    """The package index: from the cache, else from apt."""
    if not cache.exists():
        said = subprocess.run(["apt-cache", "dumpavail"], check=True, capture_output=True).stdout
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_bytes(said)
    return cache.read_text(errors="surrogateescape")


def parse(text: str, packages_max: int) -> list:
    """Entries as dicts of field to value, continuation lines kept; at most one of each name, version, architecture."""
    entries = {}
    for block in text.split("\n\n"):
        entry, name = {}, None
        for line in block.splitlines():
            if line.startswith(" ") and name is not None:
                entry[name] += "\n" + line
            elif ": " in line:
                name, entry[name] = line.split(": ", 1)
        if entry:
            entries.setdefault(package_key(entry), entry)
        if len(entries) == packages_max:
            break
    return list(entries.values())


def package_key(entry: dict) -> str:
    return f"pkg:{entry['Package']}:{entry['Version']}:{entry['Architecture']}"


def expire_at_s(key: str, share: int, load: int):
    """When `key` expires: one in `share` does, at a time that tells the loads apart."""
    mark = zlib.crc32(key.encode())
    return FAR_FUTURE_S + mark % 1_000_000 + load if mark % share == 0 else None


def package_writes(entry: dict, load: int) -> list:
    """The commands that store one package: (key, expected content, expiry, words)."""
    key = package_key(entry)
    fields = entry | {"Load": str(load)}
    writes = [(key, fields, expire_at_s(key, 5, load))]
    if "SHA256" in entry:
        writes.append((f"sha256:{entry['SHA256']}", key, expire_at_s(entry["SHA256"], 7, load)))
    if "Description-md5" in entry:
        writes.append((f"description:{entry['Description-md5']}", entry["Description"], None))
    return writes


def queue(pipeline, key: str, content, expiry_s):
    """Adds the commands of one write."""
    if isinstance(content, dict):
        pipeline.hset(key, mapping=content)
        if expiry_s is not None:
            pipeline.expireat(key, expiry_s)
    else:
        pipeline.set(key, content, exat=expiry_s)


class Loader:
    """Sends packages in pipelines and remembers which pipelines were acknowledged whole."""

    def __init__(self, client):
        self.client = client
        self.acked = {}  # key -> (content, expiry_s)
        self.flying = {}  # The same, sent and not acknowledged.
        self.packages_acked = 0

    def load(self, entries: list, load: int):
        """Loads all entries, or until the connection breaks."""
        for start in range(0, len(entries), PIPELINE_PACKAGES):
            part = entries[start : start + PIPELINE_PACKAGES]
            writes = [write for entry in part for write in package_writes(entry, load)]
            pipeline = self.client.pipeline(transaction=False)
            for write in writes:
                queue(pipeline, *write)
            self.flying = {key: (content, expiry_s) for key, content, expiry_s in writes}
            pipeline.execute()
            self.acked.update(self.flying)
            self.flying = {}
            self.packages_acked += len(part)


def load_and_kill(server, loader, entries, rng):
    """The second load, killed somewhere between a third and two thirds of the way, most likely inside a pipeline."""
    target = loader.packages_acked + rng.randrange(len(entries) // 3, 2 * len(entries) // 3)

    def kill():
        while loader.packages_acked < target:
            time.sleep(0.0005)
        time.sleep(rng.uniform(0, 0.01))
        server.kill9()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        loader.load(entries, 2)
    except (redis.ConnectionError, ConnectionError):
        pass
    killer.join()


def found(client, expected: dict):
    """Yields (key, content, expiry_s) as the server holds them: content None if absent, expiry None if none."""
    keys = list(expected)
    for start in range(0, len(keys), PIPELINE_PACKAGES):
        part = keys[start : start + PIPELINE_PACKAGES]
        pipeline = client.pipeline(transaction=False)
        for key in part:
            pipeline.hgetall(key) if isinstance(expected[key][0], dict) else pipeline.get(key)
            pipeline.expiretime(key)
        replies = pipeline.execute()
        for key, content, expiry_s in zip(part, replies[::2], replies[1::2], strict=True):
            yield key, content or None, expiry_s if 0 <= expiry_s else None


def compare(client, loader) -> tuple:
    """Counts of (keys, fields compared, missing, different) and the first differences, in words."""
    keys = fields = missing = different = 0
    shown = []
    for key, content, expiry_s in found(client, loader.acked):
        want, want_expiry_s = loader.acked[key]
        later, later_expiry_s = loader.flying.get(key, (want, want_expiry_s))
        want_fields = want if isinstance(want, dict) else {"": want}
        later_fields = later if isinstance(later, dict) else {"": later}
        have = content if isinstance(content, dict) else {} if content is None else {"": content}
        keys += 1
        fields += len(want_fields)
        lost = [field for field in want_fields if field not in have]
        wrong = [field for field in have if have[field] not in (want_fields.get(field), later_fields.get(field))]
        wrong += ["expiry"] if expiry_s not in (want_expiry_s, later_expiry_s) else []
        missing += len(lost)
        different += len(wrong)
        shown += [f"{key}: missing {lost}, different {wrong}"] if lost or wrong else []
    return (keys, fields, missing, different), shown[:DIFFERENCES_SHOWN]


def plant(client, loader, kind: str):
    """Damages one acknowledged key behind the comparison's back."""
    key = next(key for key, (content, expiry_s) in loader.acked.items() if isinstance(content, dict) and expiry_s)
    act = {
        "hdel": lambda: client.hdel(key, "Maintainer"),
        "hset": lambda: client.hset(key, "Version", "0"),
        "persist": lambda: client.persist(key),
        "del": lambda: client.delete(key),
    }
    act[kind]()


def run(options) -> int:
    entries = parse(source_text(options.cache), options.packages)
    rng = random.Random(options.seed)
    with Server(options.server_command, options.sync) as server:
        server.start()
        client = redis.Redis(port=server.port, decode_responses=True, encoding_errors="surrogateescape",
                             retry=Retry(NoBackoff(), 0))  # fmt: skip
        loader = Loader(client)
        begun = time.monotonic()
        loader.load(entries, 1)
        print(f"first load: {len(entries)} packages, {len(loader.acked)} keys in {time.monotonic() - begun:.1f} s")
        first = loader.packages_acked
        load_and_kill(server, loader, entries, rng)
        print(
            f"kill -9 in the second load: {loader.packages_acked - first} packages acknowledged, "
            f"{len(loader.flying)} keys in flight"
        )
        print(f"reopened in {server.start():.2f} s, {server.rss_bytes() >> 20} MiB resident")
        if options.plant:
            plant(client, loader, options.plant)
        (keys, fields, missing, different), shown = compare(client, loader)
        print(f"compared {keys} keys, {fields} fields: {missing} missing, {different} different")
        print(*shown, sep="\n", end="\n" if shown else "")
    return 1 if missing or different else 0


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--packages", type=int, default=0, help="stop after this many (default: all)")
    options.add_argument("--cache", type=pathlib.Path, default=CACHE)
    options.add_argument("--sync", choices=SYNC_MODES, default="everysec")
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options.add_argument("--plant", choices=PLANTS, help="negative control: damage one key; exit status must be 1")
    try:
        return run(options.parse_args())
    except ServerDied as death:
        print(f"the server died on its own: {death}")
        return 2


if __name__ == "__main__":
    sys.exit(main())
