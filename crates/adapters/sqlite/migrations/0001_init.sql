-- Times are microseconds since the epoch; ids are 16 bytes; bodies are versioned JSON of `arbiter_wire::stored`.

-- The changing part of a task, kept narrow. `n` numbers tasks in the order in which they were stored.
CREATE TABLE task (
  n         INTEGER PRIMARY KEY,
  id        BLOB    NOT NULL,
  tenant    BLOB    NOT NULL,
  lane      INTEGER NOT NULL, -- where it can be claimed now
  order_key INTEGER,
  state     INTEGER NOT NULL, -- 0 ready 1 waiting 2 assigned 3 running 4 review-ready 5 in review 6 held 10 succeeded 11 failed 12 cancelled 13 dead
  due_at    INTEGER,          -- the one next moment at which something must happen
  holder    BLOB,             -- 'a' or 'n', then the id of the agent or node
  closed_at INTEGER,          -- set when nothing but retention keeps the task
  status    TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX task_id ON task (id);
CREATE INDEX task_list ON task (tenant, id);
CREATE INDEX task_claimable ON task (lane, order_key, id) WHERE state IN (0, 4);
CREATE INDEX task_due ON task (due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX task_holder ON task (holder, id) WHERE holder IS NOT NULL;
CREATE INDEX task_parked ON task (tenant, state, id) WHERE state IN (6, 13);
CREATE INDEX task_closed ON task (closed_at, id) WHERE closed_at IS NOT NULL;

-- What was asked; written once.
CREATE TABLE task_spec (
  n               INTEGER PRIMARY KEY,
  idempotency_key TEXT,       -- with tenant and submitter: where `idempotency` names the task
  body            TEXT NOT NULL
) STRICT;
CREATE TABLE idempotency (
  tenant      BLOB NOT NULL,
  submitter   BLOB NOT NULL,
  key         TEXT NOT NULL,
  fingerprint BLOB NOT NULL,
  task        BLOB NOT NULL,
  PRIMARY KEY (tenant, submitter, key)
) STRICT, WITHOUT ROWID;

-- Written once, at the end of an attempt.
CREATE TABLE attempt (
  n       INTEGER NOT NULL,
  fence   INTEGER NOT NULL,
  command BLOB    NOT NULL,
  body    TEXT    NOT NULL,
  PRIMARY KEY (n, fence)
) STRICT, WITHOUT ROWID;
CREATE TABLE stage_report (
  n       INTEGER NOT NULL,
  fence   INTEGER NOT NULL,
  stage   INTEGER NOT NULL,
  command BLOB    NOT NULL,
  body    TEXT    NOT NULL,
  PRIMARY KEY (n, fence, stage)
) STRICT, WITHOUT ROWID;
CREATE TABLE dependency (
  prerequisite BLOB NOT NULL,
  dependant    BLOB NOT NULL,
  PRIMARY KEY (prerequisite, dependant)
) STRICT, WITHOUT ROWID;
CREATE TABLE lane (lane INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
CREATE TABLE load (
  scope TEXT    NOT NULL PRIMARY KEY,
  used  INTEGER NOT NULL CHECK (used >= 0)
) STRICT, WITHOUT ROWID;
CREATE TABLE tally (
  tenant    BLOB    NOT NULL PRIMARY KEY,
  queued    INTEGER NOT NULL CHECK (queued >= 0),
  running   INTEGER NOT NULL CHECK (running >= 0),
  reviewing INTEGER NOT NULL CHECK (reviewing >= 0),
  held      INTEGER NOT NULL CHECK (held >= 0),
  dead      INTEGER NOT NULL CHECK (dead >= 0)
) STRICT, WITHOUT ROWID;

-- The leaves of one commit; `first` is the index of the first one, `root` that of the tree after the last one.
CREATE TABLE audit_batch (
  first   INTEGER PRIMARY KEY,
  count   INTEGER NOT NULL CHECK (count > 0),
  root    BLOB    NOT NULL,
  hashes  BLOB    NOT NULL,
  leaves  BLOB    NOT NULL,   -- of each leaf its length (4 bytes, little-endian) and bytes
  details BLOB                -- of each leaf the length of its body plus one (0: none), the salt, the body
) STRICT;
CREATE TABLE audit_append (batch BLOB NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE audit_tile (
  level  INTEGER NOT NULL,
  number INTEGER NOT NULL,
  root   BLOB    NOT NULL,
  hashes BLOB    NOT NULL,
  PRIMARY KEY (level, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE audit_checkpoint (
  one  INTEGER PRIMARY KEY CHECK (one = 1),
  size INTEGER NOT NULL,
  root BLOB    NOT NULL,
  note TEXT    NOT NULL
) STRICT;

CREATE TABLE outbox (
  id          BLOB    NOT NULL PRIMARY KEY,
  topic       TEXT    NOT NULL,
  due_at      INTEGER,        -- null: quarantined
  tries       INTEGER NOT NULL DEFAULT 0,
  body        TEXT    NOT NULL,
  quarantined TEXT            -- the reason
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_due ON outbox (topic, due_at, id) WHERE due_at IS NOT NULL;

CREATE TABLE document (
  kind       TEXT    NOT NULL,
  tenant     BLOB    NOT NULL,
  id         TEXT    NOT NULL,
  revision   INTEGER NOT NULL,
  body       TEXT    NOT NULL,
  entries    TEXT,            -- its declared values: [[name, value], …]
  expires_at INTEGER,
  PRIMARY KEY (kind, tenant, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX document_expiry ON document (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE document_index (
  kind   TEXT NOT NULL,
  name   TEXT NOT NULL,
  value  TEXT NOT NULL,
  tenant BLOB NOT NULL,
  id     TEXT NOT NULL,
  PRIMARY KEY (kind, name, value, tenant, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE lease (
  name  TEXT    NOT NULL PRIMARY KEY,
  node  BLOB,                 -- null: given back
  fence INTEGER NOT NULL,
  until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE agent (
  id       BLOB    NOT NULL PRIMARY KEY,
  revision INTEGER NOT NULL,
  seen_at  INTEGER NOT NULL,
  able     INTEGER,           -- of the latest heartbeat
  cpu      INTEGER,           -- millionths
  memory   INTEGER,           -- millionths
  body     TEXT               -- null: removed
) STRICT;
CREATE UNIQUE INDEX agent_revision ON agent (revision);
CREATE TABLE agent_outcome (
  task  BLOB    NOT NULL,
  fence INTEGER NOT NULL,
  PRIMARY KEY (task, fence)
) STRICT, WITHOUT ROWID;
