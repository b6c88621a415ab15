//! Shell completions and manual pages, made from the command line's own definition.

use clap::CommandFactory;

use super::args::{CompletionsArgs, ManArgs};
use super::{Cli, Failure};

pub(super) fn completions(args: &CompletionsArgs) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "bolo", &mut script);
    super::present::print_bytes(&script)?;
    Ok(0)
}

pub(super) fn man_pages(args: &ManArgs) -> Result<u8, Failure> {
    std::fs::create_dir_all(&args.out)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), &args.out))
        .map_err(|error| Failure::input(format!("cannot write manual pages to {}: {error}", args.out.display())))?;
    Ok(0)
}
