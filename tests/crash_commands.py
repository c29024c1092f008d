"""The writes of `crash_rounds.py` to strings, hashes and keys of any type: each decides on a random command, what it
makes of its keys, and what the reply must be.

What this deliberately is not: collections (`crash_collections.py`), and sending anything.
"""

import dataclasses

from crash_model import FAR_FUTURE_MS, TEXT_BYTES_MAX, Op, Value

HASH_FIELDS = 12
BRIEF_MS_MAX = 2_000


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
    keys = rng.sample([key for keys in model.lasting for key in keys], rng.randint(1, 3))
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
    key, expire_at_ms = rng.choice(rng.choice(model.lasting)), FAR_FUTURE_MS + model.serial
    old = model.sent.get(key)
    changes = {key: dataclasses.replace(old, expire_at_ms=expire_at_ms)} if old else {}
    return Op(("PEXPIREAT", key, expire_at_ms), changes, len(changes))


def persist(model, rng, _now_ms):
    key = rng.choice(rng.choice(model.lasting))
    old = model.sent.get(key)
    changes = {key: dataclasses.replace(old, expire_at_ms=None)} if old and old.expire_at_ms else {}
    return Op(("PERSIST", key), changes, len(changes))


def rename(model, rng, now_ms):
    source, target = rng.sample(rng.choice(model.lasting), 2)
    if model.sent.get(source) is None:
        return put(model, rng, now_ms)
    return Op(("RENAME", source, target), {source: None, target: model.sent[source]}, b"OK")


def copy(model, rng, now_ms):
    source, target = rng.sample(rng.choice(model.lasting), 2)
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
    (hash_delete, 5), (hash_increment, 5),
)  # fmt: skip
FIELD_TTL_MAKERS = ((hash_ttl, 5),)
