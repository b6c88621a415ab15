-- From version 1 to version 2: the ledger of coverage as ranges, proofs, what watch owes, checkpoints, lies, health, the digest.
-- The ledger of coverage: canonical blocks next to each other that were taken in the same way, as ranges. It sums up `blocks`, is
-- changed in the same transactions, and `bolo verify` compares the two. Serves every question of how much of a range is there.
CREATE TABLE coverage (
    first          INTEGER PRIMARY KEY,
    last           INTEGER NOT NULL CHECK (last >= first),
    proof          INTEGER NOT NULL,
    planes         INTEGER NOT NULL,
    watch_revision INTEGER NOT NULL,
    decoder        INTEGER NOT NULL
) STRICT;

-- What proves the alerts of a block for ever: zstd over RLP of [header, transaction nodes, receipt nodes, withdrawal nodes], of the
-- Merkle-Patricia tries only the paths that alerts need. docs/evidence.md has the format. None for what was taken on trust.
CREATE TABLE proofs (
    block_id INTEGER PRIMARY KEY REFERENCES blocks (id),
    proof    BLOB    NOT NULL
) STRICT;

-- Blocks that `watch` has jumped over to follow the head, and still has to take, in order: both ends included.
CREATE TABLE owed (
    first INTEGER PRIMARY KEY,
    last  INTEGER NOT NULL CHECK (last >= first)
) STRICT;

-- Blocks whose hash the user vouches for (--checkpoint).
CREATE TABLE checkpoints (
    number INTEGER PRIMARY KEY,
    hash   BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;

-- Answers that could not be what they claimed to be: the request, the keccak of the answer, and what did not fit.
CREATE TABLE lies (
    id            INTEGER PRIMARY KEY,
    endpoint_id   INTEGER NOT NULL REFERENCES endpoints (id),
    at            INTEGER NOT NULL,
    block_number  INTEGER,
    block_hash    BLOB CHECK (length(block_hash) = 32),
    request       TEXT    NOT NULL,
    answer_keccak BLOB    NOT NULL CHECK (length(answer_keccak) = 32),
    answer_bytes  INTEGER NOT NULL,
    reason        TEXT    NOT NULL
) STRICT;

-- Serves the count and the last of an endpoint's lies in status.
CREATE INDEX lies_by_endpoint ON lies (endpoint_id);

-- What the running watch last found out of each endpoint: a JSON object as `bolo endpoints --format json` prints it.
CREATE TABLE endpoint_states (
    endpoint_id INTEGER PRIMARY KEY REFERENCES endpoints (id),
    state       TEXT    NOT NULL,
    at          INTEGER NOT NULL
) STRICT;

-- What is wrong with the running watch just now: empty where all is well.
CREATE TABLE problems (
    code   TEXT    NOT NULL,
    host   TEXT    NOT NULL,           -- of the endpoint it is about, or empty
    since  INTEGER NOT NULL,
    detail TEXT    NOT NULL,
    PRIMARY KEY (code, host)
) STRICT, WITHOUT ROWID;

-- Which list version made which state of the watchlist: the newest of a list up to a block's watch_revision was in force there.
CREATE TABLE revisions (
    revision   INTEGER NOT NULL,
    version_id INTEGER NOT NULL REFERENCES list_versions (id),
    PRIMARY KEY (revision, version_id)
) STRICT, WITHOUT ROWID;

-- The content of the database as text, the same for the same chain and lists on any machine: every canonical block, the ledger,
-- and every alert that stands. `bolo status --digest` is the SHA-256 of these lines in order, each ended by a line feed.
-- Not in it: when and by whom a thing was seen, what is pending or final just now, and what a reorg orphaned.
CREATE VIEW digest_lines AS
SELECT 1 AS part, b.number AS number, x'' AS place, 0 AS side,
       'block' || char(9) || b.number || char(9) || lower(hex(b.hash)) || char(9) || b.proof || char(9) || b.planes AS line
FROM blocks b WHERE b.status <> 3
UNION ALL
SELECT 2, min(first), x'', 0, 'covered' || char(9) || min(first) || char(9) || max(last) || char(9) || proof || char(9) || planes
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

INSERT INTO coverage (first, last, proof, planes, watch_revision, decoder)
SELECT min(number), max(number), proof, planes, watch_revision, decoder
FROM (SELECT *, number - row_number() OVER (PARTITION BY proof, planes, watch_revision, decoder ORDER BY number) AS run
      FROM blocks WHERE status <> 3)
GROUP BY proof, planes, watch_revision, decoder, run;
