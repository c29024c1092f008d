// Sessions of a web application, npm's `express-session` in `connect-redis`, while their server is killed: browsers log
// in and visit, each visit counts in the session, and a visit is acknowledged when the session is saved. Writes `kill`
// whenever the server shall be killed and started again, and never waits for it.
//
// What this deliberately is not: a web framework's test; plain node:http calls the middleware.
// Usage: node sessions.js PORT. Exit status 1 if a session or an acknowledged visit is lost.
import assert from 'node:assert/strict';
import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { RedisStore } from 'connect-redis';
import session from 'express-session';
import { createClient } from 'redis';

const BROWSERS = 20;
const VISITS = 40; // Acknowledged, for each browser.
const KILL_AFTER = [200, 400, 600]; // Visits acknowledged by all.
const DAY_SECONDS = 86_400;

const port = Number(process.argv[2]);
assert.ok(port, 'usage: node sessions.js PORT');

let disconnects = 0;
const client = createClient({ socket: { host: '127.0.0.1', port, reconnectStrategy: () => 50 } });
client.on('error', () => {}); // Connections break here on purpose.
client.on('reconnecting', () => { disconnects += 1; });
await client.connect();

const store = new RedisStore({ client, prefix: 'shop:', ttl: DAY_SECONDS });
const middleware = session({ store, secret: 'not one', resave: false, saveUninitialized: false });

function respond(response, status, body) {
  response.statusCode = status;
  response.end(JSON.stringify(body ?? null));
}

/** The application: /login?NAME, /visit, /look and /logout, each answered 200 when the store did what it had to. */
function application(request, response) {
  const [path, name] = request.url.split('?');
  if (path === '/login') {
    request.session.user = { name, cart: ['bread', 'sült krumpli'] };
    request.session.visits = 0;
  }
  if (!request.session.user) return respond(response, 401);
  const { user, visits } = request.session;
  if (path === '/look') return respond(response, 200, { user, visits });
  if (path === '/logout') return request.session.destroy((error) => respond(response, error ? 503 : 200));
  if (path === '/visit') request.session.visits += 1;
  return request.session.save((error) => respond(response, error ? 503 : 200, request.session.visits));
}

const server = http.createServer((request, response) => {
  middleware(request, response, (error) => (error ? respond(response, 503) : application(request, response)));
});
await new Promise((ready) => { server.listen(0, '127.0.0.1', ready); });
const address = `http://127.0.0.1:${server.address().port}`;

/** Asks until the store could answer; `unanswered` counts the times it could not. */
async function ask(browser, path) {
  for (;;) {
    const response = await fetch(address + path, { headers: browser.cookie ? { cookie: browser.cookie } : {} });
    const cookie = response.headers.get('set-cookie');
    const body = await response.json();
    if (response.status === 503) {
      browser.unanswered += 1;
      await sleep(10);
      continue;
    }
    assert.equal(response.status, 200, `${path} of ${browser.name}`);
    if (cookie) [browser.cookie] = cookie.split(';');
    return body;
  }
}

let acknowledged = 0;

async function browse(browser) {
  await ask(browser, `/login?${browser.name}`);
  for (let visit = 0; visit < VISITS; visit += 1) {
    browser.unanswered = 0;
    const before = browser.visits;
    browser.visits = await ask(browser, '/visit');
    assert.ok(before < browser.visits, `${browser.name} lost a visit: ${before}, then ${browser.visits}`);
    assert.ok(browser.visits <= before + 1 + browser.unanswered, `${browser.name}: ${before}, then ${browser.visits}`);
    acknowledged += 1;
    if (KILL_AFTER[0] === acknowledged) {
      KILL_AFTER.shift();
      console.log('kill');
    }
  }
}

const kills = KILL_AFTER.length;
const browsers = Array.from({ length: BROWSERS }, (_, index) => ({ name: `user${index}`, visits: 0, unanswered: 0 }));
await Promise.all(browsers.map(browse));
assert.ok(kills <= disconnects, `${disconnects} lost connections for ${kills} kills`);

for (const { name, visits, cookie } of browsers) {
  assert.deepEqual(await ask({ name, cookie }, '/look'), { user: { name, cart: ['bread', 'sült krumpli'] }, visits });
}
const ids = await store.ids();
assert.ok(BROWSERS <= ids.length, `${ids.length} sessions`); // A login whose answer was lost leaves one more.
for (const id of ids) {
  const seconds = await client.ttl(`shop:${id}`);
  assert.ok(0 < seconds && seconds <= DAY_SECONDS, `${id} ends in ${seconds}`);
}
for (const browser of browsers) await ask(browser, '/logout');
assert.equal(await store.length(), ids.length - BROWSERS);
console.log(`${BROWSERS} sessions, ${acknowledged} visits, ${kills} kills`);
server.close();
server.closeAllConnections();
await client.close();
