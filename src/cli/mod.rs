//! The command line: what can be asked, and how answers are printed. Never SQL, never RPC calls.

mod alert_json;
mod amount;
mod args;
mod attest;
mod check;
mod completeness;
mod completeness_model;
mod coverage;
mod demo;
mod endpoints;
mod evidence;
mod explain;
mod failure;
mod health;
mod hidden_text;
mod known_addresses;
mod list_age;
mod list_args;
mod list_changes;
mod list_history;
mod list_import;
mod list_report;
mod list_update;
mod live;
mod moments;
mod present;
mod progress;
mod query;
mod range_end;
mod record;
mod replay;
mod revert;
mod screened;
mod shell;
mod short_id;
mod sources;
mod status;
mod token_facts;
mod watch;
mod watchlist;
mod words;

use std::path::{Path, PathBuf};

pub use args::{Cli, Command, Global, LogFormat};
pub use failure::Failure;
pub use progress::is_dumb_terminal;
pub use words::join_negative_values;

use crate::config::{ConfigFile, ListSettings, list_settings};
use crate::ops::Shutdown;

/// What every command needs.
#[derive(Debug)]
pub(crate) struct Context {
    /// The database.
    db: PathBuf,
    /// bolo.toml.
    config: ConfigFile,
    /// What it says of lists, checked.
    lists: Vec<ListSettings>,
}

/// Runs a command; its exit code, or why it failed.
///
/// # Errors
/// [`Failure`]: one line and the exit code of CONTRACT.
pub async fn run(cli: Cli, shutdown: &Shutdown) -> Result<u8, Failure> {
    match &cli.command {
        // A watch has no other end than to be stopped.
        Command::Watch(_) => shutdown.end_in_order(true),
        Command::Replay(_) | Command::Record(_) => shutdown.end_in_order(false),
        _ => shutdown.end_at_once(),
    }
    let config = named(cli.global.config.as_ref(), "--config", "BOLO_CONFIG")?;
    let config = ConfigFile::load(config).map_err(Failure::input)?;
    let db = named(cli.global.db.as_ref(), "--db", "BOLO_DB")?
        .map(Path::to_owned)
        .or_else(|| config.db.clone())
        .unwrap_or_else(|| "bolo.db".into());
    let lists = list_settings(&config.lists).map_err(Failure::input)?;
    let context = Context { db, config, lists };
    match cli.command {
        Command::Watch(args) => watch::run(&context, args, shutdown).await,
        Command::Replay(args) => replay::run(&context, args, shutdown).await,
        Command::Record(args) => record::run(&context, args, shutdown).await,
        Command::Query(args) => query::run(&context, &args),
        Command::Watchlist(args) => watchlist::run(&context, args).await,
        Command::Status(args) => status::run(&context, &args),
        Command::Evidence(args) => evidence::evidence(&context, &args),
        Command::Verify(args) => evidence::verify(&context, &args),
        Command::Attest(args) => attest::run(&context, &args),
        Command::Revert(args) => revert::run(&context, &args),
        Command::Demo(args) => demo::run(&context, &args).await,
        Command::Endpoints(args) => endpoints::run(&context, &args).await,
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man_pages(&args),
    }
}

/// A command line with a value that its option does not take: the user's input is wrong, in one line. None where something else is
/// wrong with it, which is for clap to say.
pub fn refused(error: &clap::Error) -> Option<Failure> {
    words::refused_value(error).map(Failure::input)
}

/// A path that was given. One that is empty is none where the variable is, and a mistake where the option is.
fn named<'a>(path: Option<&'a PathBuf>, option: &str, variable: &str) -> Result<Option<&'a Path>, Failure> {
    match path {
        Some(path) if path.as_os_str().is_empty() => match std::env::var_os(variable) {
            Some(value) if value.is_empty() => Ok(None),
            _ => Err(Failure::input(format!("{option} is empty: name a file"))),
        },
        other => Ok(other.map(PathBuf::as_path)),
    }
}

/// Says that a database is made where there was none, by a command that writes blocks: in another folder the lists would be missed.
fn say_where_new(context: &Context) {
    if !context.db.exists() {
        let db = context.db.display();
        tracing::warn!("there is no database at {db}: a new one is made, with an empty watchlist (--db names another)");
    }
}

/// Says on stderr, in one line, why it failed; in the log's own form where that is JSON.
pub fn complain(failure: &Failure, as_json: bool) {
    if as_json {
        tracing::error!(exit_code = failure.code, "{}", failure.message);
        return;
    }
    let line = format!("error: {}\n", crate::text::visible(&crate::redact::redacted(&failure.message)));
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
}
