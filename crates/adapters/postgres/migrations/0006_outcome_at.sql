-- When the outcome of a task was counted that is not in this store: nothing else would ever take the row away. Null: it goes
-- with its task.
ALTER TABLE agent_outcome ADD COLUMN at bigint;
UPDATE agent_outcome AS o SET at = store_now() WHERE NOT EXISTS (SELECT FROM task AS t WHERE t.id = o.task);
CREATE INDEX agent_outcome_at ON agent_outcome (at) WHERE at IS NOT NULL;
