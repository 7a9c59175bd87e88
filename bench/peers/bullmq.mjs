// bullmq.mjs: driver of BullMQ. bench/run starts it in the folder that has node_modules; bench/README.md says what a driver does.
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { createRequire } from 'node:module';

const require = createRequire(path.join(process.env.BENCH_NODE, 'package.json'));
const { Queue, QueueEvents, Worker } = require('bullmq');
const Redis = require('ioredis');

const connection = () => new Redis({ path: process.env.BENCH_SOCKET, maxRetriesPerRequest: null });
const records = fs.openSync(process.env.BENCH_RECORDS, 'a');
const now = () => (performance.timeOrigin + performance.now()) / 1000;
const text = () => `${now().toFixed(6)} `.padEnd(200, 'x');

// Three doubles a record, some together: one write each would be felt.
const kept = [];
function record(sent) {
  kept.push(now(), sent, process.pid);
  if (kept.length >= 600) flush();
  else if (kept.length === 3) setTimeout(flush, 5);
}
function flush() {
  if (kept.length > 0) fs.writeSync(records, Buffer.from(Float64Array.from(kept).buffer));
  kept.length = 0;
}

function consume() {
  new Worker('bench', async (job) => record(parseFloat(job.data.text)), {
    connection: connection(),
    concurrency: 100,
    removeOnComplete: { count: 1000 },
    removeOnFail: { count: 1000 },
  });
}

// Calls fn(i) for each i below n, so many at a time.
async function each(n, inFlight, fn) {
  let i = 0;
  await Promise.all(Array.from({ length: inFlight }, async () => {
    while (i < n) await fn(i++);
  }));
}

async function produce() {
  const queue = new Queue('bench', { connection: connection() });
  let events;
  const add = () => queue.add('task', { text: text() });
  const addMany = () => queue.addBulk(Array.from({ length: 100 }, () => ({ name: 'task', data: { text: text() } })));
  const ask = async () => {
    const sent = now();
    const job = await add();
    await job.waitUntilFinished(events);
    record(sent);
  };
  const orders = {
    sync: (n) => each(n, 1, add),
    flight: (n) => each(n, 64, add),
    batch: (n) => each(n / 100, 8, addMany),
    paced: (n) => each(n, 1, () => new Promise((done) => { setTimeout(done, 8); }).then(add)),
    ask: (n) => each(n, 1, ask),
    ask_flight: (n) => each(n, 64, ask),
  };
  await queue.waitUntilReady();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [order, n] = line.split(' ');
    if (order.startsWith('ask') && !events) {
      // From the last event on: by default it begins with the first one after it has started to read, and who waits for an earlier one
      // waits for ever.
      const last = await connection().xrevrange(queue.toKey('events'), '+', '-', 'COUNT', 1);
      events = new QueueEvents('bench', { connection: connection(), lastEventId: last[0]?.[0] ?? '0-0' });
      events.setMaxListeners(1000);
      await events.waitUntilReady();
    }
    const begin = performance.now();
    await orders[order](Number(n));
    const seconds = (performance.now() - begin) / 1000;
    flush();
    process.stdout.write(`${seconds.toFixed(6)}\n`);
  }
  process.exit(0);
}

if (process.argv[2] === 'consume') consume();
else await produce();
