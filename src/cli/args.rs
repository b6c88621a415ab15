//! What can be said on the command line.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use super::list_args::WatchlistArgs;
use super::words::{Words, count, seconds};
use crate::decode::ActivityKind;
use crate::screen::{AlertStatus, Direction, Severity, TriageClass};

/// Be on the lookout: an Ethereum watchlist indexer that proves every alert and says what it has not seen.
#[derive(Debug, Parser)]
#[command(
    name = "bolo",
    version,
    max_term_width = 120,
    after_help = "Exit codes: 0 done; 1 the input is wrong (attest: the address was touched); 2 usage; 3 the answer is incomplete \
                  (--require-complete; status: unhealthy; attest: refused; verify: some alerts have no proof kept); 4 a block could \
                  not be proven by any endpoint or contradicts what is final or a checkpoint, or a stored proof or a bundle does not hold: stopped, nothing skipped; 5 the database is unusable; 74 nobody reads the output of watch --json or replay --json any more; 75 temporary: no endpoint \
                  reachable or usable, try again; 130 or 143: a signal stopped a replay or record before its end.\n\nStart with: bolo demo"
)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// The database file [default: bolo.db]
    #[arg(long, global = true, help_heading = "Global options", env = "BOLO_DB", value_name = "FILE", value_parser = any_path())]
    pub db: Option<PathBuf>,
    /// The config file [default: bolo.toml of the working folder, where there is one]
    #[arg(long, global = true, help_heading = "Global options", env = "BOLO_CONFIG", value_name = "FILE", value_parser = any_path())]
    pub config: Option<PathBuf>,
    /// Say more on stderr (-vv: everything); RUST_LOG says it in detail
    #[arg(short, long, global = true, help_heading = "Global options", action = ArgAction::Count)]
    pub verbose: u8,
    /// Say only errors on stderr
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub quiet: bool,
    /// Form of the log on stderr
    #[arg(
        long,
        global = true,
        help_heading = "Global options",
        value_parser = Words::<LogFormat>::of_enum(),
        default_value = "pretty",
        value_name = "FORM"
    )]
    pub log_format: LogFormat,
}

/// A path that may be empty: an empty variable of the environment is as good as none.
fn any_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Follow the head until told to stop; what was missed meanwhile is caught up in order, so downtime skips nothing
    Watch(WatchArgs),
    /// The same pipeline over history, from endpoints or an archive; resumable, and doing it twice changes nothing
    Replay(ReplayArgs),
    /// Read alerts back. A filter may be repeated: any of its values will do, and all filters must fit
    Query(Box<QueryArgs>),
    /// The watched addresses: import, add, remove, show, check
    Watchlist(WatchlistArgs),
    /// Keep blocks as the node answered, for replay with no network
    Record(RecordArgs),
    /// Tip, lag, coverage, endpoints, ages of the lists, what could not be decoded
    Status(StatusArgs),
    /// Write what proves an alert into a folder that anybody can check, without bolo and without a network
    Evidence(super::evidence::EvidenceArgs),
    /// Prove again what is stored, or a bundle of evidence, without a network; exit 4 where something does not fit
    Verify(super::evidence::VerifyArgs),
    /// State that no proven activity touched an address in a range of blocks; refused where the range has a hole
    Attest(super::attest::AttestArgs),
    /// Drop every block above a number, final ones too: their alerts become orphaned, their range a hole. For blocks of a false or
    /// foreign chain. No watch may run
    Revert(super::revert::RevertArgs),
    /// The main job in one go, with no network and no node: a recorded chain replayed into a database, then queried
    Demo(DemoArgs),
    /// What the endpoints can do and how they are, found out now: client, head, lag, how far back they reach, receipts, traces,
    /// batches. Exit 0 if at least one can be used, 75 if none. Needs no database
    Endpoints(EndpointsArgs),
    /// Completions for a shell, on stdout
    Completions(CompletionsArgs),
    /// Manual pages, into a folder
    Man(ManArgs),
}

impl Command {
    /// Whether it may run for long, so that its log needs times.
    pub fn is_long(&self) -> bool {
        matches!(self, Self::Watch(_) | Self::Replay(_) | Self::Record(_))
    }
}

