"""The judge of `crash_rounds.py`: reads everything a restarted server holds and compares it with what the writers
know; and the faults that prove the judge awake.

What this deliberately is not: lenient. A key nobody wrote, a reply that was shown and then forgotten, or a fault that
could not be planted are all problems.
"""

from crash_model import FAR_FUTURE_MS, Op, Value
from crash_writers import COUNTERS, TOGETHER, now_ms
from resp import Connection, Refused

READ_BATCH_KEYS = 64
TIME_OF_ABSENT = -2


class Shared:
    """The state of the keys that all writers share, as the last audit found it."""

    def __init__(self):
        self.counts = dict.fromkeys(COUNTERS, 0)
        self.token = None

    def judge(self, writers, counts, tokens) -> list:
        """Problems with the counters and the MSET keys found; the state found becomes the base of the next round."""
        problems = []
        for key in COUNTERS:
            acked = self.counts[key] + sum(writer.counts_acked[key] for writer in writers)
            seen = max(writer.counts_seen[key] for writer in writers)
            sent = self.counts[key] + sum(writer.counts_sent[key] for writer in writers)
            if not max(acked, seen) <= counts[key] <= sent:
                problems.append(f"{key.decode()}: acked {acked}, seen {seen}, sent {sent}, found {counts[key]}")
        last = {token for writer in writers for token in writer.tokens}
        if not any(writer.token_acked for writer in writers):
            last.add(self.token)
        if len(set(tokens)) != 1:
            problems.append(f"half an MSET: {tokens}")
        elif tokens[0] not in last:
            problems.append(f"MSET keys hold {tokens[0]}, but only these may be last: {sorted(map(str, last))}")
        if not problems:
            self.counts, self.token = counts, tokens[0]
        return problems


def audit(port: int, writers, shared: Shared) -> list:
    """All problems with what the server at `port` holds. If there are none, the writers go on from what was found."""
    connection = Connection(port)
    problems = [complaint for writer in writers for complaint in writer.complaints]
    counts = {key: int(connection.call("GET", key) or 0) for key in COUNTERS}
    problems += shared.judge(writers, counts, connection.call("MGET", *TOGETHER))
    known = set(COUNTERS) | set(TOGETHER)
    for writer in writers:
        begun_ms = now_ms()
        observed = read_keys(connection, writer)
        problems += writer.model.judge(observed, begun_ms, now_ms())
        known.update(writer.model.keys)
    problems += [f"{key!r}: nobody wrote this key" for key in scan(connection) - known]
    connection.close()
    return problems


def scan(connection) -> set:
    """Every key of the current database."""
    keys, cursor = set(), b"0"
    while True:
        cursor, page = connection.call("SCAN", cursor, "COUNT", 1000)
        keys.update(page)
        if cursor == b"0":
            return keys


def read_keys(connection, writer) -> dict:
    """What the server holds under the writer's keys, as its model would write it."""
    observed, all_keys = {}, writer.model.keys
    for start in range(0, len(all_keys), READ_BATCH_KEYS):
        keys = all_keys[start : start + READ_BATCH_KEYS]
        readers = [READERS[key.split(b":")[1]] for key in keys]
        bodies = connection.pipeline(
            [(words[0], key, *words[1:]) for key, (words, _) in zip(keys, readers, strict=True)]
        )
        times = connection.pipeline([("PEXPIRETIME", key) for key in keys])
        for key, body, time, (_, parse) in zip(keys, bodies, times, readers, strict=True):
            if isinstance(body, Refused):
                raise AssertionError(f"{key!r} has another type: {body!r}")
            body = parse(body)
            if parse is as_hash and writer.field_ttls and body:
                body = with_times(connection, key, body)
            # It may expire between the two reads. Only a stream can be empty.
            gone = time == TIME_OF_ABSENT or (not body and parse is not as_stream and parse is not bytes_or_none)
            observed[key] = None if gone or body is None else Value(body, None if time < 0 else time)
    return observed


def bytes_or_none(body):
    return body


def as_hash(flat) -> dict:
    """Fields that do not end."""
    return {name: (body, None) for name, body in zip(flat[::2], flat[1::2], strict=True)}


def with_times(connection, key, cells) -> dict:
    """A hash's fields with the time each expires."""
    times = connection.call("HPEXPIRETIME", key, "FIELDS", len(cells), *cells)
    return {
        name: (body, None if time < 0 else time)
        for (name, (body, _)), time in zip(cells.items(), times, strict=True)
    }


def as_sorted_set(flat) -> dict:
    """Members and scores; that they come in order is checked as well."""
    scores = {name: float(number) for name, number in zip(flat[::2], flat[1::2], strict=True)}
    assert list(scores) == sorted(scores, key=lambda name: (scores[name], name)), f"out of order: {flat!r}"
    return scores


def as_stream(entries) -> dict:
    """Entries by id; dicts compare without their order, which is checked here."""
    ids = [tuple(map(int, entry_id.split(b"-"))) for entry_id, _ in entries]
    assert ids == sorted(ids), f"out of order: {ids!r}"
    return dict(map(tuple, entries))


