-- From version 2 to version 3: the ledger says whether every sender of a block was recovered. All that was proven so far had them all.
INSERT INTO words (topic, code, word) VALUES ('plane', 5, 'senders');
UPDATE blocks SET planes = planes | 32 WHERE proof = 1;
UPDATE coverage SET planes = planes | 32 WHERE proof = 1;

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