/// Where blocks come from.
#[derive(Debug, Args)]
pub(super) struct SourceArgs {
    /// An endpoint: http, https, ws, wss, or the path of an IPC socket. Repeat it for more: what fails at one is asked of the next
    #[arg(short, long, env = "ETH_RPC_URL", value_delimiter = ',', hide_env_values = true, value_name = "URL")]
    pub rpc_url: Vec<String>,
    /// The chain, by id or name; checked against every endpoint's eth_chainId [default: what the endpoints say]
    #[arg(long, value_name = "CHAIN")]
    pub chain: Option<String>,
    /// Call traces, without which internal transfers are not seen: auto uses them where an endpoint has them [default: auto]
    #[arg(long, value_parser = Words::<TraceArg>::of_enum(), value_name = "MODE")]
    pub traces: Option<TraceArg>,
    /// Take the endpoint's word, for chains whose blocks cannot be proven; what comes of it is marked unproven
    #[arg(long)]
    pub trust_rpc: bool,
    /// A wrapped-native (WETH9-like) contract, for chains where it is not built in; repeatable
    #[arg(long, value_name = "ADDRESS")]
    pub wrapped_native: Vec<String>,
    /// Seconds that a single call may take [default: 15]
    #[arg(long, value_parser = seconds, value_name = "SECONDS")]
    pub timeout: Option<f64>,
    /// Blocks that are asked for at once [default: 8]
    #[arg(long, value_parser = count::<usize>, value_name = "N")]
    pub concurrency: Option<usize>,
    /// A block that is known for sure, from a source of its own; repeatable. An endpoint that has another one there is not believed
    #[arg(long, value_name = "NUMBER:HASH")]
    pub checkpoint: Vec<String>,
}

/// Whether traces are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum TraceArg {
    /// Where an endpoint has them.
    Auto,
    /// A block without them is not taken.
    Require,
    /// Never asked for.
    Off,
}

/// `bolo watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    #[command(flatten)]
    pub(super) source: SourceArgs,
    /// Where to begin where nothing was watched yet, inclusive: a number (15.5M, 0x10, 1_000), earliest, finalized, safe, latest, or
    /// a time (2025-02-21, RFC 3339, 7d): then the first block that is not before it
    #[arg(long, value_name = "BLOCK|TIME")]
    pub(super) from_block: Option<String>,
    /// Take a block only where so many endpoints have the same one [default: 1]
    #[arg(long, value_parser = count::<usize>, value_name = "N")]
    pub(super) quorum: Option<usize>,
    /// Seconds between two looks at the head [default: 1, or less on chains with faster blocks]
    #[arg(long, value_parser = seconds, value_name = "SECONDS")]
    pub(super) poll_interval: Option<f64>,
    /// Seconds from one block to the next: after three of them silence is a problem [default: of the chain, 12 where it is not known]
    #[arg(long, value_parser = seconds, value_name = "SECONDS")]
    pub(super) slot: Option<f64>,
    /// Keep an index of the addresses that each proven block can touch, some 21 bits each, so that looking back need not read most
    /// blocks again, and of those that undecoded logs and frames name: without it, any of these makes attest and --require-complete
    /// exit 3 [default: as in bolo.toml]
    #[arg(long)]
    pub(super) lookback_index: bool,
    /// When the lists gain entries, screen again what is held, beside the head and after it, as `bolo replay --new-entries` does
    #[arg(long)]
    pub(super) auto_lookback: bool,
    /// Print each new alert as a JSON line on stdout as it is committed
    #[arg(long)]
    pub(super) json: bool,
}

/// `bolo replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    pub(super) source: SourceArgs,
    /// First block, inclusive: a number (15.5M, 0x10, 1_000), earliest, finalized, safe, latest, or a time (2025-02-21, RFC 3339, 7d):
    /// then the first block that is not before it
    #[arg(long, value_name = "BLOCK|TIME")]
    pub(super) from_block: Option<String>,
    /// Last block, inclusive; of a time the last block that is not after it, of a date that of the whole day (UTC); without one, the
    /// finalized block (of an archive, its last)
    #[arg(long, value_name = "BLOCK|TIME")]
    pub(super) to_block: Option<String>,
    /// Whose senders are recovered from their signatures, the dearest part of the proof: of all transactions, or of those that an
    /// alert belongs to. With `matched`, that a watched address sent nothing else, and that no contract creation paid it (the address of a
    /// new contract depends on its sender), is the endpoint's word. The ledger says so: --require-complete and attest refuse it [default: all]
    #[arg(long, value_parser = Words::<SendersArg>::of_enum(), value_name = "WHICH", conflicts_with = "trust_rpc")]
    pub(super) senders: Option<SendersArg>,
    /// Screen again what is held and was screened before the lists gained entries: all, or the given range. With an index
    /// (--lookback-index) only blocks that may touch a new entry are read again; without, all of them
    #[arg(long, conflicts_with_all = ["holes", "filtered"])]
    pub(super) new_entries: bool,
    /// Keep an index of the addresses that each proven block can touch, some 21 bits each, so that --new-entries need not read most
    /// blocks again, and of those that undecoded logs and frames name: without it, any of these makes attest and --require-complete
    /// exit 3. Blocks that are held without it are taken again
    #[arg(long)]
    pub(super) lookback_index: bool,
    /// Fill the holes of the ledger, blocks without the traces that are wanted among them: all between the first and the last block held, or those of the given range
    #[arg(long, conflicts_with = "archive")]
    pub(super) holes: bool,
    /// Ask the endpoint which blocks touch the list (eth_getLogs, trace_filter), and read only these. THIS TELLS THE ENDPOINT YOUR LIST.
    /// For lists of at most 500 addresses, over ranges too long to be read. The blocks it names are proven; that no other touches the list
    /// is its word: these stay missing in the ledger, marked as filtered (unproven), so that --require-complete and attest refuse, and a
    /// replay without it reads them all. Not seen by a filter: withdrawals, fees, tokens that index no address, and without trace_filter
    /// all ether. Blocks that are not final yet are read whole. Not with --archive, --holes, --new-entries or --senders
    #[arg(long)]
    pub(super) filtered: bool,
    /// Read recorded blocks (.jsonl, .jsonl.zst), era files (.era1, .ere, .erae) or a folder of them instead of asking an endpoint; the
    /// range is then all they hold
    #[arg(long, value_name = "FILE|DIR")]
    pub(super) archive: Option<PathBuf>,
    /// Print each new alert as a JSON line on stdout as it is committed
    #[arg(long)]
    pub(super) json: bool,
}

