-- Measurements over time. They are of nodes, not of tenants, so only the engine reads them. `labels` is the text of
-- `arbiter_wire::stored`.
CREATE TABLE metric_series (
  id     bigint           PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  name   text COLLATE "C" NOT NULL,
  labels text COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX metric_series_key ON metric_series (name, labels);

-- Samples (span 0) and the buckets that took the place of older ones (span: their length).
CREATE TABLE metric_point (
  series bigint           NOT NULL,
  at     bigint           NOT NULL,
  span   bigint           NOT NULL,
  count  bigint           NOT NULL,
  mean   double precision NOT NULL,
  min    double precision NOT NULL,
  max    double precision NOT NULL,
  last   double precision NOT NULL,
  PRIMARY KEY (series, at, span)
);
CREATE INDEX metric_point_age ON metric_point (at, span);
CREATE INDEX metric_point_sample ON metric_point (at, series) WHERE span = 0;

-- Up to when samples were down-sampled or forgotten. Who records holds it against being moved.
CREATE TABLE metric_horizon (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  at  bigint  NOT NULL
);
INSERT INTO metric_horizon (at) VALUES (0);
