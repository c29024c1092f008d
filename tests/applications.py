"""Applications from the package registries, each used through its own public API while `kill -9` hits the server in the
middle: job queues (npm's BullMQ, Python's RQ), a rate limiter built on Lua scripts (`limits`), and the sessions of a web
application (express-session). The server starts again on the same directory, and nothing it acknowledged may be missing.

What this deliberately is not: a test of those libraries, whose promises are taken as they are (both queues run a job
at least once), and a measurement: nothing here depends on how long something takes. A command whose reply was lost
may have happened or not, and both are right; everything else is counted exactly.

Exit status 1 if an application failed.
"""

import contextlib
import shutil
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import limits
import redis
import rq
from limits.storage import RedisStorage
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq.registry import FinishedJobRegistry, StartedJobRegistry

from clients_tools import node_program
from support import Server, parser

KILLS = 3
PAUSE_SECONDS = 0.01  # Between two tries to reach a server that is away.


class Lost(Exception):
    """Something acknowledged is missing, or more was allowed than may be."""


def expect(fact: bool, *what):
    """`fact` must hold; `what` says what it is about."""
    if not fact:
        raise Lost(*what)


def without_retry(port: int) -> dict:
    """Options of a redis-py client that reports a lost reply instead of asking twice."""
    return {"host": "127.0.0.1", "port": port, "retry": Retry(NoBackoff(), 0)}


def bounce(server):
    """A power switch, off and on."""
    server.kill9()
    server.start()


def node_with_kills(server, name: str):
    """Runs a node program, and kills the server whenever it says `kill`."""
    kills = 0
    said_path = server.home / "node.log"
    with open(said_path, "wb") as said:
        words = [*node_program(name), str(server.port)]
        program = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=said, text=True)
    try:
        for line in program.stdout:
            if line == "kill\n":
                bounce(server)
                kills += 1
            else:
                print(f"         {line}", end="", flush=True)
        status = program.wait()
    finally:
        program.kill()  # Without a server it would wait for ever.
        program.wait()
    expect(status == 0, f"{name} ended with {status}\n{said_path.read_text()}")
    expect(kills == KILLS, f"{kills} kills")


def bullmq_completes_every_job_it_acknowledged(server):
    node_with_kills(server, "jobs.js")


def express_sessions_outlive_the_server(server):
    node_with_kills(server, "sessions.js")


RQ_JOBS = 80
RQ_WORKERS = 2
RQ_SWEEPS_MAX = 10


