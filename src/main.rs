//! The `bolo` program: parse, log to stderr, run, exit code.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use bolo::cli::{self, Cli};
use bolo::ops::Shutdown;
use bolo::{redact, text};
use clap::Parser;
use tracing_subscriber::EnvFilter;

/// Blocks of a megabyte come and go: it gives their pages back less eagerly than the system's, which costs an eighth less.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // First of all: a signal in the first milliseconds of a long command is to stop it in order too.
    let started = start();
    register_secrets();
    let cli = match Cli::try_parse_from(cli::join_negative_values(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) => {
            let Some(failure) = cli::refused(&error) else { exit_on_usage(&error) };
            cli::complain(&failure, false);
            return ExitCode::from(failure.code);
        }
    };
    start_log(&cli);
    let as_json = cli.global.log_format == cli::LogFormat::Json;
    let (runtime, shutdown) = match started {
        Ok(started) => started,
        Err(error) => {
            tracing::error!(%error, "the program cannot start its threads or listen for signals");
            return ExitCode::from(75);
        }
    };
    let outcome = runtime.block_on(cli::run(cli, &shutdown));
    // Calls that are still under way are of no use any more.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if failure.code != 0 {
                cli::complain(&failure, as_json);
            }
            ExitCode::from(failure.code)
        }
    }
}

/// Starts the runtime. Signals are listened for where the command line has a word that names a command which stops in order: any
/// other command ends by the signal, as shells expect.
fn start() -> std::io::Result<(tokio::runtime::Runtime, Shutdown)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let long = std::env::args_os().any(|word| ["watch", "replay", "record"].iter().any(|name| word == *name));
    let shutdown = match long {
        true => runtime.block_on(async { Shutdown::on_signals() })?,
        false => Shutdown::default(),
    };
    Ok((runtime, shutdown))
}

/// The command line and the environment name endpoints, whose keys nothing may show.
fn register_secrets() {
    for word in std::env::args_os().skip(1).chain(std::env::var_os("ETH_RPC_URL")) {
        redact::register_urls_in(&word.to_string_lossy());
    }
}

/// As clap does it: help on stdout, what is wrong on stderr, without the secrets of what was typed.
fn exit_on_usage(error: &clap::Error) -> ! {
    let text = error.render();
    let shown = text::visible_lines(&redact::redacted(&text.to_string())).into_owned();
    if error.use_stderr() && shown != text.to_string() {
        let _ = std::io::stderr().write_all(shown.as_bytes());
        std::process::exit(error.exit_code());
    }
    error.exit()
}

/// How an event of the log is made safe to show.
type Safe = fn(&str) -> String;

/// Writes the log to stderr, without secrets and without anything that a terminal would act on. Each event comes in one piece.
struct SafeLog(Safe);

impl Write for SafeLog {
    fn write(&mut self, event: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        std::io::stderr().write_all((self.0)(&redact::redacted(&text)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

fn start_log(cli: &Cli) {
    let global = &cli.global;
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error".to_owned(),
        (false, 0) => format!("warn,bolo=info,{}", bolo::source::SELDOM_LOGGED),
        (false, 1) => "warn,bolo=debug".to_owned(),
        (false, _) => "info,bolo=trace".to_owned(),
    };
    let mut filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    if let Ok(never) = bolo::source::NEVER_LOGGED.parse() {
        filter = filter.add_directive(never);
    }
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || cli::is_dumb_terminal();
    let color = std::io::stderr().is_terminal() && !plain;
    let safe: Safe = match (global.log_format, color) {
        (cli::LogFormat::Json, _) => |event| text::json(event).into_owned(),
        (cli::LogFormat::Pretty, true) => |event| text::log_line(event, true),
        (cli::LogFormat::Pretty, false) => |event| text::log_line(event, false),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || SafeLog(safe)).with_ansi(color);
    // A reader of the log that went away must not stop the watch.
    let log = log.log_internal_errors(false);
    match global.log_format {
        // What a command says once needs no clock.
        cli::LogFormat::Pretty if !cli.command.is_long() => log.with_target(false).without_time().init(),
        cli::LogFormat::Pretty => log.with_target(false).init(),
        cli::LogFormat::Json => log.json().init(),
    }
}
