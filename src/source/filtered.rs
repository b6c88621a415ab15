//! Which blocks may touch some addresses, found by an endpoint's own filters (`eth_getLogs`, `trace_filter`) instead of by reading all
//! blocks. Nothing proves what such a filter leaves out, and it tells the endpoint the addresses: never done unless asked for aloud.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use alloy::primitives::{Address, B256, U64};
use futures_util::future::try_join_all;
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::CallError;
use super::endpoint::Endpoint;
use super::lies::Miss;
use super::pool::Pool;
use super::race::Work;
use super::ranges::{self, Width};
use super::{SourceError, TraceMode, lock};
use crate::chain::native_logs;

/// Addresses of one question: many endpoints take a hundred, and not many more.
const AT_ONCE: usize = 100;
/// Traces of one page.
const PAGE: usize = 1000;
/// Pages of one question: where there are more, fewer blocks are asked for.
const MOST_PAGES: usize = 20;

/// What is looked for, with what is known of how much may be asked for at once.
#[derive(Debug)]
pub struct Filter {
    questions: Vec<Question>,
    logs: Mutex<Width>,
    frames: Mutex<Width>,
}

/// Which blocks of a range may touch an address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Their numbers.
    pub blocks: BTreeSet<u64>,
    /// Of these, how many could not be looked through, and are to be read for that.
    pub unanswered: u64,
    /// Who answered.
    pub hosts: BTreeSet<String>,
}

/// One question, of any range.
#[derive(Debug, Clone)]
enum Question {
    /// Logs of these events with an address at a place of their topics.
    Logs { place: usize, events: Vec<B256>, addresses: Vec<Address> },
    /// Call frames that come from the addresses, or lead to them. Both at once is "and" for one client and "or" for another.
    Frames { side: &'static str, addresses: Vec<Address> },
}

/// What an endpoint made of a question.
#[derive(Debug)]
enum Reply {
    /// All blocks with a hit.
    Blocks(BTreeSet<u64>),
    /// Less is to be asked for; of how many blocks, where it said so.
    TooMuch(Option<u64>),
}

/// Of a log or a trace: the one as hex, the other as a number.
#[derive(Deserialize)]
struct Hit {
    #[serde(rename = "blockNumber")]
    number: U64,
}

impl Filter {
    /// `indexed`: places of topics with the events that have an address there. `frames`: where the endpoints have `trace_filter`.
    pub fn new(addresses: &[Address], indexed: &[(usize, &[B256])], frames: bool) -> Self {
        let mut questions = Vec::new();
        for addresses in addresses.chunks(AT_ONCE) {
            let addresses = addresses.to_vec();
            questions.extend(indexed.iter().map(|(place, events)| Question::Logs {
                place: *place,
                events: events.to_vec(),
                addresses: addresses.clone(),
            }));
            if frames {
                let sides = ["fromAddress", "toAddress"];
                questions.extend(sides.map(|side| Question::Frames { side, addresses: addresses.clone() }));
            }
        }
        Self { questions, logs: Mutex::default(), frames: Mutex::default() }
    }

    /// How many blocks the next range should have: as many as can be asked for at once.
    pub fn span(&self) -> u64 {
        let frames = self.questions.iter().any(|question| matches!(question, Question::Frames { .. }));
        let logs = lock(&self.logs).now();
        if frames { logs.max(lock(&self.frames).now()) } else { logs }
    }