class RqWorkers:
    """Worker processes, started again when they give up, as a supervisor of processes would."""

    def __init__(self, server):
        self.url = f"redis://127.0.0.1:{server.port}"
        self.log_path = server.home / "rq.log"
        self.running = [self.spawn() for _ in range(RQ_WORKERS)]

    def spawn(self, *flags):
        program = "from rq.cli import main; main()"
        with open(self.log_path, "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", program, "worker", "--url", self.url, *flags, "work"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def supervise(self):
        """Replaces those that ended."""
        self.running = [self.spawn() if worker.poll() is not None else worker for worker in self.running]

    def drain(self):
        """Works off what is queued and returns."""
        status = self.spawn("--burst").wait()
        expect(status == 0, f"a worker ended with {status}\n{self.log_path.read_text()[-4000:]}")

    def stop(self):
        """Lets each finish the job it has."""
        for worker in self.running:
            worker.terminate()
        for worker in self.running:
            worker.wait()
        self.running = []


def rq_sweep(queue):
    """What RQ's maintenance does, without its minutes of patience: jobs whose worker was lost are queued again."""
    StartedJobRegistry(queue=queue).cleanup(timestamp=time.time() + 1e6)
    for job_id in queue.intermediate_queue.get_job_ids():
        job = queue.fetch_job(job_id)
        if job is not None and not job.is_finished:
            queue.enqueue_job(job)
        queue.intermediate_queue.remove(job_id)


def rq_finishes_every_job_it_acknowledged(server):
    """Jobs, of which every fifth depends on the one before it."""
    connection = redis.Redis(**without_retry(server.port))
    queue = rq.Queue("work", connection=connection)
    jobs, lost_replies, bounces = {}, 0, 0
    workers = RqWorkers(server)
    killer = None
    try:
        before = None
        for number in range(RQ_JOBS):
            if number % (RQ_JOBS // (KILLS + 1)) == 0 and 0 < number and bounces < KILLS:
                if killer is not None:
                    killer.join()
                killer = threading.Thread(target=bounce, args=(server,))
                killer.start()
                bounces += 1
            try:
                before = queue.enqueue(
                    "operator.mul", number, number, retry=rq.Retry(max=20),
                    depends_on=before if number % 5 == 4 else None,
                )  # fmt: skip
                jobs[before.id] = number
            except redis.ConnectionError:
                lost_replies += 1
                before = None
                if killer is not None:
                    killer.join()
            workers.supervise()
    finally:
        if killer is not None:
            killer.join()
        workers.stop()
    for _ in range(RQ_SWEEPS_MAX):
        rq_sweep(queue)
        workers.drain()
        unfinished = {job_id for job_id in jobs if not rq.job.Job.fetch(job_id, connection).is_finished}
        if not unfinished:
            break
    expect(bounces == KILLS, f"{bounces} kills")
    expect(not unfinished, "acknowledged jobs that did not finish", unfinished)
    finished = set(FinishedJobRegistry(queue=queue).get_job_ids())
    expect(jobs.keys() <= finished, "not in the registry", jobs.keys() - finished)
    for job_id, number in jobs.items():
        result = rq.job.Job.fetch(job_id, connection).return_value()
        expect(result == number * number, job_id, number, result)
    print(f"         {len(jobs)} jobs acknowledged, {lost_replies} unknown, {bounces} kills")


LIMIT = 900
LIMIT_CLIENTS = 8
HOUR_SECONDS = 3600


def limiter_of(port: int, strategy):
    """A limiter as one process of an application has it."""
    options = without_retry(port)
    return strategy(RedisStorage(f"redis://{options['host']}:{port}", retry=options["retry"]))


class Hits:
    """Clients that hit one limit at once, and what they were told."""

    def __init__(self, server, strategy):
        self.server, self.strategy = server, strategy
        self.item = limits.RateLimitItemPerHour(LIMIT)
        self.lock = threading.Lock()
        self.allowed = self.unknown = self.bounces = 0
        self.failed = threading.Event()

    def run(self):
        """Hits with every client until all were refused."""
        with ThreadPoolExecutor(LIMIT_CLIENTS) as pool:
            for client in [pool.submit(self.one_client) for _ in range(LIMIT_CLIENTS)]:
                client.result()

    def one_client(self):
        try:
            self.hit_until_refused(limiter_of(self.server.port, self.strategy))
        except BaseException:
            self.failed.set()
            raise

    def hit_until_refused(self, limiter):
        answered = True
        while not self.failed.is_set():
            try:
                allowed = limiter.hit(self.item, "user")
            except redis.ConnectionError:
                with self.lock:  # Only the first failure of a row can have reached the server that was killed.
                    self.unknown += answered
                answered = False
                time.sleep(PAUSE_SECONDS)
                continue
            answered = True
            if not allowed:
                return
            if self.count_and_choose_to_kill():
                bounce(self.server)

    def count_and_choose_to_kill(self) -> bool:
        """Notes a hit that was allowed; some of them make their client kill the server, while the others go on."""
        with self.lock:
            self.allowed += 1
            kill = self.bounces < KILLS and (self.bounces + 1) * LIMIT // (KILLS + 1) <= self.allowed
            self.bounces += kill
        return kill


def limit_is_kept(server, strategy):
    """Exactly as many hits as the limit allows, however often the server went away in between."""
    begun = time.time()
    hits = Hits(server, strategy)
    hits.run()
    told = f"{strategy.__name__}: {hits.allowed} allowed, {hits.unknown} unknown, {hits.bounces} kills"
    expect(hits.bounces == KILLS, told)
    expect(0 < hits.unknown <= KILLS * LIMIT_CLIENTS, told)
    expect(hits.allowed <= LIMIT <= hits.allowed + hits.unknown, told)
    limiter = limiter_of(server.port, strategy)
    bounce(server)
    with contextlib.suppress(redis.ConnectionError):
        limiter.storage.check()  # The first use after the kill finds its connection closed.
    window = limiter.get_window_stats(hits.item, "user")
    expect(window.remaining == 0, told, window)
    expect(begun + HOUR_SECONDS / 2 < window.reset_time <= time.time() + HOUR_SECONDS, told, begun, window)
    expect(not limiter.hit(hits.item, "user"), told)
    limiter.clear(hits.item, "user")
    expect(limiter.hit(hits.item, "user"), told)
    expect(limiter.get_window_stats(hits.item, "user").remaining == LIMIT - 1, told)
    expect(limiter.storage.reset() > 0, told)
    print(f"         {told}")


def fixed_window_is_kept(server):
    limit_is_kept(server, FixedWindowRateLimiter)


def moving_window_is_kept(server):
    limit_is_kept(server, MovingWindowRateLimiter)


def sliding_window_is_kept(server):
    limit_is_kept(server, SlidingWindowCounterRateLimiter)


APPLICATIONS = (
    bullmq_completes_every_job_it_acknowledged,
    rq_finishes_every_job_it_acknowledged,
    fixed_window_is_kept,
    moving_window_is_kept,
    sliding_window_is_kept,
    express_sessions_outlive_the_server,
)
OF_NODE = (bullmq_completes_every_job_it_acknowledged, express_sessions_outlive_the_server)


def attempt(template: str, application) -> bool:
    """Runs one application on a server of its own and prints how it went."""
    begun = time.monotonic()
    try:
        with Server(template) as server:
            server.start()
            application(server)
    except Exception:
        print(f"FAILED   {application.__name__}\n{traceback.format_exc()}", flush=True)
        return False
    print(f"ok       {application.__name__} ({time.monotonic() - begun:.1f} s)", flush=True)
    return True


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--only", default="", help="run only the applications whose name contains this")
    chosen = options.parse_args()
    failed = tried = 0
    for application in APPLICATIONS:
        if chosen.only not in application.__name__:
            continue
        if application in OF_NODE and shutil.which("npm") is None:
            print(f"skipped  {application.__name__}: no npm here")
            continue
        tried += 1
        failed += not attempt(chosen.server_command, application)
    print(f"{tried} applications tried, {failed} failed")
    return 1 if failed or not tried else 0


if __name__ == "__main__":
    sys.exit(main())