/// Whose senders are recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SendersArg {
    /// Of all transactions.
    All,
    /// Of those that an alert belongs to.
    Matched,
}

impl From<SendersArg> for crate::pipeline::Senders {
    fn from(arg: SendersArg) -> Self {
        match arg {
            SendersArg::All => Self::All,
            SendersArg::Matched => Self::Matched,
        }
    }
}

/// `bolo record`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    #[command(flatten)]
    pub(super) source: SourceArgs,
    /// First block, inclusive, or a time, as for `bolo replay`
    #[arg(long, value_name = "BLOCK|TIME")]
    pub(super) from_block: String,
    /// Last block, inclusive, or a time, as for `bolo replay`
    #[arg(long, value_name = "BLOCK|TIME")]
    pub(super) to_block: String,
    /// The file to make; compressed where its name ends in .zst. `-` writes lines to stdout
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
    /// Replace a file that is there already
    #[arg(long)]
    pub(super) force: bool,
}

/// Form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Table,
    /// A JSON array.
    Json,
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
}

/// Order of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OrderArg {
    /// Oldest first.
    Asc,
    /// Newest first.
    Desc,
}

/// `bolo query`. Each filter may be repeated: any of its values will do, and all filters must fit.
#[derive(Debug, Args)]
pub struct QueryArgs {
    /// Watched address
    #[arg(long, value_name = "ADDRESS")]
    pub(super) address: Vec<String>,
    /// Watched addresses from a file, or - for stdin: one a line, # begins a comment
    #[arg(long, value_name = "FILE")]
    pub(super) address_file: Option<PathBuf>,
    /// Address of the other side
    #[arg(long, value_name = "ADDRESS")]
    pub(super) counterparty: Vec<String>,
    /// Part of a watch entry's label, in any case; hidden characters in it do not count
    #[arg(long, value_name = "TEXT")]
    pub(super) label: Vec<String>,
    /// Part of a watch entry's entity, in any case; hidden characters in it do not count
    #[arg(long, value_name = "TEXT")]
    pub(super) entity: Vec<String>,
    /// Name of a list
    #[arg(long, value_name = "NAME")]
    pub(super) list: Vec<String>,
    /// As the lists were at that time: alerts of addresses that were listed then, with what was said of them then
    #[arg(long, value_name = "DATE")]
    pub(super) as_of: Option<String>,
    /// Kind of activity
    #[arg(long, value_parser = Words::of(ActivityKind::ALL), value_delimiter = ',', value_name = "KIND")]
    pub(super) kind: Vec<ActivityKind>,
    /// What moved: native, a symbol (which any token may claim), a contract's address, or a CAIP-19 id
    #[arg(long, value_name = "ASSET")]
    pub(super) asset: Vec<String>,
    /// Side of the watched address
    #[arg(long, value_parser = Words::of(Direction::ALL), value_delimiter = ',', value_name = "SIDE")]
    pub(super) direction: Vec<Direction>,
    /// At least that amount. 100eth, 1.5eth, 20gwei or 1000usdc: of that asset. 1.5 or 1,000.0, with a decimal point: in units of
    /// each asset whose decimals are known. 1000, 1_000, 1,000 or 1e18: in base units, as `amount` in JSON
    #[arg(long, value_name = "AMOUNT")]
    pub(super) min_amount: Option<String>,
    /// First block, inclusive
    #[arg(long, value_name = "BLOCK")]
    pub(super) from_block: Option<String>,
    /// Last block, inclusive
    #[arg(long, value_name = "BLOCK")]
    pub(super) to_block: Option<String>,
    /// Blocks not before that time: RFC 3339, a date, or an age like 7d, 12h, 30m
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<String>,
    /// Blocks not after that time; a date is that whole day
    #[arg(long, value_name = "TIME")]
    pub(super) until: Option<String>,
    /// How far the block is settled [default: all but orphaned]
    #[arg(long, value_parser = Words::of(AlertStatus::ALL).or_all(), value_delimiter = ',', value_name = "STATUS")]
    pub(super) status: Vec<Option<AlertStatus>>,
    /// How serious it is
    #[arg(long, value_parser = Words::of(Severity::ALL), value_delimiter = ',', value_name = "SEVERITY")]
    pub(super) severity: Vec<Severity>,
    /// Class of value or noise; own is what touches own wallets and nothing else [default: value]
    #[arg(long, value_parser = Words::of(TriageClass::ALL).or_all(), value_delimiter = ',', value_name = "CLASS")]
    pub(super) triage: Vec<Option<TriageClass>>,
    /// Hash of a transaction: whole, or its first digits
    #[arg(long, value_name = "HASH")]
    pub(super) tx: Option<String>,
    /// Show addresses, hashes and ids whole in a table
    #[arg(long)]
    pub(super) wide: bool,
    /// Words that belong to no option: told with what they were probably meant as
    #[arg(hide = true)]
    pub(super) words: Vec<String>,
    /// At most so many alerts; 0 for all
    #[arg(long, value_parser = count::<u64>, default_value_t = 50, value_name = "N")]
    pub(super) limit: u64,
    /// The alerts after the one of that id, in the same order: the next page
    #[arg(long, value_name = "ID")]
    pub(super) after: Option<String>,
    /// Print why the alert of that id has its severity: the rule or default that gave it, and the facts. As a table or JSON
    #[arg(long, value_name = "ID", conflicts_with_all = ["address", "counterparty", "label", "entity", "list", "kind", "asset",
        "direction", "min_amount", "from_block", "to_block", "since", "until", "status", "severity", "triage", "tx", "after",
        "require_complete"])]
    pub(super) explain: Option<String>,
    /// By block, newest (desc) or oldest (asc) first; severe alerts come before all others
    #[arg(long, value_parser = Words::<OrderArg>::of_enum(), default_value = "desc", value_name = "ORDER")]
    pub(super) order: OrderArg,
    /// Form of the answer
    #[arg(long, value_parser = Words::<Format>::of_enum(), default_value = "table", value_name = "FORM")]
    pub(super) format: Format,
    /// With a range of blocks or time: exit 3 unless every block in it is proven, with every sender recovered, screened against every
    /// entry in force, and no undecoded log or frame in it names an address of the question (without --address: a watched one; in blocks
    /// taken without --lookback-index nothing records the names, so any such log or frame exits 3). With `=internal` also exit 3 unless the ETH that moved within transactions is known in every block: proven by logs (EIP-7708) or seen in traces
    #[arg(long, value_parser = Words::<RequireComplete>::of_enum(), num_args = 0..=1, require_equals = true, default_missing_value = "proven", value_name = "WHAT")]
    pub(super) require_complete: Option<RequireComplete>,
}

