//! What can be said of lists on the command line.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::args::Format;
use super::words::{Words, seconds};
use crate::screen::ListKind;

/// `bolo watchlist`.
#[derive(Debug, Args)]
pub struct WatchlistArgs {
    #[command(subcommand)]
    pub(super) command: WatchlistCommand,
}

/// What can be done with lists.
#[derive(Debug, Subcommand)]
pub(super) enum WatchlistCommand {
    /// Take each file as the whole of its list: entries it no longer has are ended, never deleted
    Import(ImportArgs),
    /// Fetch the lists that bolo.toml names with a url. The last good version stays where that fails: exit 75 if it may go well another
    /// time, 1 if not
    Update(UpdateArgs),
    /// Add addresses, or change what is said of them
    Add(AddArgs),
    /// End the entries of addresses: no new alerts from now on, old ones stay
    #[command(visible_alias = "rm")]
    Remove(RemoveArgs),
    /// Print the entries
    #[command(visible_aliases = ["list", "ls"])]
    Show(ShowArgs),
    /// Say whether addresses are listed, and where
    Check(CheckArgs),
    /// Print every entry that an address ever had, with the versions of the lists that brought and ended it
    History(HistoryArgs),
    /// Print what was added, ended and changed from one date to another
    Diff(DiffArgs),
}

/// `bolo watchlist import`.
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// Files, zipped or not; a directory: the newest file in it by its date; - for standard input. The README names the formats
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// Name of the list [default: the file's name without its ending]
    #[arg(long, value_name = "NAME")]
    pub(super) list: Option<String>,
    /// What the list is [default: as before, internal for a new list]
    #[arg(long, value_parser = Words::of(ListKind::ALL), value_name = "KIND")]
    pub(super) kind: Option<ListKind>,
    /// Form of the files, by its name in the README [default: by what they begin with]
    #[arg(long, value_name = "FORM")]
    pub(super) format: Option<String>,
    /// When the file was published [default: as it says itself, else now]
    #[arg(long, value_name = "DATE")]
    pub(super) published: Option<String>,
    /// A column of a CSV file under another name, as in address=wallet; repeatable. Fields: address, label, entity, programs, listed_from,
    /// delisted_on, aliases, uid, currency, kind
    #[arg(long, value_name = "FIELD=NAME")]
    pub(super) column: Vec<String>,
    /// Take the good lines although there are bad ones
    #[arg(long)]
    pub(super) skip_bad: bool,
    /// Write what became of every candidate to a file, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
}

/// `bolo watchlist update`.
#[derive(Debug, Args)]
pub(super) struct UpdateArgs {
    /// Names of lists in bolo.toml [default: all with a url]
    #[arg(value_name = "NAME")]
    pub(super) names: Vec<String>,
    /// Take a file although it ends more than half of the list's entries
    #[arg(long)]
    pub(super) force: bool,
    /// Seconds that a server may be silent; a whole file may take 60 times as long [default: 30]
    #[arg(long, value_parser = seconds, value_name = "SECONDS")]
    pub(super) timeout: Option<f64>,
}

/// `bolo watchlist add`.
#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// The addresses; - reads them from standard input, one a line
    #[arg(required = true, value_name = "ADDRESS")]
    pub(super) addresses: Vec<String>,
    /// Name of the list
    #[arg(long, default_value = "manual", value_name = "NAME")]
    pub(super) list: String,
    /// What the list is [default: as before, internal for a new list]
    #[arg(long, value_parser = Words::of(ListKind::ALL), value_name = "KIND")]
    pub(super) kind: Option<ListKind>,
    /// What to call it. Of an address that is on the list, what no option names is kept; an empty text takes it away
    #[arg(long, value_name = "TEXT")]
    pub(super) label: Option<String>,
    /// Who is behind it
    #[arg(long, value_name = "TEXT")]
    pub(super) entity: Option<String>,
    /// A sanctions program; repeatable
    #[arg(long, value_name = "NAME")]
    pub(super) program: Vec<String>,
    /// Legal begin of the listing
    #[arg(long, value_name = "DATE")]
    pub(super) listed_from: Option<String>,
}

/// `bolo watchlist remove`.
#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    /// The addresses; - reads them from standard input, one a line
    #[arg(required = true, value_name = "ADDRESS")]
    pub(super) addresses: Vec<String>,
    /// Only from that list [default: from all]
    #[arg(long, value_name = "NAME")]
    pub(super) list: Option<String>,
}

/// `bolo watchlist show`.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Only that list
    #[arg(long, value_name = "NAME")]
    pub(super) list: Option<String>,
    /// As the lists were at that time
    #[arg(long, value_name = "DATE")]
    pub(super) as_of: Option<String>,
    /// Form of the answer
    #[arg(long, value_parser = Words::<Format>::of_enum(), default_value = "table", value_name = "FORM")]
    pub(super) format: Format,
}

/// `bolo watchlist history`.
#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// The address, in any case, or in Tron's form
    #[arg(value_name = "ADDRESS")]
    pub(super) address: String,
    /// Form of the answer
    #[arg(long, value_parser = Words::<Format>::of_enum(), default_value = "table", value_name = "FORM")]
    pub(super) format: Format,
}

/// `bolo watchlist diff`.
#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The earlier date
    #[arg(value_name = "DATE")]
    pub(super) from: String,
    /// The later date
    #[arg(value_name = "DATE")]
    pub(super) to: String,
    /// Only that list
    #[arg(long, value_name = "NAME")]
    pub(super) list: Option<String>,
    /// Form of the answer
    #[arg(long, value_parser = Words::<Format>::of_enum(), default_value = "table", value_name = "FORM")]
    pub(super) format: Format,
}

/// `bolo watchlist check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Addresses, in any case, with or without 0x, or in Tron's form (T…)
    #[arg(required_unless_present = "stdin", value_name = "ADDRESS")]
    pub(super) addresses: Vec<String>,
    /// Read the addresses from standard input, one a line; blank lines and what follows a # are passed over. Only what is listed is
    /// printed. A bad line is told with its number, the others are checked all the same, and the exit code is 1
    #[arg(long, conflicts_with = "addresses")]
    pub(super) stdin: bool,
    /// Tell by the exit code: 0 where no address is listed and in force, 10 where one is, 1 where one is no address
    #[arg(long)]
    pub(super) exit_code: bool,
    /// As the lists were at that time
    #[arg(long, value_name = "DATE")]
    pub(super) as_of: Option<String>,
    /// Form of the answer
    #[arg(long, value_parser = Words::<Format>::of_enum(), default_value = "table", value_name = "FORM")]
    pub(super) format: Format,
}
