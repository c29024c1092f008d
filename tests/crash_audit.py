"""The judge of `crash_rounds.py`: reads everything a restarted server holds and compares it with what the writers
know; and the faults that prove the judge awake.

What this deliberately is not: lenient. A key nobody wrote, a reply that was shown and then forgotten, or a fault that
could not be planted are all problems.
"""

from crash_model import FAR_FUTURE_MS, Op, Value
from crash_writers import COUNTERS, TOGETHER, now_ms
from resp import Connection

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
        observed = read_keys(connection, writer.model)
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


def read_keys(connection, model) -> dict:
    """What the server holds under the model's keys, as the model would write it."""
    observed = {}
    for start in range(0, len(model.keys), READ_BATCH_KEYS):
        keys = model.keys[start : start + READ_BATCH_KEYS]
        hashes = set(model.hashes)
        commands = [("HGETALL" if key in hashes else "GET", key) for key in keys]
        bodies = connection.pipeline(commands)
        times = connection.pipeline([("PEXPIRETIME", key) for key in keys])
        for key, body, time in zip(keys, bodies, times, strict=True):
            if key in hashes:
                body = read_hash(connection, model, key, body)
            gone = body is None or body == {} or time == TIME_OF_ABSENT  # It may expire between the two reads.
            observed[key] = None if gone else Value(body, None if time < 0 else time)
    return observed


def read_hash(connection, model, key, flat):
    """A hash's fields with the time each expires; empty when the hash is absent."""
    assert isinstance(flat, list), f"{key!r} is not a hash: {flat!r}"
    names, bodies = flat[::2], flat[1::2]
    times = [-1] * len(names)
    if model.field_ttls and names:
        times = connection.call("HPEXPIRETIME", key, "FIELDS", len(names), *names)
    cells = zip(names, bodies, times, strict=True)
    return {name: (body, None if time < 0 else time) for name, body, time in cells}


def plant_lost_key(connection, writers):
    """An acknowledged key is gone."""
    connection.call("DEL", quiet_key(writers, lambda value: True))


def plant_stale_value(connection, writers):
    """An acknowledged write was undone: the key holds something older."""
    key = quiet_key(writers, lambda value: isinstance(value.body, bytes))
    connection.call("SET", key, "older", "KEEPTTL")


def plant_lost_field(connection, writers):
    """One field of a hash is gone."""
    key = quiet_key(writers, lambda value: isinstance(value.body, dict) and 1 < len(value.body))
    connection.call("HDEL", key, connection.call("HKEYS", key)[0])


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


def quiet_key(writers, wanted):
    """An acknowledged key that no write in flight touches and that does not expire soon."""
    for writer in writers:
        model = writer.model
        touched = {key for op in model.flying for key in op.changes} | set(model.briefs)
        for key, value in model.acked.items():
            if key not in touched and value is not None and wanted(value):
                return key
    raise AssertionError("no key to plant this fault on: let the writers run longer")
