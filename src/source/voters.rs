//! Who counts where endpoints have to agree on what is final: those that answer, and for a while those that were of use in this run and
//! have fallen silent. Otherwise an attacker who takes the honest endpoint off the network would leave the decision to a false one.

use std::time::{Duration, Instant};

use super::call::CallError;
use super::endpoint::Endpoint;
use super::lies::Miss;
use super::lock;
use super::pool::Pool;

/// Slots for which an endpoint counts that has fallen silent: as long as a block takes to become final where all is well.
const SILENT_SLOTS: u32 = 64;

impl Pool {
    /// Takes note of who said something in a vote of which `needed` have to agree, and of what finality waits for.
    pub(super) fn note_votes(&self, said: &[usize], needed: usize, now: Instant) {
        for (place, endpoint) in self.endpoints.iter().enumerate() {
            let mut silent_since = lock(&endpoint.silent_since);
            if said.contains(&place) {
                *silent_since = None;
            } else {
                silent_since.get_or_insert(now);
            }
        }
        let names = |endpoints: Vec<&Endpoint>| {
            let names: Vec<&str> = endpoints.iter().map(|endpoint| endpoint.host.as_str()).collect();
            names.join(", ")
        };
        let waited_for = names(self.silent_voters(said, now).collect());
        let gone = names(self.silent(said).collect());
        let lasts = self.silence_that_counts().as_secs();
        *lock(&self.finality_problem) = if said.len() >= needed || gone.is_empty() {
            None
        } else if !waited_for.is_empty() {
            let detail = format!(
                "{needed} endpoints must agree on what is final, and {waited_for} has fallen silent: it is waited for, for {lasts} s after \
                 its last word"
            );
            Some(("finality_waits", detail))
        } else {
            let detail = format!(
                "{gone} has said nothing for {lasts} s: what is final is the word of fewer than {needed} endpoints"
            );
            Some(("finality_uncorroborated", detail))
        };
    }

    /// What is wrong with finality, as the last vote showed.
    pub(super) fn finality_problem(&self) -> Option<(&'static str, String)> {
        lock(&self.finality_problem).clone()
    }

    /// Endpoints that said nothing and count all the same.
    pub(super) fn silent_voters(&self, said: &[usize], now: Instant) -> impl Iterator<Item = &Endpoint> {
        self.silent(said).filter(move |endpoint| self.counts_though_silent(endpoint, now))
    }

    /// Whether an endpoint that says nothing counts: it was of use, and has not been silent for too long. What gave wrong answers, or is
    /// of another chain, never counts.
    pub(super) fn counts_though_silent(&self, endpoint: &Endpoint, now: Instant) -> bool {
        let since = *lock(&endpoint.silent_since).get_or_insert(now);
        is_of_use(endpoint, now) && now.saturating_duration_since(since) < self.silence_that_counts()
    }

    fn silent(&self, said: &[usize]) -> impl Iterator<Item = &Endpoint> {
        let now = Instant::now();
        let places = said.to_vec();
        let silent = self.endpoints.iter().enumerate().filter(move |(place, _)| !places.contains(place));
        silent.map(|(_, endpoint)| &**endpoint).filter(move |endpoint| is_of_use(endpoint, now))
    }

    fn silence_that_counts(&self) -> Duration {
        self.slot() * SILENT_SLOTS
    }
}

/// It has told of a head in this run, and of nothing that is false.
fn is_of_use(endpoint: &Endpoint, now: Instant) -> bool {
    endpoint.other_chain().is_none()
        && lock(&endpoint.pulse).head.is_some()
        && lock(&endpoint.health).bench.until(now).is_none()
}

impl Miss {
    /// It did not answer, rather than with an error of its own or with what is false.
    pub(super) fn is_silence(&self) -> bool {
        let Self::Call(error) = self else { return false };
        match error {
            CallError::Timeout(_)
            | CallError::Throttled(_)
            | CallError::Transport(_)
            | CallError::Gone
            | CallError::BadAnswer(_)
            | CallError::Refused(_) => true,
            CallError::Unsupported(_)
            | CallError::Rpc { .. }
            | CallError::Pruned(_)
            | CallError::NotFound
            | CallError::TooLarge(_)
            | CallError::TooWide(_)
            | CallError::WrongChain(_)
            | CallError::WrongCheckpoint { .. } => false,
        }
    }
}
