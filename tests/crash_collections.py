"""The writes of `crash_rounds.py` to lists, sets, sorted sets and streams: each decides on a random command, what it
makes of its keys, and what the reply must be.

What this deliberately is not: commands that draw lots (SPOP): what they made of their keys is known from the reply
only, and a write in flight has none.
"""

import dataclasses

from crash_model import Op, Value

MEMBERS = 30
ELEMENT_BYTES_MAX = 1_000
STREAM_LENGTH_MAX = 20
SET_STORES = (("SUNIONSTORE", set.union), ("SINTERSTORE", set.intersection), ("SDIFFSTORE", set.difference))


def old_body(model, key, empty):
    """What the key will hold before this write, to be changed."""
    old = model.sent.get(key)
    return type(empty)(old.body) if old else empty


def left(model, key, body):
    """The key with another body; an empty collection does not exist."""
    old = model.sent.get(key)
    if not body:
        return None
    return dataclasses.replace(old, body=body) if old else Value(body)


def element(model, rng) -> bytes:
    return model.body(rng)[:ELEMENT_BYTES_MAX] if rng.random() < 0.8 else b"%d" % rng.randrange(10)


def list_push(model, rng, _now_ms):
    key, at_head = rng.choice(model.lists), rng.random() < 0.5
    body, fresh = old_body(model, key, []), [element(model, rng) for _ in range(rng.randint(1, 4))]
    body = fresh[::-1] + body if at_head else body + fresh
    return Op(("LPUSH" if at_head else "RPUSH", key, *fresh), {key: left(model, key, body)}, len(body))


def list_pop(model, rng, _now_ms):
    key, at_head, count = rng.choice(model.lists), rng.random() < 0.5, rng.randint(1, 3)
    body = old_body(model, key, [])
    popped, rest = (body[:count], body[count:]) if at_head else (body[::-1][:count], body[:-count])
    changes = {key: left(model, key, rest)} if popped else {}
    return Op(("LPOP" if at_head else "RPOP", key, count), changes, popped or None)


def list_change(model, rng, now_ms):
    key, fresh = rng.choice(model.lists), element(model, rng)
    body = old_body(model, key, [])
    if not body:
        return list_push(model, rng, now_ms)
    at = rng.randrange(len(body))
    if rng.random() < 0.5:
        body[at] = fresh
        return Op(("LSET", key, at, fresh), {key: left(model, key, body)}, b"OK")
    pivot = body[at]
    body.insert(body.index(pivot) + 1, fresh)
    return Op(("LINSERT", key, "AFTER", pivot, fresh), {key: left(model, key, body)}, len(body))


def list_shrink(model, rng, _now_ms):
    key = rng.choice(model.lists)
    body = old_body(model, key, [])
    if rng.random() < 0.5:
        first, last = rng.randrange(3), rng.randrange(-3, 0)
        rest = body[first : len(body) + last + 1]
        return Op(("LTRIM", key, first, last), {key: left(model, key, rest)} if body else {}, b"OK")
    value = rng.choice(body) if body else b"nothing"
    rest = [other for other in body if other != value]
    changes = {key: left(model, key, rest)} if len(rest) < len(body) else {}
    return Op(("LREM", key, 0, value), changes, len(body) - len(rest))


def list_move(model, rng, _now_ms):
    source, target = rng.sample(model.lists, 2)
    body = old_body(model, source, [])
    if not body:
        return Op(("LMOVE", source, target, "LEFT", "RIGHT"), {})
    onto = [*old_body(model, target, []), body[0]]
    changes = {source: left(model, source, body[1:]), target: left(model, target, onto)}
    return Op(("LMOVE", source, target, "LEFT", "RIGHT"), changes, body[0])


def member(rng) -> bytes:
    number = rng.randrange(MEMBERS)
    return b"%d" % number if number % 2 else b"member-%d" % number


def members(rng, count_max: int = 5) -> list:
    return [member(rng) for _ in range(rng.randint(1, count_max))]


def set_add(model, rng, _now_ms):
    key, fresh = rng.choice(model.sets), members(rng)
    if rng.random() < 0.2:
        fresh.append(element(model, rng))
    body = old_body(model, key, set())
    both = body | set(fresh)
    return Op(("SADD", key, *fresh), {key: left(model, key, both)} if both != body else {}, len(both) - len(body))


def set_remove(model, rng, _now_ms):
    key, gone = rng.choice(model.sets), members(rng)
    body = old_body(model, key, set())
    rest = body - set(gone)
    return Op(("SREM", key, *gone), {key: left(model, key, rest)} if rest != body else {}, len(body) - len(rest))


