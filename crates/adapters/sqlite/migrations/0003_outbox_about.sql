-- What an entry tells of, so that it goes when that is erased. Entries of hooks name it in their bodies.
ALTER TABLE outbox ADD COLUMN tenant BLOB;
ALTER TABLE outbox ADD COLUMN task BLOB;
UPDATE outbox SET
  tenant = unhex(replace(json_extract(body, '$.tenant'), '-', '')),
  task = unhex(replace(json_extract(body, '$.about.task'), '-', ''))
WHERE topic = 'hook' AND json_valid(body);
CREATE INDEX outbox_about ON outbox (tenant, task) WHERE tenant IS NOT NULL;
-- The closed tasks of a tenant are looked for when it is deleted, among however many open ones.
CREATE INDEX task_closed_of ON task (tenant, id) WHERE closed_at IS NOT NULL;
