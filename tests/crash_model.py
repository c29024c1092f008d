"""What one writer of `crash_rounds.py` knows: every write it sent, which of them were acknowledged, and hence which
states of its keys a crash may leave.

What this deliberately is not: a check that the server's commands are right in general (the golden tests do that),
though every acknowledged reply is compared with the model's, so a wrong reply stops the round as well.

    acknowledged ops            ops in flight (sent, no reply read)
    --------------------------- | op 1 | op 2 | op 3 | ... | op n
           `acked`                                          `sent`

Invariants:
- Only this writer touches its keys, and it uses one connection, so the server executes and journals its ops in the
  order sent. After a crash some prefix of the ops in flight happened and the rest did not; the same prefix must
  explain every key.
- A key keeps its type: its name says which. Only brief keys expire within a test (the times of all others are years
  away); they are only written whole or deleted, so no reply depends on whether they just did.
"""

import dataclasses
import random

FAR_FUTURE_MS = 4_000_000_000_000
TEXT_KEYS, KEYS_OF_EACH_OTHER_KIND = 120, 40
TEXT_BYTES_MAX = 256 << 10
TRANSACTION_SHARE, TRANSACTION_COMMANDS_MAX = 0.15, 6


@dataclasses.dataclass(frozen=True)
class Value:
    """A key's content: `body` is bytes, a list, a set, or a dict: of field to (value, expire_at_ms or None), of member
    to score, of id to fields."""

    body: object
    expire_at_ms: int | None = None


@dataclasses.dataclass(frozen=True)
class Op:
    """One command, what it makes of its keys (None deletes), and the reply it must get (None: any).

    EXEC is one as well: what was queued `before` it happens with it, all or nothing.
    """

    words: tuple
    changes: dict
    reply: object = None
    before: tuple = ()

    def is_answered_by(self, reply) -> bool:
        """Whether `reply` is what the command had to get."""
        return answers(self.reply, reply)


def answers(expected, reply) -> bool:
    """Whether a reply is the expected one; the replies of a transaction one by one."""
    if isinstance(expected, tuple):
        return isinstance(reply, list) and len(expected) == len(reply) and all(map(answers, expected, reply))
    return expected is None or expected == reply


def explains(expected, observed, begun_ms: int, ended_ms: int) -> bool:
    """Whether `observed`, read between the two times, is what a reader of `expected` may see."""
    expire_at_ms = expected.expire_at_ms if expected else None
    if expire_at_ms is not None and expire_at_ms <= ended_ms and observed is None:
        return True
    if expire_at_ms is not None and expire_at_ms < begun_ms:
        return False
    return expected == observed


class Model:
    """The keys of one writer, acknowledged and in flight."""

    def __init__(self, name: str, makers: tuple):
        """A writer that writes what `makers` make."""
        self.name, self.makers = name, makers
        self.acked, self.sent, self.flying = {}, {}, []
        self.serial = 0
        self.texts = self._keys("t", TEXT_KEYS)
        self.numbers, self.hashes, self.briefs = (self._keys(kind, KEYS_OF_EACH_OTHER_KIND) for kind in "nhb")
        self.lists, self.sets, self.sorted_sets, self.streams = (
            self._keys(kind, KEYS_OF_EACH_OTHER_KIND) for kind in "lszx"
        )
        self.lasting = [self.texts, self.numbers, self.hashes, self.lists, self.sets, self.sorted_sets, self.streams]

    def _keys(self, kind: str, count: int) -> list:
        return [f"{self.name}:{kind}:{index}".encode() for index in range(count)]

    @property
    def keys(self) -> list:
        """Every key this writer may ever write."""
        return [key for keys in (*self.lasting, self.briefs) for key in keys]

    def fly(self, op: Op):
        """Notes `op` as sent. Must come before the bytes leave."""
        self.flying.append(op)
        self.sent.update(op.changes)

    def land(self, op: Op):
        """Notes the oldest op in flight as acknowledged."""
        assert self.flying[0] is op, "replies arrive in the order of the commands"
        self.acked.update(op.changes)
        self.flying.pop(0)

    def judge(self, observed: dict, begun_ms: int, ended_ms: int) -> list:
        """Problems with what a restarted server holds; if none, the surviving prefix becomes the acknowledged state."""

        def fits(key, state):
            return explains(state.get(key), observed.get(key), begun_ms, ended_ms)

        touched = {key for op in self.flying for key in op.changes}
        problems = [
            f"{key.decode()}: acknowledged {brief(self.acked.get(key))}, found {brief(observed.get(key))}"
            for key in self.keys
            if key not in touched and not fits(key, self.acked)
        ]
        states = self._prefixes()
        whole = [state for state in states if all(fits(key, state) for key in touched)]
        if not whole:
            alone = [key for key in touched if not any(fits(key, state) for state in states)]
            problems += [f"{key.decode()}: no write in flight explains {brief(observed.get(key))}" for key in alone]
            if not alone:
                problems.append(
                    f"{self.name}: no prefix of {len(self.flying)} ops in flight explains the keys together"
                )
        if not problems:
            self.acked, self.flying = whole[-1], []
            self.sent = dict(self.acked)
        return problems

    def _prefixes(self) -> list:
        states = [dict(self.acked)]
        for op in self.flying:
            states.append(states[-1] | op.changes)
        return states

    def next_op(self, rng: random.Random, now_ms: int) -> Op:
        """A random write, or several as a transaction, decided on the state all ops in flight will leave."""
        if rng.random() < TRANSACTION_SHARE:
            return self.next_transaction(rng, now_ms)
        return self.next_command(rng, now_ms)

    def next_command(self, rng: random.Random, now_ms: int) -> Op:
        """A random write of one command."""
        self.serial += 1
        makers, weights = zip(*self.makers, strict=True)
        return rng.choices(makers, weights)[0](self, rng, now_ms)

    def next_transaction(self, rng: random.Random, now_ms: int) -> Op:
        """A few random writes between MULTI and EXEC, over keys in any partitions: one op."""
        ops = []
        for _ in range(rng.randint(1, TRANSACTION_COMMANDS_MAX)):
            ops.append(self.next_command(rng, now_ms))
            self.sent.update(ops[-1].changes)  # Each command sees what those before it did.
        changes = {key: value for op in ops for key, value in op.changes.items()}
        before = (("MULTI",), *(op.words for op in ops))
        return Op(("EXEC",), changes, tuple(op.reply for op in ops), before)

    def body(self, rng: random.Random) -> bytes:
        """Bytes that no other write of this writer has: mostly short, some of pages, a few of many pages."""
        filler_bytes = rng.choices(
            (rng.randrange(100), rng.randrange(8 << 10), rng.randrange(TEXT_BYTES_MAX)), (90, 9, 1)
        )
        return b"%s/%d/" % (self.name.encode(), self.serial) + rng.randbytes(filler_bytes[0])


def brief(value) -> str:
    """A value short enough for one line of a report."""
    if value is None:
        return "nothing"
    text = repr(value.body)
    return (text if len(text) <= 90 else f"{text[:80]}... ({len(value.body)})") + f" expiring {value.expire_at_ms}"
