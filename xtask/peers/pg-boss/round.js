// One round of the work of `cargo xtask bench peers` on pg-boss; a line of JSON for each measurement.
//
// `node round.js TASKS`: makes and removes the schema `peer_pg_boss` in the database of `ARBITER_TEST_POSTGRES_URL`. TASKS
// is a multiple of 3200, so that all callers have as many.

import { PgBoss } from 'pg-boss'

// callers that submit one by one, and workers that fetch one by one
const CALLERS = 32
// callers that submit in batches, and workers that fetch in batches
const BATCHERS = 4
const BATCH = 100
// between two looks at whether everything is stored as done, in milliseconds
const LOOK = 2
const SCHEMA = 'peer_pg_boss'
const QUEUE = 'bench'

const job = () => ({
  kind: 'analysis',
  title: 'Count the words of a text',
  description: 'Count the words of the text in the input and answer with the number of words.',
  text: 'one two three '.repeat(10)
})
const ANSWER = { words: 30, note: 'counted by splitting at white space' }

const url = process.env.ARBITER_TEST_POSTGRES_URL
const tasks = Number(process.argv[2])
if (!url || !(tasks > 0) || tasks % 3200 !== 0) {
  throw new Error('usage: node round.js TASKS, a multiple of 3200, with the server in ARBITER_TEST_POSTGRES_URL')
}
const few = tasks / 4

const boss = new PgBoss({ connectionString: url, schema: SCHEMA, max: CALLERS, useListenNotify: true })
boss.on('error', error => { throw error })

const together = (count, work) => Promise.all(Array.from({ length: count }, work))

async function timed (work) {
  const start = process.hrtime.bigint()
  await work()
  return Number(process.hrtime.bigint() - start) / 1e9
}

const submitSingle = count => together(CALLERS, async () => {
  for (let i = 0; i < count / CALLERS; i++) await boss.send(QUEUE, job())
})

const submitBatch = count => together(BATCHERS, async () => {
  for (let i = 0; i < count / (BATCHERS * BATCH); i++) {
    await boss.insert(QUEUE, Array.from({ length: BATCH }, () => ({ data: job() })))
  }
})

// fetches and completes until nothing is left
const drain = (workers, batchSize) => together(workers, async () => {
  for (;;) {
    const jobs = await boss.fetch(QUEUE, { batchSize })
    if (jobs.length === 0) return
    await boss.complete(QUEUE, jobs.map(one => one.id), ANSWER)
  }
})

async function open () {
  const sql = `SELECT count(*)::int AS count FROM ${SCHEMA}.job WHERE state <> 'completed'`
  const { rows } = await boss.getDb().executeSql(sql)
  return rows[0].count
}

// single submitters, and workers that notifications wake
async function life (count) {
  let handled = 0
  const options = { batchSize: BATCH, localConcurrency: BATCHERS, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 }
  await boss.work(QUEUE, options, async jobs => { handled += jobs.length; return ANSWER })
  await submitSingle(count)
  while (handled < count || await open() > 0) await new Promise(resolve => setTimeout(resolve, LOOK))
}

async function measured (measure, count, work) {
  const seconds = await timed(() => work(count))
  console.log(JSON.stringify({ measure, tasks: count, seconds }))
}

async function checked (measure, count, work) {
  await boss.deleteAllJobs(QUEUE)
  await submitBatch(count)
  await measured(measure, count, work)
  const left = await open()
  if (left > 0) throw new Error(`${left} jobs were left by ${measure}`)
}

await boss.start()
await boss.createQueue(QUEUE, { notify: true })
await measured('submit_single', few, submitSingle)
await boss.deleteAllJobs(QUEUE)
await measured('submit_batch', 2 * tasks, submitBatch)
await checked('drain_batch', tasks, () => drain(BATCHERS, BATCH))
await checked('drain_single', few, () => drain(CALLERS, 1))
await boss.deleteAllJobs(QUEUE)
await measured('life', few, life)
await boss.getDb().executeSql(`DROP SCHEMA ${SCHEMA} CASCADE`)
await boss.stop({ graceful: false })
