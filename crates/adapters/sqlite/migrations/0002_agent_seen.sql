-- Which agents were heard of lately is asked every few seconds, and must not read those that were not.
CREATE INDEX agent_seen ON agent (seen_at) WHERE body IS NOT NULL;
