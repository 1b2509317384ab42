-- An artifact that is whole. Its content is in the chunks of the upload that brought it.
CREATE TABLE artifact (
  tenant      uuid    NOT NULL,
  digest      bytea   NOT NULL CHECK (octet_length(digest) = 32),
  size_bytes  bigint  NOT NULL CHECK (size_bytes >= 0),
  chunk_bytes integer NOT NULL CHECK (chunk_bytes > 0), -- of every chunk but the last
  upload      uuid    NOT NULL,
  PRIMARY KEY (tenant, digest)
);
CREATE TABLE artifact_chunk (
  upload uuid    NOT NULL,
  place  integer NOT NULL,
  tenant uuid    NOT NULL,
  body   bytea   NOT NULL,
  PRIMARY KEY (upload, place)
);
-- Not compressed, so that a part of a chunk is read without the rest.
ALTER TABLE artifact_chunk ALTER COLUMN body SET STORAGE EXTERNAL;
-- Uploads that are not whole, and may never be. Null: given up, its chunks are to be cleared away.
CREATE TABLE artifact_upload (
  id         uuid PRIMARY KEY,
  touched_at bigint
);
CREATE INDEX artifact_upload_idle ON artifact_upload (touched_at);
-- How much a tenant keeps. Whoever adds or removes an artifact holds the lock of its row.
CREATE TABLE artifact_usage (
  tenant     uuid   PRIMARY KEY,
  used_bytes bigint NOT NULL CHECK (used_bytes >= 0)
) WITH (fillfactor = 50);

ALTER TABLE artifact ENABLE ROW LEVEL SECURITY;
ALTER TABLE artifact_chunk ENABLE ROW LEVEL SECURITY;
ALTER TABLE artifact_usage ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_the_session ON artifact FOR SELECT USING (tenant = session_tenant());
CREATE POLICY of_the_session ON artifact_chunk FOR SELECT USING (tenant = session_tenant());
CREATE POLICY of_the_session ON artifact_usage FOR SELECT USING (tenant = session_tenant());
