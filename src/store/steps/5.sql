-- From version 4 to version 5: an entry keeps what else its list said of it; an index for looking back, and which alerts came of it.
ALTER TABLE watch_entries ADD COLUMN aliases TEXT NOT NULL DEFAULT '[]';
ALTER TABLE watch_entries ADD COLUMN uid TEXT;
ALTER TABLE watch_entries ADD COLUMN source_line INTEGER;
ALTER TABLE watch_entries ADD COLUMN since_revision INTEGER NOT NULL DEFAULT 0;
UPDATE watch_entries SET since_revision = coalesce((SELECT min(revision) FROM revisions WHERE version_id = first_version), 0);
ALTER TABLE list_versions ADD COLUMN address_id INTEGER REFERENCES addresses (id);
UPDATE list_versions SET address_id = by_hand.address_id
FROM (SELECT first_version AS version, address_id FROM watch_entries UNION SELECT end_version, address_id FROM watch_entries) AS by_hand
WHERE by_hand.version = list_versions.id AND sha256 IS NULL;
ALTER TABLE alerts ADD COLUMN retroactive INTEGER NOT NULL DEFAULT 0;
CREATE TABLE lookback (
    block_id INTEGER PRIMARY KEY REFERENCES blocks (id),
    planes   INTEGER NOT NULL,
    decoder  INTEGER NOT NULL,
    filter   BLOB    NOT NULL
) STRICT;
DROP VIEW alert_report;
CREATE VIEW alert_report AS
SELECT '0x' || lower(hex(a.alert_id))  AS id,
       status.word                     AS status,
       severity.word                   AS severity,
       triage.word                     AS triage,
       a.block_number                  AS block_number,
       '0x' || nullif(lower(hex(b.hash)), '')      AS block_hash,
       datetime(b.timestamp, 'unixepoch') AS time,
       '0x' || nullif(lower(hex(t.hash)), '')      AS tx_hash,
       kind.word                       AS kind,
       direction.word                  AS direction,
       '0x' || nullif(lower(hex(f.address)), '')   AS from_address,
       '0x' || nullif(lower(hex(r.address)), '')   AS to_address,
       asset.word                      AS asset,
       '0x' || nullif(lower(hex(token.address)), '') AS token,
       tokens.symbol                   AS symbol,
       tokens.decimals                 AS decimals,
       m.amount                        AS amount,
       m.token_id                      AS token_id,
       '0x' || nullif(lower(hex(w.address)), '')   AS watched,
       e.label                         AS label,
       e.entity                        AS entity,
       e.programs                      AS programs,
       l.name                          AS list,
       designation.word                AS designation,
       iif(substr(a.location, 5, 1) = x'02', 'unproven', proof.word) AS proof,
       a.retroactive                   AS retroactive
FROM alerts a
JOIN blocks b ON b.id = a.block_id
JOIN activities m ON m.id = a.activity_id
JOIN addresses w ON w.id = a.watched_id
JOIN alert_entries ae ON ae.alert_id = a.id AND ae.rank = 0
JOIN watch_entries e ON e.id = ae.entry_id
JOIN lists l ON l.id = e.list_id
JOIN words status ON status.topic = 'status' AND status.code = b.status
JOIN words severity ON severity.topic = 'severity' AND severity.code = a.severity
JOIN words triage ON triage.topic = 'triage' AND triage.code = a.triage
JOIN words kind ON kind.topic = 'kind' AND kind.code = m.kind
JOIN words asset ON asset.topic = 'asset' AND asset.code = m.asset
JOIN words direction ON direction.topic = 'direction' AND direction.code = a.direction
JOIN words designation ON designation.topic = 'designation' AND designation.code = ae.designation
JOIN words proof ON proof.topic = 'proof' AND proof.code = b.proof
LEFT JOIN transactions t ON t.id = m.tx_id
LEFT JOIN addresses f ON f.id = m.from_id
LEFT JOIN addresses r ON r.id = m.to_id
LEFT JOIN addresses token ON token.id = m.token_address_id
LEFT JOIN tokens ON tokens.address_id = m.token_address_id;
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
CREATE VIEW list_digest_lines AS
WITH versions AS (SELECT v.id, v.list_id, iif(v.published_given, v.published, '') || char(9) || coalesce(lower(hex(v.sha256)), 'by hand') AS version,
                         v.accepted, v.rejected FROM list_versions v)
SELECT 1 AS part, 'version' || char(9) || l.name || char(9) || l.kind || char(9) || v.version || char(9) || v.accepted || char(9) || v.rejected AS line
FROM versions v JOIN lists l ON l.id = v.list_id
UNION ALL
SELECT 2, 'entry' || char(9) || l.name || char(9) || lower(hex(x.address)) || char(9) || coalesce(e.label, '') || char(9)
       || coalesce(e.entity, '') || char(9) || e.aliases || char(9) || e.programs || char(9) || coalesce(e.uid, '') || char(9)
       || coalesce(e.listed_from, '') || char(9) || coalesce(e.delisted_on, '') || char(9) || coalesce(e.derived_from, '') || char(9)
       || coalesce(e.known_from, '') || char(9) || first.version || char(9) || coalesce(ended.version, '') || char(9) || e.state
FROM watch_entries e
JOIN addresses x ON x.id = e.address_id
JOIN lists l ON l.id = e.list_id
JOIN versions first ON first.id = e.first_version
LEFT JOIN versions ended ON ended.id = e.end_version;
-- What touches own wallets and nothing else is a class of its own, and no alert; own wallets and blocked ones at once are severe.
INSERT INTO words (topic, code, word) VALUES ('triage', 5, 'own');
UPDATE alerts SET triage = 5, triage_reasons = '["own_wallets_only"]' WHERE severity = 0 AND triage = 0 AND NOT EXISTS (
    SELECT 1 FROM alerts o JOIN alert_entries ae ON ae.alert_id = o.id JOIN watch_entries e ON e.id = ae.entry_id
    JOIN lists l ON l.id = e.list_id WHERE o.activity_id = alerts.activity_id AND l.kind <> 4);
