-- When the outcome of a task was counted that is not in this store: nothing else would ever take the row away. Null: it goes
-- with its task.
ALTER TABLE agent_outcome ADD COLUMN at INTEGER;
UPDATE agent_outcome SET at = CAST(unixepoch('subsec') * 1000000 AS INTEGER)
WHERE NOT EXISTS (SELECT 1 FROM task WHERE task.id = agent_outcome.task);
CREATE INDEX agent_outcome_at ON agent_outcome (at) WHERE at IS NOT NULL;
