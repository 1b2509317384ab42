-- Times are microseconds since the epoch; bodies are versioned JSON of `arbiter_wire::stored`. Keys that are text are
-- compared by bytes, whatever the locale of the database. Tables of tasks come with a migration of their own.

-- The store's clock. Sessions move it by `arbiter.clock_offset`; in `arbiter.now` it stands still.
CREATE FUNCTION store_now() RETURNS bigint LANGUAGE sql VOLATILE AS $$
  SELECT coalesce(
    nullif(current_setting('arbiter.now', true), '')::bigint,
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
      + coalesce(nullif(current_setting('arbiter.clock_offset', true), '')::bigint, 0))
$$;

-- The tenant that a reader may see; none, and it sees nothing.
CREATE FUNCTION session_tenant() RETURNS uuid LANGUAGE sql STABLE AS $$
  SELECT nullif(current_setting('arbiter.tenant', true), '')::uuid
$$;

CREATE TABLE document (
  kind       text COLLATE "C" NOT NULL,
  tenant     uuid             NOT NULL,
  id         text COLLATE "C" NOT NULL,
  revision   bigint           NOT NULL,
  body       text             NOT NULL,
  entries    text,            -- its declared values: [[name, value], …]
  expires_at bigint,
  PRIMARY KEY (kind, tenant, id)
);
CREATE INDEX document_expiry ON document (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE document_index (
  kind   text COLLATE "C" NOT NULL,
  name   text COLLATE "C" NOT NULL,
  value  text COLLATE "C" NOT NULL,
  tenant uuid             NOT NULL,
  id     text COLLATE "C" NOT NULL,
  PRIMARY KEY (kind, name, value, tenant, id)
);
CREATE INDEX document_index_of ON document_index (kind, tenant, id);
ALTER TABLE document ENABLE ROW LEVEL SECURITY;
ALTER TABLE document_index ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_the_session ON document FOR SELECT USING (tenant = session_tenant());
CREATE POLICY of_the_session ON document_index FOR SELECT USING (tenant = session_tenant());

CREATE TABLE lease (
  name  text COLLATE "C" PRIMARY KEY,
  node  uuid,                 -- null: given back
  fence bigint NOT NULL,
  until bigint NOT NULL
);

CREATE TABLE outbox (
  id          uuid             PRIMARY KEY,
  topic       text COLLATE "C" NOT NULL,
  due_at      bigint,         -- null: quarantined
  tries       integer          NOT NULL DEFAULT 0,
  body        text             NOT NULL,
  quarantined text,           -- the reason
  tenant      uuid,           -- what it tells of, so that it goes when that is erased
  task        uuid
);
CREATE INDEX outbox_about ON outbox (tenant, task) WHERE tenant IS NOT NULL;
CREATE INDEX outbox_due ON outbox (topic, due_at, id) WHERE due_at IS NOT NULL;

-- The leaves of one commit; `first` is the index of the first one, null until a sequencer has placed them.
CREATE TABLE audit_batch (
  seq     bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  first   bigint,
  count   integer NOT NULL CHECK (count > 0),
  at      bigint  NOT NULL,
  hashes  bytea   NOT NULL,
  leaves  bytea   NOT NULL,   -- of each leaf its length (4 bytes, little-endian) and bytes
  details bytea               -- of each leaf the length of its body plus one (0: none), the salt, the body
);
CREATE UNIQUE INDEX audit_place ON audit_batch (first) WHERE first IS NOT NULL;
CREATE INDEX audit_unplaced ON audit_batch (seq) WHERE first IS NULL;
CREATE TABLE audit_append (batch uuid PRIMARY KEY);
CREATE TABLE audit_tile (
  level  smallint NOT NULL,
  number bigint   NOT NULL,
  hashes bytea    NOT NULL,
  PRIMARY KEY (level, number)
);
-- The tree as it is placed; who places leaves holds the lock of this row. `edge` is the stored form of the tree's edge.
CREATE TABLE audit_head (
  one  boolean PRIMARY KEY CHECK (one),
  size bigint  NOT NULL,
  root bytea   NOT NULL,
  edge bytea   NOT NULL
);
INSERT INTO audit_head (one, size, root, edge) VALUES (true, 0, sha256(''), '\x0000000000000000');
CREATE TABLE audit_checkpoint (
  one  boolean PRIMARY KEY CHECK (one),
  size bigint  NOT NULL,
  root bytea   NOT NULL,
  note text    NOT NULL
);

CREATE TABLE agent (
  id       uuid   PRIMARY KEY,
  tenant   uuid,              -- null: serves every tenant
  revision bigint NOT NULL,
  seen_at  bigint NOT NULL,
  able     boolean,           -- of the latest heartbeat
  cpu      integer,           -- millionths
  memory   integer,           -- millionths
  body     text               -- null: removed
);
CREATE UNIQUE INDEX agent_revision ON agent (revision);
-- Which agents were heard of lately is asked every few seconds, and must not read those that were not.
CREATE INDEX agent_seen ON agent (seen_at) WHERE body IS NOT NULL;
ALTER TABLE agent ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_the_session ON agent FOR SELECT
  USING (tenant = session_tenant() OR (tenant IS NULL AND session_tenant() IS NOT NULL));
-- The latest revision. Its row is locked by whoever changes the registry, so that revisions become visible in order.
CREATE TABLE registry (
  one      boolean PRIMARY KEY CHECK (one),
  revision bigint  NOT NULL
);
INSERT INTO registry (one, revision) VALUES (true, 0);
CREATE TABLE agent_outcome (
  task  uuid   NOT NULL,
  fence bigint NOT NULL,
  PRIMARY KEY (task, fence)
);
