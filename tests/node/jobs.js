// A job queue, npm's `bullmq`, while its server is killed: jobs plain, prioritized, delayed, failing once, and parents
// that wait for their children. Writes `kill` whenever the server shall be killed and started again, and never waits
// for it. At the end every job whose add() returned must be completed, with the result of its own data.
//
// What this deliberately is not: a claim of "exactly once". BullMQ promises "at least once", so runs may exceed jobs.
// Usage: node jobs.js PORT. Exit status 1 if a job is lost.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { FlowProducer, Queue, QueueEvents, Worker } from 'bullmq';

const JOBS = 900;
const KILL_AFTER = [200, 400, 600]; // Jobs acknowledged.
const PRODUCERS = 12;
const POLLS_WITHOUT_PROGRESS_MAX = 600;
const POLL_MS = 100;

const port = Number(process.argv[2]);
assert.ok(port, 'usage: node jobs.js PORT');
const connection = { host: '127.0.0.1', port, maxRetriesPerRequest: null, retryStrategy: () => 50 };

let runs = 0;
let disconnects = 0;
const failedOnce = new Set();
const expected = new Map(); // What each acknowledged job must return, by id.

/** Does the job's work; a `flaky` one fails when it is first seen. */
async function work(job) {
  runs += 1;
  await sleep(5);
  if (job.name === 'flaky' && !failedOnce.has(job.id)) {
    failedOnce.add(job.id);
    throw new Error('the first attempt fails');
  }
  if (job.name !== 'parent') return job.data.number ** 2;
  const children = Object.values(await job.getChildrenValues());
  return children.reduce((sum, value) => sum + value, 0);
}

const tolerate = (one) => one.on('error', () => {}); // Connections break here on purpose.
const queue = tolerate(new Queue('work', { connection }));
const flows = tolerate(new FlowProducer({ connection }));
const events = tolerate(new QueueEvents('work', { connection }));
await events.waitUntilReady();
let completedEvents = 0;
events.on('completed', () => { completedEvents += 1; });
const worker = tolerate(new Worker('work', work, {
  connection, concurrency: 10, lockDuration: 5000, stalledInterval: 1000, maxStalledCount: 1000,
}));
queue.on('ioredis:close', () => { disconnects += 1; });

/** Adds job `number` and notes what is owed once that is acknowledged. */
async function add(number) {
  const data = { number };
  const options = { attempts: 10, backoff: { type: 'fixed', delay: 20 } };
  if (number % 10 === 9) {
    const child = (value) => ({ name: 'child', queueName: 'work', data: { number: value }, opts: options });
    const tree = await flows.add({ name: 'parent', queueName: 'work', data, opts: options, children: [child(number), child(2)] });
    expected.set(tree.job.id, number ** 2 + 4);
    expected.set(tree.children[0].job.id, number ** 2);
    expected.set(tree.children[1].job.id, 4);
    return;
  }
  const [name, more] = [
    ['plain', {}], ['plain', { jobId: `named-${number}` }], ['flaky', {}],
    ['plain', { delay: 300 }], ['plain', { priority: 1 + (number % 5) }],
  ][number % 5];
  expected.set((await queue.add(name, data, { ...options, ...more })).id, number ** 2);
}

async function produce(first) {
  for (let number = first; number < JOBS; number += PRODUCERS) {
    await add(number);
    if (KILL_AFTER.length && KILL_AFTER[0] <= expected.size) {
      KILL_AFTER.shift();
      console.log('kill');
    }
  }
}

/** Waits until nothing is left to do, or nothing moves any more. */
async function drained() {
  let last = '';
  for (let still = 0; still < POLLS_WITHOUT_PROGRESS_MAX; still += 1) {
    const counts = await queue.getJobCounts('waiting', 'active', 'delayed', 'prioritized', 'waiting-children', 'paused');
    if (Object.values(counts).every((count) => count === 0)) return;
    if (JSON.stringify(counts) !== last) still = 0;
    last = JSON.stringify(counts);
    await sleep(POLL_MS);
  }
  throw new Error(`nothing moves: ${last}`);
}

const kills = KILL_AFTER.length;
await Promise.all(Array.from({ length: PRODUCERS }, (_, first) => produce(first)));
assert.equal(KILL_AFTER.length, 0, 'every kill was asked for');
await drained();

const completed = new Map((await queue.getJobs(['completed'])).map((job) => [job.id, job.returnvalue]));
const wrong = [];
for (const [id, result] of expected) {
  if (completed.get(id) !== result) wrong.push([id, result, completed.get(id), await queue.getJobState(id)]);
}
assert.deepEqual(wrong, [], 'acknowledged jobs that did not complete');
assert.equal(await queue.getFailedCount(), 0);
assert.ok(expected.size <= runs, 'every job ran');
assert.ok(completedEvents > 0, 'the stream of events went on');
assert.ok(kills <= disconnects, `${disconnects} lost connections for ${kills} kills`);
console.log(`${expected.size} jobs acknowledged, ${completed.size} completed, ${runs} runs, ${kills} kills`);
await Promise.all([worker.close(), events.close(), flows.close(), queue.close()]);
