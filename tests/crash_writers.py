"""A writer of `crash_rounds.py`: one connection that writes random bursts until the server is gone, and remembers
exactly which replies it read.

What this deliberately is not: a judge. It records; `crash_audit.py` compares after the restart.
"""

import random
import time

from crash_collections import MAKERS_BY_KIND
from crash_commands import FIELD_TTL_MAKERS, MAKERS
from crash_model import Model
from resp import Closed, Connection, Refused, encode

COUNTERS = [b"shared:n:%d" % index for index in range(8)]
TOGETHER = [b"shared:m:%d" % index for index in range(8)]
BURSTS = (1, 1, 1, 4, 16, 64)


def now_ms() -> int:
    """Wall time, the same clock the server on this machine reads."""
    return time.time_ns() // 1_000_000


class Writer:
    """What one writer sent, what was acknowledged, and what it was shown."""

    def __init__(self, index: int, is_larder: bool):
        self.index, self.field_ttls = index, is_larder
        makers = MAKERS + (FIELD_TTL_MAKERS if is_larder else ())
        makers += sum(MAKERS_BY_KIND.values(), ())
        self.model = Model(f"w{index}", makers)
        self.acked_count = 0
        self.forget()

    def forget(self):
        """Starts a round: what is shared counts from the state just audited."""
        self.counts_sent = dict.fromkeys(COUNTERS, 0)
        self.counts_acked = dict.fromkeys(COUNTERS, 0)
        self.counts_seen = dict.fromkeys(COUNTERS, 0)
        self.tokens = []  # Those that may come last: the newest acknowledged and every one in flight.
        self.token_acked = False  # Whether `tokens[0]` is acknowledged.
        self.complaints = []
        self.refused = None

    def run(self, port: int, rng: random.Random):
        """Writes until the connection breaks or the server refuses a write."""
        try:
            connection = Connection(port)
            while self.refused is None:
                self._burst(connection, [self._step(rng) for _ in range(rng.choice(BURSTS))])
        except ConnectionError:
            pass

    def _burst(self, connection, steps):
        connection.send(b"".join(data for data, _, _ in steps))
        for _, settle, queued_count in steps:
            for _ in range(queued_count):
                self._accept(connection.read())
            settle(self._accept(connection.read()))
            self.acked_count += 1

    def _accept(self, reply):
        refusals = [reply, *(reply if isinstance(reply, list) else [])]
        self.refused = next((refusal for refusal in refusals if isinstance(refusal, Refused)), None)
        if self.refused is not None:
            raise Closed("refused")
        return reply

    def _step(self, rng):
        """One command, already noted as sent: its bytes, the function that takes its reply, and how many replies come
        before that: those to MULTI and what it queues."""
        kinds = (self._own, self._count, self._look, self._together, self._glance)
        return rng.choices(kinds, (80, 8, 4, 5, 3))[0](rng)

    def _own(self, rng):
        op = self.model.next_op(rng, now_ms())
        self.model.fly(op)

        def settle(reply):
            if not op.is_answered_by(reply):
                self.complaints.append(f"{op.words[:3]}: replied {reply!r}, not {op.reply!r}")
            self.model.land(op)

        data = b"".join(encode(*words) for words in (*op.before, op.words))
        return data, settle, len(op.before)

    def _count(self, rng):
        key = rng.choice(COUNTERS)
        self.counts_sent[key] += 1

        def settle(reply):
            self.counts_acked[key] += 1
            self.counts_seen[key] = max(self.counts_seen[key], reply)

        return encode("INCR", key), settle, 0

    def _look(self, rng):
        """What a reader was shown of another's write must survive as well."""
        key = rng.choice(COUNTERS)

        def settle(reply):
            self.counts_seen[key] = max(self.counts_seen[key], int(reply or 0))

        return encode("GET", key), settle, 0

    def _together(self, rng):
        self.model.serial += 1
        token = b"%d/%d" % (self.index, self.model.serial)
        self.tokens.append(token)

        def settle(_reply):
            del self.tokens[: self.tokens.index(token)]
            self.token_acked = True

        if rng.random() < 0.5:
            return encode("MSET", *(word for key in TOGETHER for word in (key, token))), settle, 0
        sets = b"".join(encode("SET", key, token) for key in TOGETHER)
        return encode("MULTI") + sets + encode("EXEC"), settle, 1 + len(TOGETHER)

    def _glance(self, _rng):
        def settle(reply):
            if len(set(reply)) != 1:
                self.complaints.append(f"MGET saw half an MSET or EXEC: {reply}")

        return encode("MGET", *TOGETHER), settle, 0
