"""Kills the server at random moments under concurrent writers, and audits every restart.

Each round starts the server on the same data directory (so merge, checkpoint and replay all meet old data), lets
writers run for a random moment, ends the server (mostly `kill -9`, sometimes SIGTERM, sometimes killed once more
while it reopens) and compares what a restart finds with what the writers know:

- own keys: every acknowledged write is there, and one prefix of each connection's ops in flight explains all keys of
  that writer together (`crash_model.py`);
- shared counters: acknowledged, or shown to any reader, <= found <= sent;
- keys that all writers set together, by MSET or in a transaction: all from the same one, and from one that may have
  come last;
- nothing else: a key nobody wrote is a problem too.

The sync mode changes from round to round, and so do small segments and a small memory limit (Larder only).

What this deliberately is not: a power cut. The page cache survives a `kill -9`; the journal's own tests cut recorded
write and fsync traces. `--plant-loss` is the negative control: it plants one fault of each kind behind the judge's
back and fails unless each is reported.

Prints a line per round and a total; exit status 1 on any problem, 2 if the server died on its own.
"""

import contextlib
import random
import sys
import threading
import time

from crash_audit import PLANTS, PLANTS_BY_KIND, Shared, audit
from crash_writers import Writer
from resp import Connection
from support import SYNC_MODES, Server, ServerDied, is_larder, parser

ROUND_S_MIN, ROUND_S_MAX = 0.02, 1.0
REOPEN_S_MAX = 0.1
PROBLEMS_SHOWN = 20
FLAGS = ("", "--segment-bytes {small}", "--maxmemory {tight}", "--segment-bytes {small} --maxmemory {tight}")


def write_for(server, writers, duration_s: float, rng, end):
    """Runs the writers for a random moment, with a checkpoint asked for now and then, and ends the server."""
    threads = [
        threading.Thread(target=writer.run, args=(server.port, random.Random(rng.random()))) for writer in writers
    ]
    for thread in threads:
        thread.start()
    if rng.random() < 0.5:
        time.sleep(duration_s / 2)
        with contextlib.closing(Connection(server.port)) as connection:
            connection.call("BGSAVE")
        duration_s /= 2
    time.sleep(duration_s)
    status = end()
    for thread in threads:
        thread.join()
    return status


def play_round(server, writers, shared, rng) -> tuple:
    """One round; returns how the server was ended, the seconds the restart took, and the problems."""
    for writer in writers:
        writer.forget()
    server.start()
    problems = []
    how = rng.choices(("kill", "kill twice", "term"), (80, 10, 10))[0]
    duration_s = rng.uniform(ROUND_S_MIN, ROUND_S_MAX)
    if how == "term":
        status = write_for(server, writers, duration_s, rng, server.terminate)
        problems += [f"SIGTERM ended with status {status}\n{server.log_tail()}"] if status else []
    else:
        write_for(server, writers, duration_s, rng, server.kill9)
        problems += [f"unexpected error reply: {writer.refused}" for writer in writers if writer.refused]
    if how == "kill twice":
        server.spawn()
        time.sleep(rng.uniform(0, REOPEN_S_MAX))
        server.kill9()
    restart_s = server.start()
    return how, restart_s, problems


def run_rounds(options) -> int:
    """All rounds on one data directory. Returns how many problems there were."""
    rng = random.Random(options.seed)
    larder = is_larder(options.server_command)
    writers, shared = [Writer(index, larder) for index in range(options.writers)], Shared()
    restart_s_max, begun = 0.0, time.monotonic()
    with Server(options.server_command) as server:
        for index in range(options.rounds):
            server.sync = SYNC_MODES[index % len(SYNC_MODES)]
            server.flags = FLAGS[index % len(FLAGS)].format(small=options.segment_bytes, tight=options.maxmemory)
            acked_before = sum(writer.acked_count for writer in writers)
            how, restart_s, problems = play_round(server, writers, shared, rng)
            flying = sum(len(writer.model.flying) for writer in writers)
            problems += audit(server.port, writers, shared)
            acked = sum(writer.acked_count for writer in writers) - acked_before
            restart_s_max = max(restart_s_max, restart_s)
            print(
                f"round {index:3} {server.sync:8} {how:10} acknowledged {acked:6} in flight {flying:4} "
                f"reopened in {restart_s:5.2f} s, {disk_bytes(server) >> 20:4} MiB {server.flags}",
                flush=True,
            )
            if problems:
                report(problems)
                server.keep = True
                return len(problems)
            server.kill9()
    total = sum(writer.acked_count for writer in writers)
    print(
        f"{options.rounds} rounds, seed {options.seed}: {total} acknowledged, 0 lost; "
        f"slowest reopening {restart_s_max:.2f} s; {time.monotonic() - begun:.0f} s in all"
    )
    return 0


def disk_bytes(server) -> int:
    """Bytes of all files in the data directory, as `du` counts them."""
    return sum(path.stat().st_blocks * 512 for path in server.dir.rglob("*") if path.is_file())


def report(problems):
    """Prints the first problems."""
    for problem in problems[:PROBLEMS_SHOWN]:
        print(f"  PROBLEM {problem}")
    if PROBLEMS_SHOWN < len(problems):
        print(f"  ... and {len(problems) - PROBLEMS_SHOWN} more")


def plant_losses(options) -> int:
    """Plants each fault on a fresh directory. Returns how many went unreported."""
    unreported = 0
    rng = random.Random(options.seed)
    larder = is_larder(options.server_command)
    for plant in PLANTS + sum(PLANTS_BY_KIND.values(), ()):
        writers, shared = [Writer(index, larder) for index in range(options.writers)], Shared()
        with Server(options.server_command) as server:
            server.start()
            write_for(server, writers, ROUND_S_MAX, rng, server.kill9)
            server.start()
            connection = Connection(server.port)
            plant(connection, writers)
            problems = audit(server.port, writers, shared)
        unreported += not problems
        print(f"{plant.__name__:20} {'reported: ' + problems[0] if problems else 'NOT REPORTED'}", flush=True)
    return unreported


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=200)
    options.add_argument("--writers", type=int, default=4)
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options.add_argument("--segment-bytes", type=int, default=1 << 20, help="of the rounds with small segments")
    options.add_argument("--maxmemory", default="8mb", help="of the rounds with a tight memory limit")
    options.add_argument("--plant-loss", action="store_true", help="the negative control")
    chosen = options.parse_args()
    try:
        return 1 if (plant_losses(chosen) if chosen.plant_loss else run_rounds(chosen)) else 0
    except (ServerDied, ConnectionError) as death:
        print(f"the server died on its own: {death} (seed {chosen.seed})")
        return 2


if __name__ == "__main__":
    sys.exit(main())
