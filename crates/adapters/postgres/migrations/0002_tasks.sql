-- The changing part of a task, kept narrow.
CREATE TABLE task (
  id        uuid     PRIMARY KEY,
  tenant    uuid     NOT NULL,
  lane      bigint   NOT NULL, -- where it can be claimed now
  order_key bigint,
  state     smallint NOT NULL, -- 0 ready 1 waiting 2 assigned 3 running 4 review-ready 5 in review 6 held 10 succeeded 11 failed 12 cancelled 13 dead
  due_at    bigint,            -- the one next moment at which something must happen
  holder    bytea,             -- 'a' or 'n', then the id of the agent or node
  closed_at bigint,            -- set when nothing but retention keeps the task
  status    text     NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
CREATE INDEX task_claimable ON task (lane, order_key, id) WHERE state IN (0, 4);
CREATE INDEX task_due ON task (due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX task_holder ON task (holder, id) WHERE holder IS NOT NULL;
CREATE INDEX task_closed ON task (closed_at, id) WHERE closed_at IS NOT NULL;
CREATE INDEX task_closed_of ON task (tenant, id) WHERE closed_at IS NOT NULL;

-- What was asked; written once. Its kind and hashes of its labels are there for lists, which read no bodies to filter.
CREATE TABLE task_spec (
  id              uuid   PRIMARY KEY,
  tenant          uuid   NOT NULL,
  submitter       uuid   NOT NULL,
  idempotency_key bytea,
  fingerprint     bytea,
  kind            text COLLATE "C" NOT NULL,
  labels          bigint[] NOT NULL,
  body            text   NOT NULL
);
CREATE INDEX task_list ON task_spec (tenant, id);
CREATE UNIQUE INDEX task_idempotency ON task_spec (tenant, submitter, idempotency_key)
  WHERE idempotency_key IS NOT NULL;

-- Written once, at the end of an attempt.
CREATE TABLE attempt (
  task    uuid   NOT NULL,
  fence   bigint NOT NULL,
  tenant  uuid   NOT NULL,
  command uuid   NOT NULL,
  body    text   NOT NULL,
  PRIMARY KEY (task, fence)
);
CREATE TABLE stage_report (
  task    uuid     NOT NULL,
  fence   bigint   NOT NULL,
  stage   smallint NOT NULL,
  tenant  uuid     NOT NULL,
  command uuid     NOT NULL,
  body    text     NOT NULL,
  PRIMARY KEY (task, fence, stage)
);
CREATE TABLE dependency (
  prerequisite uuid NOT NULL,
  dependant    uuid NOT NULL,
  PRIMARY KEY (prerequisite, dependant)
);
CREATE INDEX dependency_of ON dependency (dependant);
CREATE TABLE lane (lane bigint PRIMARY KEY, tenant uuid NOT NULL, body text NOT NULL);
CREATE TABLE load (
  scope text COLLATE "C" PRIMARY KEY,
  used  integer NOT NULL CHECK (used >= 0)
) WITH (fillfactor = 50);
-- Where a tenant's open tasks stand: the sums over its shards. Writers count on different rows, so that they do not
-- wait for each other; a single shard may be below zero.
CREATE TABLE tally (
  tenant    uuid     NOT NULL,
  shard     smallint NOT NULL,
  queued    bigint   NOT NULL,
  running   bigint   NOT NULL,
  reviewing bigint   NOT NULL,
  held      bigint   NOT NULL,
  dead      bigint   NOT NULL,
  PRIMARY KEY (tenant, shard)
) WITH (fillfactor = 50);

ALTER TABLE task ENABLE ROW LEVEL SECURITY;
ALTER TABLE task_spec ENABLE ROW LEVEL SECURITY;
ALTER TABLE attempt ENABLE ROW LEVEL SECURITY;
ALTER TABLE stage_report ENABLE ROW LEVEL SECURITY;
ALTER TABLE tally ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_the_session ON task FOR SELECT USING (tenant = session_tenant());
CREATE POLICY of_the_session ON task_spec FOR SELECT USING (tenant = session_tenant());
CREATE POLICY of_the_session ON attempt FOR SELECT USING (tenant = session_tenant());
CREATE POLICY of_the_session ON stage_report FOR SELECT USING (tenant = session_tenant());
CREATE POLICY of_the_session ON tally FOR SELECT USING (tenant = session_tenant());
