-- Measurements over time. `labels` is the text of `arbiter_wire::stored`.
CREATE TABLE metric_series (
  id     INTEGER PRIMARY KEY,
  name   TEXT NOT NULL,
  labels TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX metric_series_key ON metric_series (name, labels);

-- Samples (span 0) and the buckets that took the place of older ones (span: their length).
CREATE TABLE metric_point (
  series INTEGER NOT NULL,
  at     INTEGER NOT NULL,
  span   INTEGER NOT NULL,
  count  INTEGER NOT NULL,
  mean   REAL    NOT NULL,
  min    REAL    NOT NULL,
  max    REAL    NOT NULL,
  last   REAL    NOT NULL,
  PRIMARY KEY (series, at, span)
) STRICT, WITHOUT ROWID;
CREATE INDEX metric_point_age ON metric_point (at, span);
CREATE INDEX metric_point_sample ON metric_point (at) WHERE span = 0;

-- Up to when samples were down-sampled or forgotten.
CREATE TABLE metric_horizon (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  at  INTEGER NOT NULL
) STRICT;
INSERT INTO metric_horizon (one, at) VALUES (1, 0);
