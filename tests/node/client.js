// Uses Larder through npm's `redis`, in RESP2 and RESP3, as an application would.
//
// What this deliberately is not: a conformance test. It shows that the client's handshake, its reply parsers and its
// pipelining work. Usage: node client.js PORT. Exit status 1 on the first difference.
import assert from 'node:assert/strict';
import { createClient } from 'redis';

const port = Number(process.argv[2]);
assert.ok(port, 'usage: node client.js PORT');

async function checks(client) {
  let count = 0;
  const same = (got, want) => { assert.deepEqual(got, want); count += 1; };

  await client.flushAll();
  same(await client.ping(), 'PONG');
  same(await client.set('key', 'välue', { expiration: { type: 'EX', value: 100 } }), 'OK');
  same(await client.get('key'), 'välue');
  same((await client.ttl('key')) > 90, true);
  same(await client.set('key', 'other', { condition: 'NX' }), null);
  same(await client.mSet({ a: '1', b: '2' }), 'OK');
  same(await client.mGet(['a', 'b', 'none']), ['1', '2', null]);
  same(await client.incrBy('a', 41), 42);
  same(await client.append('b', '22'), 3);
  same(await client.setBit('bits', 9, 1), 0);
  same(await client.bitCount('bits'), 1);
  same(await client.hSet('hash', { one: '1', two: '2' }), 2);
  same({ ...(await client.hGetAll('hash')) }, { one: '1', two: '2' });
  same(await client.hIncrBy('hash', 'one', 9), 10);
  same(await client.type('hash'), 'hash');
  same(await client.expireAt('hash', 4_000_000_000), 1);
  same(await client.expireTime('hash'), 4_000_000_000);
  await assert.rejects(client.incr('hash'), /^.*WRONGTYPE/);

  // Commands of one turn of the event loop travel in one pipeline.
  const numbers = Array.from({ length: 5000 }, (_, index) => index);
  await Promise.all(numbers.map((number) => client.set(`n:${number}`, String(number))));
  same(await Promise.all(numbers.map((number) => client.get(`n:${number}`))), numbers.map(String));

  const found = new Set();
  for await (const keys of client.scanIterator({ MATCH: 'n:*', COUNT: 500 })) keys.forEach((key) => found.add(key));
  same(found.size, numbers.length);
  same(await client.dbSize(), numbers.length + 5);
  same((await client.info('server')).includes('redis_version'), true);
  return count;
}

for (const RESP of [2, 3]) {
  const client = createClient({ RESP, socket: { host: '127.0.0.1', port, reconnectStrategy: false } });
  client.on('error', (error) => { console.error(error); process.exit(1); });
  await client.connect();
  console.log(`RESP${RESP}: ${await checks(client)} checks`);
  await client.close();
}