READERS = {
    b"t": (("GET",), bytes_or_none), b"n": (("GET",), bytes_or_none), b"b": (("GET",), bytes_or_none),
    b"h": (("HGETALL",), as_hash), b"l": (("LRANGE", 0, -1), list), b"s": (("SMEMBERS",), set),
    b"z": (("ZRANGE", 0, -1, "WITHSCORES"), as_sorted_set), b"x": (("XRANGE", "-", "+"), as_stream),
}  # fmt: skip


def plant_lost_key(connection, writers):
    """An acknowledged key is gone."""
    connection.call("DEL", quiet_key(writers, lambda value: True))


def plant_stale_value(connection, writers):
    """An acknowledged write was undone: the key holds something older."""
    key = quiet_key(writers, lambda value: isinstance(value.body, bytes))
    connection.call("SET", key, "older", "KEEPTTL")


def plant_lost_field(connection, writers):
    """One field of a hash is gone."""
    key = quiet_key(writers, lambda value: isinstance(value.body, dict) and 1 < len(value.body), b"h")
    connection.call("HDEL", key, connection.call("HKEYS", key)[0])


def plant_lost_element(connection, writers):
    """One element of a list is gone."""
    connection.call("LPOP", quiet_key(writers, lambda value: 1 < len(value.body), b"l"))


def plant_lost_order(connection, writers):
    """Two elements of a list have changed places."""
    key = quiet_key(writers, lambda value: 1 < len(value.body) and value.body[0] != value.body[-1], b"l")
    connection.call("LMOVE", key, key, "LEFT", "RIGHT")


def plant_lost_member(connection, writers):
    """One member of a set is gone."""
    key = quiet_key(writers, lambda value: 1 < len(value.body), b"s")
    connection.call("SREM", key, connection.call("SMEMBERS", key)[0])


def plant_lost_score(connection, writers):
    """A member of a sorted set has an older score."""
    key = quiet_key(writers, lambda value: 1 < len(value.body), b"z")
    connection.call("ZINCRBY", key, -1, connection.call("ZRANGE", key, 0, 0)[0])


def plant_lost_entry(connection, writers):
    """The last entry of a stream is gone."""
    key = quiet_key(writers, lambda value: 1 < len(value.body), b"x")
    connection.call("XDEL", key, connection.call("XREVRANGE", key, "+", "-", "COUNT", 1)[0][0])


def plant_lost_expiry(connection, writers):
    """A key forgot when it expires."""
    connection.call("PERSIST", quiet_key(writers, lambda value: FAR_FUTURE_MS <= (value.expire_at_ms or 0)))


def plant_half_mset(connection, _writers):
    """Half of an MSET happened."""
    connection.call("SET", TOGETHER[0], "0/0")


def plant_old_mset(connection, _writers):
    """A whole MSET was undone."""
    connection.call("MSET", *(word for key in TOGETHER for word in (key, "0/0")))


def plant_lost_count(connection, writers):
    """An acknowledged increment is gone, and so are all in flight."""
    sent = sum(writer.counts_sent[COUNTERS[0]] for writer in writers)
    connection.call("DECRBY", COUNTERS[0], 1 + sent)


def plant_extra_count(connection, writers):
    """An increment happened that nobody sent."""
    connection.call("INCRBY", COUNTERS[0], 1 + sum(writer.counts_sent[COUNTERS[0]] for writer in writers))


def plant_hole(connection, writers):
    """Of two ops in flight on one connection the later happened and the earlier did not."""
    first, second = writers[0].model.texts[:2]
    model = writers[0].model
    model.flying = [Op((), {first: Value(b"earlier")}), Op((), {second: Value(b"later")})]
    connection.call("DEL", first, second)
    model.acked[first] = model.acked[second] = None
    connection.call("SET", second, "later")


def plant_half_transaction(connection, writers):
    """Of a transaction in flight one command happened and the other did not."""
    first, second = writers[0].model.texts[:2]
    model = writers[0].model
    model.flying = [Op(("EXEC",), {first: Value(b"one"), second: Value(b"other")})]
    connection.call("DEL", first, second)
    model.acked[first] = model.acked[second] = None
    connection.call("SET", second, "other")


def plant_unknown_key(connection, _writers):
    """A key came from nowhere."""
    connection.call("SET", "ghost", "boo")


PLANTS = (
    plant_lost_key, plant_stale_value, plant_lost_field, plant_lost_expiry, plant_half_mset, plant_old_mset,
    plant_lost_count, plant_extra_count, plant_hole, plant_half_transaction, plant_unknown_key,
)  # fmt: skip
PLANTS_BY_KIND = {
    "l": (plant_lost_element, plant_lost_order), "s": (plant_lost_member,), "z": (plant_lost_score,),
    "x": (plant_lost_entry,),
}  # fmt: skip


def quiet_key(writers, wanted, kind: bytes = b""):
    """An acknowledged key, of this kind if one is given, that no write in flight touches and that is no brief one."""
    for writer in writers:
        model = writer.model
        touched = {key for op in model.flying for key in op.changes} | set(model.briefs)
        for key, value in model.acked.items():
            is_kind = kind in (b"", key.split(b":")[1])
            if key not in touched and value is not None and is_kind and wanted(value):
                return key
    raise AssertionError("no key to plant this fault on: let the writers run longer")