    fn width(&self, question: &Question) -> &Mutex<Width> {
        match question {
            Question::Logs { .. } => &self.logs,
            Question::Frames { .. } => &self.frames,
        }
    }
}

impl Question {
    fn params(&self, from: u64, to: u64) -> Value {
        let mut params = json!({"fromBlock": format!("{from:#x}"), "toBlock": format!("{to:#x}")});
        match self {
            Self::Logs { place, events, addresses } => {
                let mut topics = vec![json!(events)];
                topics.resize(*place, Value::Null);
                topics.push(addresses.iter().map(|address| json!(address.into_word())).collect());
                params["topics"] = topics.into();
            }
            Self::Frames { side, addresses } => params[*side] = json!(addresses),
        }
        params
    }
}

impl Pool {
    /// Whether some endpoint has `trace_filter` for that block, as far as traces are wanted.
    ///
    /// # Errors
    /// [`SourceError::NoTraceFilter`] where traces are required and none has it; others once the rounds are used up.
    pub async fn filters_frames(&self, at: u64) -> Result<bool, SourceError> {
        if self.traces == TraceMode::Off {
            return Ok(false);
        }
        let what = at.to_string();
        let ask = |endpoint: Arc<Endpoint>| async move { Ok(endpoint.find_trace_filter(at).await?) };
        let asked = self.race(Work::block(&what, at).unproven(), ask).await;
        let none = self.endpoints.iter().all(|endpoint| lock(&endpoint.capability).trace_filter.known() == Some(false));
        match asked {
            Ok(()) => Ok(true),
            Err(_) if none && self.traces == TraceMode::Require => Err(SourceError::NoTraceFilter),
            Err(_) if none => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether logs show each movement of the chain's own currency to another account from that block on, as its header says.
    ///
    /// # Errors
    /// [`SourceError`] once the rounds are used up.
    pub async fn logs_native_transfers(&self, from: u64) -> Result<bool, SourceError> {
        let what = from.to_string();
        let ask = |endpoint: Arc<Endpoint>| async move { endpoint.header(from).await };
        Ok(native_logs::logs_native_transfers(&self.race(Work::block(&what, from), ask).await?))
    }

    /// Which blocks of a range may touch the filter's addresses, by the endpoints' word. `head` is a block that they have.
    ///
    /// # Errors
    /// [`SourceError::NotFiltered`] where a single block brings an error; others once the rounds are used up. Nothing is left out
    /// in silence: what cannot be looked through for its size is found, since then it is read.
    pub async fn find(&self, filter: &Filter, (from, to): (u64, u64), head: u64) -> Result<Found, SourceError> {
        let sweeps = filter.questions.iter().map(|question| self.sweep(filter, question, (from, to), head));
        let mut sum = Found::default();
        let mut unanswered = BTreeSet::new();
        for (found, whole) in try_join_all(sweeps).await? {
            sum.blocks.extend(found.blocks);
            sum.hosts.extend(found.hosts);
            unanswered.extend(whole);
        }
        sum.unanswered = unanswered.len() as u64;
        sum.blocks.extend(unanswered);
        Ok(sum)
    }

    /// One question, over all of the range, in as many steps as it takes; with the blocks that could not be looked through.
    async fn sweep(
        &self,
        filter: &Filter,
        question: &Question,
        (from, to): (u64, u64),
        head: u64,
    ) -> Result<(Found, Vec<u64>), SourceError> {
        let width = filter.width(question);
        let (mut found, mut whole) = (Found::default(), Vec::new());
        let mut next = from;
        while next <= to {
            let end = to.min(next.saturating_add(lock(width).now() - 1));
            let blocks = end - next + 1;
            match self.ask(question, (next, end), (from, head)).await? {
                (host, Reply::Blocks(hits)) => {
                    found.blocks.extend(hits);
                    found.hosts.insert(host);
                    lock(width).answered(blocks);
                }
                (host, Reply::TooMuch(_)) if blocks == 1 => {
                    tracing::debug!(%host, block = next, "too much in a single block to be looked through: it is read");
                    whole.push(next);
                }
                (host, Reply::TooMuch(allowed)) => {
                    lock(width).refused(blocks, allowed);
                    let width = lock(width).now();
                    tracing::debug!(%host, from = next, to = end, width, "too much at once: fewer blocks are asked for");
                    continue;
                }
            }
            next = end + 1;
        }
        Ok((found, whole))
    }

    async fn ask(
        &self,
        question: &Question,
        (from, to): (u64, u64),
        (since, head): (u64, u64),
    ) -> Result<(String, Reply), SourceError> {
        let what = from.to_string();
        let said = Mutex::new(None);
        let note = &said;
        let asked = self
            .race(Work::block(&what, from).unproven(), |endpoint| async move {
                endpoint.still_has_logs(since, head).await?;
                let answer = match question {
                    Question::Logs { .. } => endpoint.logs(question, from, to).await,
                    Question::Frames { .. } => endpoint.frames(question, from, to).await,
                };
                let reply = match answer {
                    Ok(reply) => reply,
                    Err(CallError::TooWide(text)) => Reply::TooMuch(ranges::allowed(&text, from, to)),
                    Err(CallError::TooLarge(_)) => Reply::TooMuch(None),
                    // Whatever it is, it may pass with fewer blocks; what a single one brings is an error.
                    Err(CallError::Rpc { message, .. }) if from < to => {
                        Reply::TooMuch(ranges::allowed(&message, from, to))
                    }
                    Err(CallError::Transport(text)) if from < to && text.starts_with("HTTP status ") => {
                        Reply::TooMuch(ranges::allowed(&text, from, to))
                    }
                    Err(CallError::Timeout(_)) if from < to => Reply::TooMuch(None),
                    Err(error) => {
                        if let CallError::Rpc { .. } | CallError::Unsupported(_) = &error {
                            *lock(note) = Some(format!("{}: {error}", endpoint.host));
                        }
                        return Err(Miss::Call(error));
                    }
                };
                Ok((endpoint.host.clone(), reply))
            })
            .await;
        let said = lock(&said).take();
        match (asked, said) {
            (Err(SourceError::Unreachable(_) | SourceError::NoTraces), Some(reason)) => {
                Err(SourceError::NotFiltered { block: from, reason })
            }
            (asked, _) => asked,
        }
    }
}

impl Endpoint {
    /// Tries `trace_filter` on a block, with no address. Where it fails several times in whatever way it is not there for that block.
    async fn find_trace_filter(&self, at: u64) -> Result<(), CallError> {
        let at = format!("{at:#x}");
        let params = json!({"fromBlock": at, "toBlock": at, "toAddress": [Address::ZERO], "count": 1});
        let unsupported = || CallError::Unsupported("trace_filter".to_owned());
        let ask = || async {
            match self.call("trace_filter", (params.clone(),)).await {
                Ok(_) | Err(CallError::TooLarge(_) | CallError::TooWide(_)) => Ok(()),
                Err(reason @ (CallError::Rpc { .. } | CallError::Pruned(_) | CallError::NotFound)) => {
                    tracing::debug!(host = %self.host, %reason, "no trace_filter");
                    Err(unsupported())
                }
                Err(other) => Err(other),
            }
        };
        if self.settle(|known| &mut known.trace_filter, ask).await? {
            return Ok(());
        }
        tracing::info!(host = %self.host, "has no trace_filter");
        Err(unsupported())
    }

    /// Many nodes that have pruned their logs find none, where they should say that they have none: whether the receipts of the range's
    /// first block are there tells it, once a range.
    async fn still_has_logs(&self, since: u64, head: u64) -> Result<(), CallError> {
        let mut looked = self.looked_for_logs.lock().await;
        if *looked == Some(since) {
            return Ok(());
        }
        match self.has_receipts(since, head).await {
            Ok(true) => {}
            Ok(false) => return Err(CallError::NotFound),
            Err(CallError::Unsupported(_)) => {
                tracing::debug!(host = %self.host, "cannot tell whether logs were pruned");
            }
            Err(other) => return Err(other),
        }
        *looked = Some(since);
        Ok(())
    }

    async fn logs(&self, question: &Question, from: u64, to: u64) -> Result<Reply, CallError> {
        let answer = self.call_large(false, "eth_getLogs", (question.params(from, to),)).await?;
        let hits = read(&answer, from, to)?;
        // One block is read whole whatever else is in it.
        if from < to && ranges::is_round(hits.len()) {
            return Ok(Reply::TooMuch(None));
        }
        Ok(Reply::Blocks(hits.into_iter().collect()))
    }

    /// Page by page: as long as one is full, or looks as if it were cut short.
    async fn frames(&self, question: &Question, from: u64, to: u64) -> Result<Reply, CallError> {
        let known = lock(&self.capability).trace_filter;
        match known.known() {
            Some(true) => {}
            Some(false) if !known.is_worth_asking(Instant::now()) => {
                return Err(CallError::Unsupported("trace_filter".to_owned()));
            }
            // Else its error, whatever it is, would look like one that fewer blocks help against.
            _ => self.find_trace_filter(from).await?,
        }
        let mut params = question.params(from, to);
        params["count"] = json!(PAGE);
        let (mut blocks, mut after, mut before) = (BTreeSet::new(), 0, None);
        for _ in 0..MOST_PAGES {
            params["after"] = json!(after);
            let answer = self.call_large(false, "trace_filter", (&params,)).await?;
            let hits = read(&answer, from, to)?;
            after += hits.len();
            let is_last = !ranges::is_round(hits.len());
            blocks.extend(hits);
            if is_last || (from == to && !blocks.is_empty()) {
                return Ok(Reply::Blocks(blocks));
            }
            // It knows nothing of pages: what is cut off stays cut off.
            if before.as_ref() == Some(&answer) {
                break;
            }
            before = Some(answer);
        }
        Ok(Reply::TooMuch(None))
    }
}

/// The blocks of an answer, one for each hit.
fn read(answer: &[u8], from: u64, to: u64) -> Result<Vec<u64>, CallError> {
    let hits: Vec<Hit> =
        serde_json::from_slice(answer).map_err(|error| CallError::BadAnswer(format!("hits of a filter: {error}")))?;
    let blocks: Vec<u64> = hits.into_iter().map(|hit| hit.number.to()).collect();
    match blocks.iter().find(|number| !(from..=to).contains(*number)) {
        Some(other) => Err(CallError::BadAnswer(format!("asked for blocks {from} to {to}, got one of block {other}"))),
        None => Ok(blocks),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_stand_at_their_place_of_the_topics_and_in_chunks() {
        let addresses: Vec<_> = (0..150).map(Address::with_last_byte).collect();
        let event = B256::repeat_byte(7);
        let filter = Filter::new(&addresses, &[(1, &[event]), (3, &[event])], true);
        assert_eq!(filter.questions.len(), 8);
        let asked = filter.questions[1].params(16, 31);
        assert_eq!((&asked["fromBlock"], &asked["toBlock"]), (&json!("0x10"), &json!("0x1f")));
        let topics = asked["topics"].as_array().unwrap();
        assert_eq!(topics[..3], [json!([event]), Value::Null, Value::Null]);
        assert_eq!(topics[3].as_array().unwrap().len(), AT_ONCE);
        assert_eq!(topics[3][1], json!(addresses[1].into_word()));
        assert_eq!(filter.questions[6].params(0, 0)["fromAddress"].as_array().unwrap().len(), 50);
        assert_eq!(Filter::new(&addresses, &[(1, &[event])], false).questions.len(), 2);
    }

    #[test]
    fn hits_of_other_blocks_are_refused() {
        let logs = br#"[{"blockNumber":"0x10","data":"0x"},{"blockNumber":"0x1f"}]"#;
        assert_eq!(read(logs, 16, 31), Ok(vec![16, 31]));
        assert_eq!(read(br#"[{"blockNumber":16,"action":{}}]"#, 16, 31), Ok(vec![16]));
        assert!(read(logs, 16, 30).is_err() && read(logs, 17, 31).is_err());
        assert!(read(b"{}", 0, 9).is_err() && read(br#"[{"blockNumber":null}]"#, 0, 9).is_err());
    }
}
