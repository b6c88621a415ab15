-- The whole schema of bolo's database, version 1. A fresh file is made from this text. Once released, an older file is brought here
-- by the steps in src/store/migrate.rs, which a test holds equal to it.
--
-- Conventions: times are unix seconds UTC unless the name ends in _ms; hashes and addresses are BLOBs of 32 and 20 bytes;
-- amounts and token ids are decimal TEXT in base units, since SQLite has no 256-bit integers (compare them by length, then text).
-- Numbers that stand for words are spelled out in `words`; the view `alert_report` has it all in words and hex.

-- Facts about the database itself: chain_id, finality_rule ('tags safe/finalized' or 'depth 12/64'), watch_next (the block that
-- `bolo watch` takes next), finalized (highest final block held), head (the highest block that an endpoint has
-- reported: the open end of ranges), head_reverted (the lowest block that
-- `bolo revert` dropped: the next head that an endpoint reports takes the place of head), head_reported (number and hash of a higher head that an
-- endpoint reports and that is neither followed nor disproved: then the open end of ranges), head_seen (when an endpoint last told of
-- its head), watch_revision (counts
-- changes of the watchlist), stopped, stopped_at, stopped_code and stopped_by (why and when the last watch, or a replay whose output
-- was closed, ended by itself; the problem's code and the command),
-- running (the watch that runs: when it began, its slot in ms), auto_lookback (it looks back by itself), heartbeat (its last sign of life, unix ms), filtered (JSON: of which
-- blocks an endpoint's filter was asked by `replay --filtered`, whose word it is, and for what. No coverage: they were not seen),
-- severity_rules (JSON: the rules of bolo.toml that all alerts here were rated by), staging (a large import is under way, or was killed).
CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What the small numbers mean: one row for each value of each coded column.
CREATE TABLE words (
    topic TEXT    NOT NULL,
    code  INTEGER NOT NULL,
    word  TEXT    NOT NULL,
    PRIMARY KEY (topic, code)
) STRICT, WITHOUT ROWID;

INSERT INTO words (topic, code, word) VALUES
    ('status', 0, 'pending'), ('status', 1, 'safe'), ('status', 2, 'finalized'), ('status', 3, 'orphaned'),
    ('proof', 0, 'unproven'), ('proof', 1, 'proven'),
    ('plane', 0, 'transactions'), ('plane', 1, 'logs'), ('plane', 2, 'traces'), ('plane', 3, 'withdrawals'),
    ('plane', 4, 'authorizations'), ('plane', 5, 'senders'), ('plane', 6, 'native_logs'),
    ('kind', 0, 'native_transfer'), ('kind', 1, 'transaction'), ('kind', 2, 'contract_creation'),
    ('kind', 3, 'internal_transfer'), ('kind', 4, 'self_destruct'), ('kind', 5, 'erc20_transfer'),
    ('kind', 6, 'erc721_transfer'), ('kind', 7, 'erc1155_transfer'), ('kind', 8, 'wrap'), ('kind', 9, 'unwrap'),
    ('kind', 10, 'withdrawal'), ('kind', 11, 'fee_recipient'), ('kind', 12, 'erc6909_transfer'),
    ('asset', 0, 'native'), ('asset', 1, 'erc20'), ('asset', 2, 'erc721'), ('asset', 3, 'erc1155'), ('asset', 4, 'erc6909'),
    ('direction', 0, 'out'), ('direction', 1, 'in'), ('direction', 2, 'self'), ('direction', 3, 'party'),
    ('severity', 0, 'low'), ('severity', 1, 'medium'), ('severity', 2, 'high'), ('severity', 3, 'severe'),
    ('triage', 0, 'value'), ('triage', 1, 'zero_value'), ('triage', 2, 'dust'), ('triage', 3, 'spoofed'),
    ('triage', 4, 'unverified_token'), ('triage', 5, 'own'),
    ('designation', 0, 'before'), ('designation', 1, 'listed'), ('designation', 2, 'after'), ('designation', 3, 'unknown'),
    ('list_kind', 0, 'blocking'), ('list_kind', 1, 'issuer-freeze'), ('list_kind', 2, 'advisory'),
    ('list_kind', 3, 'internal'), ('list_kind', 4, 'own'),
    ('call_type', 0, 'call'), ('call_type', 1, 'create'), ('call_type', 2, 'selfdestruct'),
    ('entry_state', 0, 'active'), ('entry_state', 1, 'ended'), ('entry_state', 2, 'removed'), ('entry_state', 3, 'superseded');

-- Where blocks came from: the host of an endpoint (never its path, which holds keys), or the name of an archive file.
CREATE TABLE endpoints (
    id          INTEGER PRIMARY KEY,
    host        TEXT    NOT NULL UNIQUE,
    head        INTEGER,               -- the highest block it told of
    traces      TEXT,                  -- the trace method it has, 'none', or NULL while unknown
    last_error  TEXT,                  -- the last failure, without secrets
    error_at    INTEGER,
    seen_at     INTEGER                -- when it last answered
) STRICT;

-- Every block that was taken: the ledger of what is covered. A reorg marks its losers 'orphaned'; nothing is deleted. Bit 5 of planes
-- ('senders') is no plane: every sender of the block was recovered from its signature, not only those of its alerts. Nor is bit 6
-- ('native_logs'): the block's header shows EIP-7708, so that its logs prove every movement of the chain's own currency to another account.
CREATE TABLE blocks (
    id             INTEGER PRIMARY KEY,
    number         INTEGER NOT NULL,
    hash           BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),
    parent_hash    BLOB    NOT NULL CHECK (length(parent_hash) = 32),
    timestamp      INTEGER NOT NULL,
    status         INTEGER NOT NULL CHECK (status BETWEEN 0 AND 3),
    proof          INTEGER NOT NULL CHECK (proof BETWEEN 0 AND 1),
    planes         INTEGER NOT NULL,   -- bit n is set where plane n was seen: all but traces come with every block
    watch_revision INTEGER NOT NULL,   -- which state of the watchlist it was screened against
    decoder        INTEGER NOT NULL,   -- which decoder with which wrapped-native contracts: another one finds other things
    endpoint_id    INTEGER NOT NULL REFERENCES endpoints (id),
    seen_at_ms     INTEGER NOT NULL,
    beneficiary_id INTEGER NOT NULL REFERENCES addresses (id) -- of the header, whether or not it was paid anything
) STRICT;

-- One block of each number is canonical. Serves the tip, the window for reorgs, coverage, and resuming a replay.
CREATE UNIQUE INDEX blocks_canonical ON blocks (number) WHERE status <> 3;
-- Serves the raising of statuses, which touches only what is not final yet.
CREATE INDEX blocks_unsettled ON blocks (number) WHERE status < 2;
-- Serves --since and --until with --require-complete.
CREATE INDEX blocks_by_time ON blocks (timestamp);
-- Serves the question, in attest and query --address, whether headers name an address as beneficiary.
CREATE INDEX blocks_by_beneficiary ON blocks (beneficiary_id, number) WHERE status <> 3;
-- Serves query --status orphaned.
CREATE INDEX blocks_orphaned ON blocks (number) WHERE status = 3;

-- Addresses, once each: everything else refers to them by id.
CREATE TABLE addresses (
    id      INTEGER PRIMARY KEY,
    address BLOB NOT NULL UNIQUE CHECK (length(address) = 20)
) STRICT;

-- Transactions that some alert belongs to.
CREATE TABLE transactions (
    id              INTEGER PRIMARY KEY,
    block_id        INTEGER NOT NULL REFERENCES blocks (id),
    tx_index        INTEGER NOT NULL,
    hash            BLOB    NOT NULL CHECK (length(hash) = 32),
    signer_id       INTEGER NOT NULL REFERENCES addresses (id),
    to_id           INTEGER REFERENCES addresses (id),
    success         INTEGER CHECK (success BETWEEN 0 AND 1),
    first_log_index INTEGER NOT NULL,
    UNIQUE (block_id, tx_index)
) STRICT;

-- Serves query --tx, and finding the alert that a reorg moved.
CREATE INDEX transactions_by_hash ON transactions (hash);

-- Movements that some alert is about: the facts, once, however many watched addresses they touch. block_number is that of the block,
-- here so that the indexes below can order by it.
CREATE TABLE activities (
    id       INTEGER PRIMARY KEY,
    block_id INTEGER NOT NULL REFERENCES blocks (id),
    location BLOB    NOT NULL,         -- transaction index, plane, place: as hashed into the alert's id; orders as the chain does
    tx_id    INTEGER REFERENCES transactions (id),
    kind     INTEGER NOT NULL,
    from_id  INTEGER REFERENCES addresses (id),
    to_id    INTEGER REFERENCES addresses (id),
    asset    INTEGER NOT NULL,
    token_address_id INTEGER REFERENCES addresses (id),
    amount   TEXT    NOT NULL,
    token_id TEXT,
    block_number INTEGER NOT NULL,
    trace_address BLOB,                -- of a native movement that a log proves, where traces are known: 4 bytes a step, big endian
    detail   INTEGER,                  -- the call_type of that frame
    operator_id INTEGER REFERENCES addresses (id), -- who moved it for the giving side, where that is screened: ERC-6909
    UNIQUE (block_id, location)
) STRICT;

-- Serves query --tx, and finding the alert that a reorg moved.
CREATE INDEX activities_by_tx ON activities (tx_id) WHERE tx_id IS NOT NULL;
-- Serves query --kind, and --asset of the chain's own currency.
CREATE INDEX activities_by_kind ON activities (kind, block_number);
-- Serves query --asset.
CREATE INDEX activities_by_token ON activities (token_address_id, block_number) WHERE token_address_id IS NOT NULL;
-- Serves query --min-amount in base units: by the number of digits, of which there are few, so that a new row goes to the end of one
-- of few runs. By the amount itself it would go anywhere.
CREATE INDEX activities_by_digits ON activities (length(amount), block_number);

-- An alert: an activity and one watched address it touches. counterparty_id is the other side, where the watched address is one: here
-- so that one index finds it. retroactive: it was found (seen_at_ms) when its block was screened again, since all its entries are newer
-- than the state of the lists that the block had been screened against.
CREATE TABLE alerts (
    id             INTEGER PRIMARY KEY,
    alert_id       BLOB    NOT NULL UNIQUE CHECK (length(alert_id) = 32),
    block_number   INTEGER NOT NULL,   -- of its block, here so that the indexes below can order by it
    block_id       INTEGER NOT NULL REFERENCES blocks (id),
    location       BLOB    NOT NULL,   -- of its activity, for the same reason
    direction      INTEGER NOT NULL,
    activity_id    INTEGER NOT NULL REFERENCES activities (id),
    watched_id     INTEGER NOT NULL REFERENCES addresses (id),
    severity       INTEGER NOT NULL,
    triage         INTEGER NOT NULL,
    triage_reasons TEXT    NOT NULL,   -- a JSON array
    seen_at_ms     INTEGER NOT NULL,
    replaces       BLOB CHECK (length(replaces) = 32), -- the alert of the same movement in a block that a reorg orphaned
    counterparty_id INTEGER REFERENCES addresses (id),
    retroactive    INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Serves a range of blocks, and query --triage all where it names no rarer thing: newest or oldest first. Within a block a query sorts what little there is.
CREATE INDEX alerts_in_order ON alerts (block_number);
-- Serves query --address.
CREATE INDEX alerts_by_watched ON alerts (watched_id, block_number);
-- Serves query --counterparty.
CREATE INDEX alerts_by_counterparty ON alerts (counterparty_id, block_number) WHERE counterparty_id IS NOT NULL;
-- Serves query --severity.
CREATE INDEX alerts_by_severity ON alerts (severity, block_number);
-- Serves query --direction self and party: what is not so is most of the alerts.
CREATE INDEX alerts_by_direction ON alerts (direction, block_number) WHERE direction > 1;
-- Serves every query that asks for no noise and not for own wallets alone, of which there may be far more than of alerts; and --triage.
CREATE INDEX alerts_by_triage ON alerts (triage, block_number);
-- Serves query --tx, --asset, --kind and --min-amount, by way of the movement.
CREATE INDEX alerts_by_activity ON alerts (activity_id);

-- The watch entries that an alert is about, strictest first. matches: the entry matched when the block was last screened. An entry that
-- did not (its list ended it, or it was removed) stays here behind the others; an alert that has only such entries stands for lists of
-- before: queries show it, and it is not in the digest. The number of its block and the list of the entry are here so that the indexes
-- below can order by them.
CREATE TABLE alert_entries (
    alert_id    INTEGER NOT NULL REFERENCES alerts (id),
    rank        INTEGER NOT NULL,
    entry_id    INTEGER NOT NULL REFERENCES watch_entries (id),
    designation INTEGER NOT NULL,
    block_number INTEGER NOT NULL,
    list_id     INTEGER NOT NULL,
    matches     INTEGER NOT NULL DEFAULT 1 CHECK (matches BETWEEN 0 AND 1),
    PRIMARY KEY (alert_id, rank)
) STRICT, WITHOUT ROWID;

-- Serves query --label and --entity.
CREATE INDEX alert_entries_by_entry ON alert_entries (entry_id, block_number);
-- Serves query --list.
CREATE INDEX alert_entries_by_list ON alert_entries (list_id, block_number);

-- Logs and frames that look like a movement of value and are not decoded, by reason: counted, never dropped in silence. `lookback`
-- records which addresses they name.
CREATE TABLE undecoded (
    block_id INTEGER NOT NULL REFERENCES blocks (id),
    reason   TEXT    NOT NULL,
    count    INTEGER NOT NULL,
    PRIMARY KEY (block_id, reason)
) STRICT, WITHOUT ROWID;

-- What tokens say of themselves, asked once. Unproven, and written by whoever made the token: symbols are cleaned, not believed.
CREATE TABLE tokens (
    address_id INTEGER PRIMARY KEY REFERENCES addresses (id),
    symbol     TEXT,
    decimals   INTEGER CHECK (decimals BETWEEN 0 AND 255),
    asked_at   INTEGER NOT NULL
) STRICT;

-- Serves query --asset SYMBOL.
CREATE INDEX tokens_by_symbol ON tokens (symbol COLLATE NOCASE) WHERE symbol IS NOT NULL;

-- Lists of watched addresses.
CREATE TABLE lists (
    id   INTEGER PRIMARY KEY,
    name TEXT    NOT NULL UNIQUE,
    kind INTEGER NOT NULL
) STRICT;

-- Every change to a list: a file that was imported, or a single entry added or removed by hand (sha256 is NULL then, and address_id
-- says which). They are in the order of `published`, of one time in that of id; a file may come later than its place. At most one row
-- has no list: the file whose import is under way, or was killed. Its entries are staged: see committed_entries.
CREATE TABLE list_versions (
    id              INTEGER PRIMARY KEY,
    list_id         INTEGER REFERENCES lists (id),
    published       INTEGER NOT NULL,
    published_given INTEGER NOT NULL,  -- 0 where no date was given and the time of import stands in for it
    imported_at     INTEGER NOT NULL,
    source          TEXT    NOT NULL,
    format          TEXT    NOT NULL,
    sha256          BLOB CHECK (length(sha256) = 32),
    accepted        INTEGER NOT NULL,
    rejected        INTEGER NOT NULL,
    address_id      INTEGER REFERENCES addresses (id)
) STRICT;

-- Serves the newest version of a list, recognising a file that was imported before, and finding the version that is being staged.
CREATE INDEX list_versions_by_list ON list_versions (list_id, published);

-- What is known of the servers that lists are fetched from (`bolo watchlist update`). asked_for: SHA-256 of the URL, which may hold a key
-- and is not kept, and of how its answer is read; sha256: of the file that etag and last_modified are of, which are sent back so that it
-- comes only where it is another one. A list that never came has a row too.
CREATE TABLE list_sources (
    name          TEXT NOT NULL PRIMARY KEY,   -- of the list
    asked_for     BLOB CHECK (length(asked_for) = 32),
    sha256        BLOB CHECK (length(sha256) = 32),
    etag          TEXT,
    last_modified TEXT,
    checked_at    INTEGER,                     -- when there was a good file, or nothing newer
    failed_at     INTEGER,                     -- when it failed, if that was the last time
    last_error    TEXT,                        -- without secrets
    failed_for_good INTEGER NOT NULL DEFAULT 0 -- the last failure is none that may pass: a 404, say
) STRICT, WITHOUT ROWID;

-- Watch entries. A changed or ended entry keeps its row, so that old alerts say what was known when they were made. aliases: a JSON
-- array of the entity's other names; uid: the list's own id of the record; source_line: where in the file it stands. An active entry
-- matches every block, an ended one the blocks before the publication of its end_version; the others match none.
CREATE TABLE watch_entries (
    id            INTEGER PRIMARY KEY,
    list_id       INTEGER NOT NULL REFERENCES lists (id),
    address_id    INTEGER NOT NULL REFERENCES addresses (id),
    label         TEXT,
    entity        TEXT,
    programs      TEXT    NOT NULL,    -- a JSON array
    listed_from   INTEGER,
    delisted_on   INTEGER,
    derived_from  TEXT,
    known_from    INTEGER,             -- publication of the version that first had it, where that date was given
    first_version INTEGER NOT NULL REFERENCES list_versions (id),
    end_version   INTEGER REFERENCES list_versions (id),
    state         INTEGER NOT NULL DEFAULT 0,
    aliases       TEXT    NOT NULL DEFAULT '[]',
    uid           TEXT,
    source_line   INTEGER
) STRICT;

-- Serves watchlist check, and reading alerts back.
CREATE INDEX watch_entries_by_address ON watch_entries (address_id);
-- Serves import (what a list holds now) and show. An address stands on a list once.
CREATE UNIQUE INDEX watch_entries_active ON watch_entries (list_id, address_id) WHERE state = 0;

-- Watch entries without those that are staged. A large import writes its entries in many transactions; the last one gives their version
-- its list, and so makes all of them count at once. Every query of the lists reads this view.
CREATE VIEW committed_entries AS
SELECT * FROM watch_entries WHERE first_version <> coalesce((SELECT id FROM list_versions WHERE list_id IS NULL), 0);

-- Which block times each state of the lists matches, address by address: a row for each state (meta watch_revision) that gave an
-- address other entries, and never changed afterwards. From that state on the address matches block times before `until`:
-- 9223372036854775807 all, -9223372036854775808 none; so does an address before its first row. A block was screened for an address if
-- its time is before `until` of the address's last row up to the block's watch_revision: the entries as they are now do not tell.
-- entries: those that match, as id/kind/known/until separated by spaces: `known` is known_from where it decides the designation, `until`
-- is empty where the entry matches every block. An alert reads otherwise where the entries that match its block's time are other ones.
CREATE TABLE watch_spans (
    address_id INTEGER NOT NULL REFERENCES addresses (id),
    revision   INTEGER NOT NULL,
    until      INTEGER NOT NULL,
    entries    TEXT    NOT NULL,
    PRIMARY KEY (address_id, revision)
) STRICT, WITHOUT ROWID;

-- Serves looking back: which addresses changed after the state of the lists that a block was screened against.
CREATE INDEX watch_spans_by_revision ON watch_spans (revision);

-- The rows of watch_spans that count. A large import writes those of the next state of the lists in many transactions; the last one
-- raises watch_revision to that state.
CREATE VIEW committed_spans AS
SELECT * FROM watch_spans WHERE revision <= (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'watch_revision');

-- Alerts in words and hex, one row each with its strictest entry: for people who write SQL.
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

-- Which addresses a block can touch, of the proven blocks that were taken with --lookback-index: a filter over every address that is
-- a side or the operator of an activity (src/screen/lookback.rs has its bytes), as that decoder found them with that proof and in those
-- planes (as in `blocks`). A filter counts only where the block has the same ones: one made of claimed senders or of other traces says
-- nothing of a block that was taken better since. Serves looking back: an address that is added later is looked for only in blocks whose
-- filter may have it. Serves attest and query --require-complete: they refuse a block with an undecoded log or frame and without a
-- filter that counts. An orphaned block keeps its row: the filter is of the hash.
CREATE TABLE lookback (
    block_id INTEGER PRIMARY KEY REFERENCES blocks (id),
    proof    INTEGER NOT NULL,
    planes   INTEGER NOT NULL,
    decoder  INTEGER NOT NULL,
    filter   BLOB    NOT NULL,
    -- The addresses that the block's undecoded logs and frames name, 20 bytes each: the emitter of a log and the last 20 bytes of each
    -- of its words, both sides of a frame. NULL: more than are recorded, so that any address may be named.
    undecoded BLOB CHECK (length(undecoded) % 20 = 0)
) STRICT;

-- Blocks that `watch` has jumped over to follow the head, and still has to take, in order: both ends included.
CREATE TABLE owed (
    first INTEGER PRIMARY KEY,
    last  INTEGER NOT NULL CHECK (last >= first)
) STRICT;

-- What an operator dropped by `bolo revert`, newest last: all blocks above that number, and why. first and last are the ends of what
-- was held there, NULL where nothing was; filtered counts the blocks above of which only a filter had spoken (replay --filtered).
CREATE TABLE reverts (
    id           INTEGER PRIMARY KEY,
    at           INTEGER NOT NULL,
    above        INTEGER NOT NULL,
    reason       TEXT    NOT NULL,
    blocks       INTEGER NOT NULL,
    final_blocks INTEGER NOT NULL,
    alerts       INTEGER NOT NULL,
    first        INTEGER,
    last         INTEGER,
    filtered     INTEGER NOT NULL
) STRICT;

-- Blocks that are held without all of their traces and whose traces may be had later: the backlog that `watch` works off and that
-- `replay --holes` fills. Written and deleted in the transaction that takes the block. Not here: blocks that were taken with
-- --traces off, or while no endpoint had a trace method at all, or whose native logs prove what moved. A row of an orphaned block
-- waits with it.
CREATE TABLE missing_traces (
    block_id     INTEGER PRIMARY KEY REFERENCES blocks (id),
    since        INTEGER NOT NULL,      -- when the block was first taken without them
    tries        INTEGER NOT NULL,      -- how often it was taken without them
    retry_at     INTEGER NOT NULL,      -- not before that, unless by `replay`
    pruned       INTEGER NOT NULL CHECK (pruned BETWEEN 0 AND 1), -- every endpoint with traces says that the state is gone
    transactions TEXT,                  -- a JSON array of the indexes that have no trace; NULL: none has one
    detail       TEXT    NOT NULL       -- what the last endpoint said
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

-- Fields of an endpoint's answers that differed from what is proven: no proof of a false answer, since the proven value counted and
-- nothing else is stored of the block. field: the object and its member ('receipt.gasUsed'); differences: how often it differed;
-- blocks: in how many committed blocks; found, proven: the first difference of the last such block.
CREATE TABLE field_differences (
    endpoint_id INTEGER NOT NULL REFERENCES endpoints (id),
    field       TEXT    NOT NULL,
    differences INTEGER NOT NULL,
    blocks      INTEGER NOT NULL,
    last_block  INTEGER NOT NULL,
    found       TEXT    NOT NULL,
    proven      TEXT    NOT NULL,
    PRIMARY KEY (endpoint_id, field)
) STRICT, WITHOUT ROWID;

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
-- and every alert that stands, with the entries that match it. `bolo status --digest` is the SHA-256 of these lines in order, each ended by a line feed.
-- Not in it: when and by whom a thing was seen, what is pending or final just now, what a reorg orphaned, and what only matched lists
-- of before (alert_entries.matches). A proven block of which
-- not every sender was recovered says so by 'matched' at the end of its lines. Where logs prove native transfers (bit 6 of planes),
-- traces add nothing that moved to another account, and the lines are the same with traces and without: bit 2 (traces) is left out of
-- planes, and so is what only a trace shows.
CREATE VIEW digest_lines AS
SELECT 1 AS part, b.number AS number, x'' AS place, 0 AS side,
       'block' || char(9) || b.number || char(9) || lower(hex(b.hash)) || char(9) || b.proof || char(9) || (b.planes & ~iif(b.planes & 64, 36, 32))
       || iif(b.proof = 1 AND b.planes & 32 = 0, char(9) || 'matched', '') AS line
FROM blocks b WHERE b.status <> 3
UNION ALL
SELECT 2, min(first), x'', 0, 'covered' || char(9) || min(first) || char(9) || max(last) || char(9) || proof || char(9)
       || (planes & ~iif(planes & 64, 36, 32)) || iif(proof = 1 AND planes & 32 = 0, char(9) || 'matched', '')
FROM (SELECT *, sum(begins) OVER (ORDER BY first) AS run
      FROM (SELECT *, NOT (coalesce(lag(last) OVER w, -2) = first - 1 AND lag(proof) OVER w = proof
                           AND lag(planes) OVER w = planes) AS begins
            FROM (SELECT first, last, proof, planes & ~iif(planes & 64, 4, 0) AS planes FROM coverage) WINDOW w AS (ORDER BY first)))
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
                 WHERE ae.alert_id = a.id AND ae.matches ORDER BY ae.rank))
FROM alerts a
JOIN blocks b ON b.id = a.block_id AND b.status <> 3 AND NOT (b.planes & 64 AND substr(a.location, 5, 1) = x'02')
JOIN activities m ON m.id = a.activity_id
JOIN addresses w ON w.id = a.watched_id
LEFT JOIN addresses f ON f.id = m.from_id
LEFT JOIN addresses r ON r.id = m.to_id
LEFT JOIN addresses t ON t.id = m.token_address_id
LEFT JOIN transactions x ON x.id = m.tx_id
WHERE EXISTS (SELECT 1 FROM alert_entries ae WHERE ae.alert_id = a.id AND ae.matches);

-- The lists with all that they ever said, as text, the same for the same files in whatever order they were imported. `bolo status
-- --digest --lists` is the SHA-256 of these lines in order, each ended by a line feed. Not in it: when anything was imported, and
-- when a list was changed by hand.
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
FROM committed_entries e
JOIN addresses x ON x.id = e.address_id
JOIN lists l ON l.id = e.list_id
JOIN versions first ON first.id = e.first_version
LEFT JOIN versions ended ON ended.id = e.end_version;
