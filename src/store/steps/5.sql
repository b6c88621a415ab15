-- From version 4 to version 5: an entry keeps what else its list said of it.
ALTER TABLE watch_entries ADD COLUMN aliases TEXT NOT NULL DEFAULT '[]';
ALTER TABLE watch_entries ADD COLUMN uid TEXT;
ALTER TABLE watch_entries ADD COLUMN source_line INTEGER;
ALTER TABLE watch_entries ADD COLUMN since_revision INTEGER NOT NULL DEFAULT 0;
UPDATE watch_entries SET since_revision = coalesce((SELECT min(revision) FROM revisions WHERE version_id = first_version), 0);
-- What touches own wallets and nothing else is a class of its own, and no alert; own wallets and blocked ones at once are severe.
INSERT INTO words (topic, code, word) VALUES ('triage', 5, 'own');
UPDATE alerts SET triage = 5, triage_reasons = '["own_wallets_only"]' WHERE severity = 0 AND triage = 0 AND NOT EXISTS (
    SELECT 1 FROM alerts o JOIN alert_entries ae ON ae.alert_id = o.id JOIN watch_entries e ON e.id = ae.entry_id
    JOIN lists l ON l.id = e.list_id WHERE o.activity_id = alerts.activity_id AND l.kind <> 4);
