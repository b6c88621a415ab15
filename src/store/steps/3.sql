-- From version 2 to version 3: the ledger says whether every sender of a block was recovered (all that was proven so far
-- had them all); and what queries ask for is found in the order of blocks.
INSERT INTO words (topic, code, word) VALUES ('plane', 5, 'senders');
UPDATE blocks SET planes = planes | 32 WHERE proof = 1;
UPDATE coverage SET planes = planes | 32 WHERE proof = 1;

ALTER TABLE activities ADD COLUMN block_number INTEGER NOT NULL DEFAULT 0;
ALTER TABLE alert_entries ADD COLUMN block_number INTEGER NOT NULL DEFAULT 0;
ALTER TABLE alert_entries ADD COLUMN list_id INTEGER NOT NULL DEFAULT 0;
DROP INDEX activities_by_from;
DROP INDEX activities_by_to;
DROP INDEX activities_by_token;
DROP INDEX alert_entries_by_entry;
DROP INDEX alerts_in_order;
DROP INDEX alerts_by_watched;
UPDATE activities SET block_number = (SELECT number FROM blocks WHERE id = block_id);
UPDATE alert_entries SET block_number = (SELECT a.block_number FROM alerts a WHERE a.id = alert_id),
    list_id = (SELECT e.list_id FROM watch_entries e WHERE e.id = entry_id);
-- Serves query --status orphaned.
CREATE INDEX blocks_orphaned ON blocks (number) WHERE status = 3;
-- Serves query --kind, and --asset of the chain's own currency.
CREATE INDEX activities_by_kind ON activities (kind, block_number);
-- Serve query --counterparty.
CREATE INDEX activities_by_from ON activities (from_id, block_number) WHERE from_id IS NOT NULL;
CREATE INDEX activities_by_to ON activities (to_id, block_number) WHERE to_id IS NOT NULL;
-- Serves query --asset.
CREATE INDEX activities_by_token ON activities (token_address_id, block_number) WHERE token_address_id IS NOT NULL;
-- Serves query --min-amount in base units.
CREATE INDEX activities_by_amount ON activities (length(amount), amount);
-- Serves every query that names no rarer thing: newest or oldest first. Within a block a query sorts what little there is.
CREATE INDEX alerts_in_order ON alerts (block_number);
-- Serves query --address.
CREATE INDEX alerts_by_watched ON alerts (watched_id, block_number);
-- Serves query --severity.
CREATE INDEX alerts_by_severity ON alerts (severity, block_number);
-- Serve query --direction self and party, and --triage of noise: what is not so is most of the alerts.
CREATE INDEX alerts_by_direction ON alerts (direction, block_number) WHERE direction > 1;
CREATE INDEX alerts_by_triage ON alerts (triage, block_number) WHERE triage > 0;
-- Serves query --label and --entity.
CREATE INDEX alert_entries_by_entry ON alert_entries (entry_id, block_number);
-- Serves query --list.
CREATE INDEX alert_entries_by_list ON alert_entries (list_id, block_number);

-- The content of the database as text, the same for the same chain and lists on any machine: every canonical block, the ledger,
-- and every alert that stands. `bolo status --digest` is the SHA-256 of these lines in order, each ended by a line feed.
-- Not in it: when and by whom a thing was seen, what is pending or final just now, and what a reorg orphaned. A proven block of which
-- not every sender was recovered says so by 'matched' at the end of its lines.
DROP VIEW digest_lines;
CREATE VIEW digest_lines AS
SELECT 1 AS part, b.number AS number, x'' AS place, 0 AS side,
       'block' || char(9) || b.number || char(9) || lower(hex(b.hash)) || char(9) || b.proof || char(9) || (b.planes & ~32)
       || iif(b.proof = 1 AND b.planes & 32 = 0, char(9) || 'matched', '') AS line
FROM blocks b WHERE b.status <> 3
UNION ALL
SELECT 2, min(first), x'', 0, 'covered' || char(9) || min(first) || char(9) || max(last) || char(9) || proof || char(9)
       || (planes & ~32) || iif(proof = 1 AND planes & 32 = 0, char(9) || 'matched', '')
FROM (SELECT *, sum(begins) OVER (ORDER BY first) AS run
      FROM (SELECT *, NOT (coalesce(lag(last) OVER w, -2) = first - 1 AND lag(proof) OVER w = proof
                           AND lag(planes) OVER w = planes) AS begins
            FROM coverage WINDOW w AS (ORDER BY first)))
GROUP BY run
UNION ALL
SELECT 3, a.block_number, a.location, a.direction,
       'alert' || char(9) || lower(hex(a.alert_id)) || char(9) || lower(hex(b.hash)) || char(9) || lower(hex(a.location)) || char(9)
       || lower(hex(w.address)) || char(9) || a.direction || char(9) || m.kind || char(9) || coalesce(lower(hex(f.address)), '')
       || char(9) || coalesce(lower(hex(r.address)), '') || char(9) || m.asset || char(9) || coalesce(lower(hex(t.address)), '')
       || char(9) || m.amount || char(9) || coalesce(m.token_id, '') || char(9) || a.severity || char(9) || a.triage || char(9)
       || coalesce(lower(hex(x.hash)), '') || char(9) || coalesce(x.success, '') || char(9)
       || (SELECT group_concat(entry, ';')
           FROM (SELECT l.name || '/' || coalesce(e.label, '') || '/' || ae.designation AS entry
                 FROM alert_entries ae JOIN watch_entries e ON e.id = ae.entry_id JOIN lists l ON l.id = e.list_id
                 WHERE ae.alert_id = a.id ORDER BY ae.rank))
FROM alerts a
JOIN blocks b ON b.id = a.block_id AND b.status <> 3
JOIN activities m ON m.id = a.activity_id
JOIN addresses w ON w.id = a.watched_id
LEFT JOIN addresses f ON f.id = m.from_id
LEFT JOIN addresses r ON r.id = m.to_id
LEFT JOIN addresses t ON t.id = m.token_address_id
LEFT JOIN transactions x ON x.id = m.tx_id;
