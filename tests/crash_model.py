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
- Text, number and hash keys never expire within a test (their times are years away). Brief keys do expire; they are
  only written whole or deleted, so no reply depends on whether they just did.
"""

import dataclasses
import random

FAR_FUTURE_MS = 4_000_000_000_000
TEXT_KEYS, NUMBER_KEYS, HASH_KEYS, BRIEF_KEYS = 120, 40, 40, 40
TEXT_BYTES_MAX = 256 << 10
HASH_FIELDS = 12
BRIEF_MS_MAX = 2_000
TRANSACTION_SHARE, TRANSACTION_COMMANDS_MAX = 0.15, 6


@dataclasses.dataclass(frozen=True)
class Value:
    """A key's content: `body` is bytes, or a dict of field to (value, expire_at_ms or None)."""

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

    def __init__(self, name: str, field_ttls: bool):
        self.name, self.field_ttls = name, field_ttls
        self.acked, self.sent, self.flying = {}, {}, []
        self.serial = 0
        self.texts = self._keys("t", TEXT_KEYS)
        self.numbers = self._keys("n", NUMBER_KEYS)
        self.hashes = self._keys("h", HASH_KEYS)
        self.briefs = self._keys("b", BRIEF_KEYS)

    def _keys(self, kind: str, count: int) -> list:
        return [f"{self.name}:{kind}:{index}".encode() for index in range(count)]

    @property
    def keys(self) -> list:
        """Every key this writer may ever write."""
        return self.texts + self.numbers + self.hashes + self.briefs

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
        makers, weights = zip(
            *((maker, weight) for maker, weight in MAKERS if self.field_ttls or maker is not hash_ttl)
        )
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


def put(model, rng, _now_ms):
    key, body = rng.choice(model.texts), model.body(rng)
    if rng.random() < 0.3:
        expire_at_ms = FAR_FUTURE_MS + model.serial
        return Op(("SET", key, body, "PXAT", expire_at_ms), {key: Value(body, expire_at_ms)}, b"OK")
    return Op(("SET", key, body), {key: Value(body)}, b"OK")


def put_brief(model, rng, now_ms):
    key, body, expire_at_ms = rng.choice(model.briefs), model.body(rng), now_ms + rng.randint(1, BRIEF_MS_MAX)
    return Op(("SET", key, body, "PXAT", expire_at_ms), {key: Value(body, expire_at_ms)}, b"OK")


def put_many(model, rng, _now_ms):
    bodies = {key: model.body(rng) for key in rng.sample(model.texts, rng.randint(2, 8))}
    words = [word for pair in bodies.items() for word in pair]
    return Op(("MSET", *words), {key: Value(body) for key, body in bodies.items()}, b"OK")


def delete(model, rng, _now_ms):
    keys = rng.sample(model.texts + model.numbers + model.hashes, rng.randint(1, 3))
    count = sum(model.sent.get(key) is not None for key in keys)
    return Op(("DEL", *keys), dict.fromkeys(keys), count)


def delete_brief(model, rng, _now_ms):
    key = rng.choice(model.briefs)
    return Op(("UNLINK", key), {key: None})


def increment(model, rng, _now_ms):
    key, by = rng.choice(model.numbers), rng.choice((1, 1, 7, -3))
    old = model.sent.get(key) or Value(b"0")
    total = int(old.body) + by
    return Op(("INCRBY", key, by), {key: Value(b"%d" % total, old.expire_at_ms)}, total)


def splice(old: Value, offset: int, patch: bytes) -> Value:
    body = old.body.ljust(offset, b"\0")
    return Value(body[:offset] + patch + body[offset + len(patch) :], old.expire_at_ms)


def append(model, rng, _now_ms):
    key, patch = rng.choice(model.texts), model.body(rng)
    old = model.sent.get(key) or Value(b"")
    if TEXT_BYTES_MAX < len(old.body):
        return put(model, rng, _now_ms)
    new = splice(old, len(old.body), patch)
    return Op(("APPEND", key, patch), {key: new}, len(new.body))


def set_range(model, rng, _now_ms):
    key, patch = rng.choice(model.texts), model.body(rng)[:200]
    old = model.sent.get(key) or Value(b"")
    offset = rng.randrange(len(old.body) + 50)
    new = splice(old, offset, patch)
    return Op(("SETRANGE", key, offset, patch), {key: new}, len(new.body))


