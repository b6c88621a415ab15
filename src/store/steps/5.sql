-- From version 4 to version 5: an entry keeps what else its list said of it.
ALTER TABLE watch_entries ADD COLUMN aliases TEXT NOT NULL DEFAULT '[]';
ALTER TABLE watch_entries ADD COLUMN uid TEXT;
ALTER TABLE watch_entries ADD COLUMN source_line INTEGER;
ALTER TABLE watch_entries ADD COLUMN since_revision INTEGER NOT NULL DEFAULT 0;
UPDATE watch_entries SET since_revision = coalesce((SELECT min(revision) FROM revisions WHERE version_id = first_version), 0);
CREATE TABLE list_sources (
    name          TEXT NOT NULL PRIMARY KEY,   -- of the list
    asked_for     BLOB CHECK (length(asked_for) = 32),
    sha256        BLOB CHECK (length(sha256) = 32),
    etag          TEXT,
    last_modified TEXT,
    checked_at    INTEGER,                     -- when there was a good file, or nothing newer
    failed_at     INTEGER,                     -- when it failed, if that was the last time
    last_error    TEXT                         -- without secrets
) STRICT, WITHOUT ROWID;
