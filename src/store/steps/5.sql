-- From version 4 to version 5: an entry keeps what else its list said of it.
ALTER TABLE watch_entries ADD COLUMN aliases TEXT NOT NULL DEFAULT '[]';
ALTER TABLE watch_entries ADD COLUMN uid TEXT;
ALTER TABLE watch_entries ADD COLUMN source_line INTEGER;
ALTER TABLE watch_entries ADD COLUMN since_revision INTEGER NOT NULL DEFAULT 0;
UPDATE watch_entries SET since_revision = coalesce((SELECT min(revision) FROM revisions WHERE version_id = first_version), 0);