/// What must be complete, so that `bolo query` does not exit 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum RequireComplete {
    /// What the roots of every block prove
    Proven,
    /// That, and the ETH that moved within transactions
    Internal,
}

/// `bolo status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Print only the ledger: for each plane which blocks are proven, unproven or missing
    #[arg(long, conflicts_with = "digest")]
    pub(super) coverage: bool,
    /// Print only the SHA-256 of the content (blocks, coverage, alerts): equal for the same chain and lists on any machine
    #[arg(long)]
    pub(super) digest: bool,
    /// With --digest: of the lists and all of their history instead, equal for the same files in whatever order they were imported
    #[arg(long, requires = "digest")]
    pub(super) lists: bool,
    /// Form of the answer
    #[arg(long, value_parser = Words::<StatusFormat>::of_enum(), default_value = "table", value_name = "FORM")]
    pub(super) format: StatusFormat,
}

/// Form of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum StatusFormat {
    /// For people.
    Table,
    /// A JSON object.
    Json,
}

/// `bolo demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Folder for the demo's database and watchlist: --db is not touched [default: a new folder among the temporary files]
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}

/// `bolo endpoints`.
#[derive(Debug, Args)]
pub struct EndpointsArgs {
    #[command(flatten)]
    pub(super) source: SourceArgs,
    /// Form of the answer
    #[arg(long, value_parser = Words::<StatusFormat>::of_enum(), default_value = "table", value_name = "FORM")]
    pub(super) format: StatusFormat,
}

/// `bolo completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(super) shell: clap_complete::Shell,
}

/// `bolo man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The folder
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
}
