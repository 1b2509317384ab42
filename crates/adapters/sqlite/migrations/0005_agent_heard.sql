-- Who was heard of is read in pages: by when that was, then by id.
DROP INDEX agent_seen;
CREATE INDEX agent_seen ON agent (seen_at, id) WHERE body IS NOT NULL;