def set_bit(model, rng, _now_ms):
    key, bit = rng.choice(model.texts), rng.randrange(2)
    old = model.sent.get(key) or Value(b"")
    at = rng.randrange(8 * (len(old.body) + 10))
    byte = old.body[at // 8] if at // 8 < len(old.body) else 0
    mask = 0x80 >> at % 8
    new = splice(old, at // 8, bytes([byte | mask if bit else byte & ~mask]))
    return Op(("SETBIT", key, at, bit), {key: new}, int(bool(byte & mask)))


def expire(model, rng, _now_ms):
    key, expire_at_ms = rng.choice(model.texts + model.numbers + model.hashes), FAR_FUTURE_MS + model.serial
    old = model.sent.get(key)
    changes = {key: dataclasses.replace(old, expire_at_ms=expire_at_ms)} if old else {}
    return Op(("PEXPIREAT", key, expire_at_ms), changes, len(changes))


def persist(model, rng, _now_ms):
    key = rng.choice(model.texts + model.hashes)
    old = model.sent.get(key)
    changes = {key: dataclasses.replace(old, expire_at_ms=None)} if old and old.expire_at_ms else {}
    return Op(("PERSIST", key), changes, len(changes))


def rename(model, rng, now_ms):
    source, target = rng.sample(rng.choice((model.texts, model.numbers, model.hashes)), 2)
    if model.sent.get(source) is None:
        return put(model, rng, now_ms)
    return Op(("RENAME", source, target), {source: None, target: model.sent[source]}, b"OK")


def copy(model, rng, now_ms):
    source, target = rng.sample(rng.choice((model.texts, model.numbers, model.hashes)), 2)
    if model.sent.get(source) is None:
        return put(model, rng, now_ms)
    return Op(("COPY", source, target, "REPLACE"), {target: model.sent[source]}, 1)


def field(rng) -> bytes:
    return b"field-%d" % rng.randrange(HASH_FIELDS)


def hash_set(model, rng, _now_ms):
    key = rng.choice(model.hashes)
    old = model.sent.get(key) or Value({})
    fresh = {field(rng): (model.body(rng)[:1000], None) for _ in range(rng.randint(1, 4))}
    words = [word for name, (body, _) in fresh.items() for word in (name, body)]
    return Op(
        ("HSET", key, *words), {key: Value(old.body | fresh, old.expire_at_ms)}, len(fresh.keys() - old.body.keys())
    )


def hash_delete(model, rng, _now_ms):
    key, name = rng.choice(model.hashes), field(rng)
    old = model.sent.get(key) or Value({})
    left = {other: cell for other, cell in old.body.items() if other != name}
    changes = {key: Value(left, old.expire_at_ms) if left else None} if name in old.body else {}
    return Op(("HDEL", key, name), changes, len(changes))


def hash_increment(model, rng, _now_ms):
    key = rng.choice(model.hashes)
    old = model.sent.get(key) or Value({})
    count, expire_at_ms = old.body.get(b"count", (b"0", None))
    total = int(count) + 5
    cells = old.body | {b"count": (b"%d" % total, expire_at_ms)}
    return Op(("HINCRBY", key, "count", 5), {key: Value(cells, old.expire_at_ms)}, total)


def hash_ttl(model, rng, _now_ms):
    key, name, expire_at_ms = rng.choice(model.hashes), field(rng), FAR_FUTURE_MS + model.serial
    old = model.sent.get(key) or Value({})
    words = ("HPEXPIREAT", key, expire_at_ms, "FIELDS", 1, name)
    if name not in old.body:
        return Op(words, {}, [-2])
    cells = old.body | {name: (old.body[name][0], expire_at_ms)}
    return Op(words, {key: Value(cells, old.expire_at_ms)}, [1])


MAKERS = (
    (put, 20), (put_brief, 8), (put_many, 4), (delete, 5), (delete_brief, 1), (increment, 14), (append, 10),
    (set_range, 8), (set_bit, 5), (expire, 5), (persist, 2), (rename, 3), (copy, 3), (hash_set, 14),
    (hash_delete, 5), (hash_increment, 5), (hash_ttl, 5),
)  # fmt: skip