def set_move(model, rng, _now_ms):
    (source, target), name = rng.sample(model.sets, 2), member(rng)
    body = old_body(model, source, set())
    if name not in body:
        return Op(("SMOVE", source, target, name), {}, 0)
    changes = {
        source: left(model, source, body - {name}),
        target: left(model, target, old_body(model, target, set()) | {name}),
    }
    return Op(("SMOVE", source, target, name), changes, 1)


def set_store(model, rng, _now_ms):
    target, one, other = rng.sample(model.sets, 3)
    name, combine = rng.choice(SET_STORES)
    body = combine(old_body(model, one, set()), old_body(model, other, set()))
    return Op((name, target, one, other), {target: Value(body) if body else None}, len(body))


def score(rng) -> float:
    return rng.randrange(-20, 20) / 2


def as_text(number: float) -> bytes:
    return b"%d" % number if number == int(number) else repr(number).encode()


def ranked(body) -> list:
    return sorted(body, key=lambda name: (body[name], name))


def sorted_set_add(model, rng, _now_ms):
    key, fresh = rng.choice(model.sorted_sets), {name: score(rng) for name in members(rng)}
    body = old_body(model, key, {})
    both = body | fresh
    words = [word for name, number in fresh.items() for word in (as_text(number), name)]
    return Op(("ZADD", key, *words), {key: left(model, key, both)}, len(both) - len(body))


def sorted_set_increment(model, rng, _now_ms):
    key, name, by = rng.choice(model.sorted_sets), member(rng), score(rng)
    body = old_body(model, key, {})
    total = body.get(name, 0.0) + by
    return Op(("ZINCRBY", key, as_text(by), name), {key: left(model, key, body | {name: total})}, as_text(total))


def sorted_set_remove(model, rng, _now_ms):
    key, kind = rng.choice(model.sorted_sets), rng.randrange(3)
    body = old_body(model, key, {})
    if kind == 0:
        gone = set(members(rng)) & body.keys()
        words, reply = ("ZREM", key, *(gone or (b"nobody",))), len(gone)
    elif kind == 1:
        gone = ranked(body)[1:3]
        words, reply = ("ZREMRANGEBYRANK", key, 1, 2), len(gone)
    else:
        gone = ranked(body)[:2]
        words, reply = ("ZPOPMIN", key, 2), [word for name in gone for word in (name, as_text(body[name]))]
    rest = {name: number for name, number in body.items() if name not in gone}
    return Op(words, {key: left(model, key, rest)} if gone else {}, reply)


def sorted_set_store(model, rng, _now_ms):
    target, one, other = rng.sample(model.sorted_sets, 3)
    body, more = old_body(model, one, {}), old_body(model, other, {})
    both = {name: body.get(name, 0.0) + more.get(name, 0.0) for name in body.keys() | more.keys()}
    return Op(("ZUNIONSTORE", target, 2, one, other), {target: Value(both) if both else None}, len(both))


def kept(model, key, body):
    """A stream with another body: it may be empty, and still be there."""
    old = model.sent.get(key)
    return dataclasses.replace(old, body=body) if old else Value(body)


def stream_add(model, rng, _now_ms):
    key, entry_id = rng.choice(model.streams), b"%d-%d" % (model.serial, rng.randrange(3))
    fields = [b"field", element(model, rng)] * rng.randint(1, 2)
    body = old_body(model, key, {}) | {entry_id: fields}
    limit = ()
    if rng.random() < 0.3:
        limit = ("MAXLEN", "=", STREAM_LENGTH_MAX)
        body = dict(list(body.items())[-STREAM_LENGTH_MAX:])
    return Op(("XADD", key, *limit, entry_id, *fields), {key: kept(model, key, body)}, entry_id)


def stream_remove(model, rng, _now_ms):
    key = rng.choice(model.streams)
    body = old_body(model, key, {})
    if rng.random() < 0.5:
        gone = list(body)[: -rng.randint(1, STREAM_LENGTH_MAX)]
        words = ("XTRIM", key, "MAXLEN", "=", len(body) - len(gone))
    else:
        gone = rng.sample(list(body), min(len(body), 2))
        words = ("XDEL", key, *(gone or (b"1-1",)))
    rest = {entry_id: fields for entry_id, fields in body.items() if entry_id not in gone}
    return Op(words, {key: kept(model, key, rest)} if gone else {}, len(gone))


MAKERS_BY_KIND = {
    "l": ((list_push, 10), (list_pop, 6), (list_change, 4), (list_shrink, 2), (list_move, 4)),
    "s": ((set_add, 10), (set_remove, 5), (set_move, 3), (set_store, 2)),
    "z": ((sorted_set_add, 10), (sorted_set_increment, 5), (sorted_set_remove, 5), (sorted_set_store, 2)),
    "x": ((stream_add, 12), (stream_remove, 4)),
}
