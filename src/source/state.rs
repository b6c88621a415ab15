//! How the endpoints are, for `status` and `bolo endpoints`, and what is wrong with them: each problem is said once when it begins
//! and once when it is over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::endpoint::Endpoint;
use super::health::Standing;
use super::pauses::FAILURES_TO_OPEN;
use super::pool::Pool;
use super::{lock, unix_now};

/// An endpoint as it is now. Times are seconds, sizes bytes; none where it is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointState {
    /// What may be shown of its URL.
    pub host: String,
    /// `ok`, `stalled`, `throttled`, `unreachable`, `benched`, `wrong_chain` or `unknown`.
    pub state: &'static str,
    /// What it says it is (`web3_clientVersion`).
    pub client: Option<String>,
    /// Height of its newest block.
    pub head: Option<u64>,
    /// Blocks behind the highest head of all.
    pub lag: Option<u64>,
    /// Since its head last rose.
    pub head_age: Option<u64>,
    /// Usual time to an answer, in milliseconds.
    pub latency_ms: Option<u64>,
    /// Requests that it stands at once, as far as is known.
    pub limit: u32,
    /// Requests in flight.
    pub in_flight: u32,
    /// Oldest block that it serves.
    pub oldest_block: Option<u64>,
    /// Oldest block whose receipts it serves.
    pub oldest_receipts: Option<u64>,
    /// Whether it has `eth_getBlockReceipts`.
    pub block_receipts: Option<bool>,
    /// The method by which traces are had, or `none`.
    pub traces: Option<&'static str>,
    /// Whether it knows `safe` and `finalized`.
    pub tags: Option<bool>,
    /// Calls in one batch that work.
    pub batch: Option<usize>,
    /// Size above which it gave no answer.
    pub max_answer: Option<u64>,
    /// For how long it is still benched.
    pub benched_for: Option<u64>,
    /// Answers that could not be true.
    pub lies: u64,
    /// Requests sent.
    pub requests: u64,
    /// Requests that failed.
    pub failures: u64,
    /// The last failure, and when (unix seconds).
    pub last_error: Option<(String, i64)>,
}

/// Something that is wrong with an endpoint, or with all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `endpoint_stalled`, `head_backwards`, `subscription_mute`, `subscription_lost`, `no_answer`, `unreachable`, `throttled`,
    /// `benched`, `head_uncorroborated`, `finality_waits`, `finality_uncorroborated` or `no_new_head`.
    pub code: &'static str,
    /// Which endpoint; none: all of them.
    pub host: Option<String>,
    /// What is wrong, in a few words.
    pub detail: String,
    /// Since when, in unix seconds.
    pub since: i64,
}

/// A problem is one by its code and endpoint.
type Key = (&'static str, Option<usize>);

/// Problems that last.
#[derive(Debug, Default)]
pub(super) struct Known {
    active: BTreeMap<Key, Problem>,
    looked: Option<Instant>,
    /// The last look came too late to tell anything.
    overslept: bool,
}

impl Known {
    /// Whether so long passed since the last look that it is we who were asleep, on a busy machine: then what was answered meanwhile is
    /// to be heard first. Never twice in a row, so that nothing is put off for ever.
    fn oversleeps(&mut self, usual: Duration, now: Instant) -> bool {
        let last = self.looked.replace(now);
        let late = last.is_some_and(|last| now.saturating_duration_since(last) > usual * 4);
        self.overslept = late && !self.overslept;
        self.overslept
    }

    /// Takes what is wrong now; what began and what ended since the last time.
    fn renew(&mut self, now: BTreeMap<Key, (Option<String>, String)>, at: i64) -> (Vec<Problem>, Vec<Problem>) {
        let over: Vec<Key> = self.active.keys().filter(|key| !now.contains_key(*key)).copied().collect();
        let ended = over.iter().filter_map(|key| self.active.remove(key)).collect();
        let mut begun = Vec::new();
        for (key, (host, detail)) in now {
            match self.active.get_mut(&key) {
                Some(problem) => problem.detail = detail,
                None => {
                    let problem = Problem { code: key.0, host, detail, since: at };
                    begun.push(problem.clone());
                    self.active.insert(key, problem);
                }
            }
        }
        (begun, ended)
    }
}

/// Quarters of a slot without a new head, while another endpoint has one, after which an endpoint counts as stalled: three less than
/// the three slots that are promised, since its head is asked for four times a slot, looked at eight times, and has to be written.
const STALLED_QUARTER_SLOTS: u32 = 9;
/// Throttled for that long without a good answer is more than a moment's.
const THROTTLED_LONG: Duration = Duration::from_secs(30);
/// Requests in a row without an answer in time; one, where there was no other answer for as long as a head may stand still.
const TIMEOUTS_ENOUGH: u32 = 2;

impl Pool {
    /// How each endpoint is, in the order of the configuration.
    pub fn states(&self) -> Vec<EndpointState> {
        let now = Instant::now();
        let best = self.highest(now);
        self.endpoints.iter().map(|endpoint| self.state_of(endpoint, best, now)).collect()
    }

    fn state_of(&self, endpoint: &Endpoint, best: Option<u64>, now: Instant) -> EndpointState {
        let traces = endpoint.known_traces();
        let known = lock(&endpoint.capability).clone();
        let pulse = *lock(&endpoint.pulse);
        let last_error = endpoint.last_error();
        let has_failed = last_error.is_some();
        let health = lock(&endpoint.health);
        let head = pulse.head.map(|head| head.number);
        let stalled = best.is_some_and(|best| pulse.is_stalled(best, self.stall_patience(), now));
        let state = match health.standing(now) {
            _ if endpoint.other_chain().is_some() => "wrong_chain",
            Standing::Benched(_) => "benched",
            Standing::Open(_) | Standing::HalfOpen => "unreachable",
            _ if health.breaker.failures_in_row > 0 && health.last_answer.is_none() => "unreachable",
            Standing::Resting(_) => "throttled",
            // One that answers each request with an error of its own shows no more than one that never answered.
            Standing::Good if health.last_answer.is_none() || (head.is_none() && has_failed) => "unknown",
            Standing::Good if stalled || pulse.is_backwards() => "stalled",
            Standing::Good => "ok",
        };
        EndpointState {
            host: endpoint.host.clone(),
            state,
            client: known.client,
            head,
            lag: best.zip(head).map(|(best, head)| best.saturating_sub(head)),
            head_age: pulse.rose.map(|rose| now.saturating_duration_since(rose).as_secs()),
            latency_ms: health.usual_latency().map(|usual| u64::try_from(usual.as_millis()).unwrap_or(u64::MAX)),
            limit: health.limit(),
            in_flight: health.in_flight(),
            oldest_block: known.oldest_block,
            oldest_receipts: known.oldest_receipts,
            block_receipts: known.block_receipts.known(),
            traces,
            tags: known.tags,
            batch: known.batch,
            max_answer: known.max_answer,
            benched_for: health.bench.until(now).map(|until| until.saturating_duration_since(now).as_secs()),
            lies: health.lies,
            requests: health.requests,
            failures: health.failures,
            last_error,
        }
    }

    fn stall_patience(&self) -> Duration {
        self.slot() * STALLED_QUARTER_SLOTS / 4
    }

    /// What is wrong now. What began or ended since this was last asked is logged.
    pub fn problems(&self) -> Vec<Problem> {
        let now = Instant::now();
        {
            let mut known = lock(&self.known);
            if known.oversleeps(self.look_every(), now) {
                return known.active.values().cloned().collect();
            }
        }
        let best = self.highest(now);
        let mut found: BTreeMap<Key, (Option<String>, String)> = BTreeMap::new();
        for (place, endpoint) in self.endpoints.iter().enumerate() {
            for (code, detail) in self.wrong_with(endpoint, best, now) {
                found.insert((code, Some(place)), (Some(endpoint.host.clone()), detail));
            }
        }
        if let Some(detail) = self.no_new_head(now) {
            found.insert(("no_new_head", None), (None, detail));
        }
        if let Some((code, detail)) = self.finality_problem() {
            found.insert((code, None), (None, detail));
        }
        let mut known = lock(&self.known);
        let (begun, ended) = known.renew(found, unix_now());
        for Problem { code, host, detail, .. } in begun {
            tracing::warn!(problem = code, host, "{detail}");
        }
        for Problem { code, host, .. } in ended {
            tracing::info!(problem = code, host, "is over");
        }
        known.active.values().cloned().collect()
    }

    fn wrong_with(&self, endpoint: &Endpoint, best: Option<u64>, now: Instant) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        let pulse = *lock(&endpoint.pulse);
        if let (Some(best), Some(head)) = (best, pulse.head)
            && pulse.is_stalled(best, self.stall_patience(), now)
        {
            wrong.push(("endpoint_stalled", format!("stands at block {}, another is at {best}", head.number)));
        }
        if let Some(head) = pulse.head.filter(|_| pulse.is_backwards()) {
            wrong.push(("head_backwards", format!("says block {}, said {} before", head.number, pulse.peak())));
        }
        if let Some(doubted) = pulse.doubted() {
            let others = best.map_or_else(String::new, |best| format!(": the others are at {best}"));
            let detail = format!("names block {}, which no other endpoint has{others}", doubted.number);
            wrong.push(("head_uncorroborated", detail));
        }
        let bell = *lock(&endpoint.bell);
        if bell.mute {
            wrong.push(("subscription_mute", "its subscription was open and pushed nothing: made anew".to_owned()));
        }
        if bell.lost {
            wrong.push(("subscription_lost", "its subscription ended: polling goes on".to_owned()));
        }
        let last = endpoint.last_error().map(|(error, _)| error).unwrap_or_default();
        let health = lock(&endpoint.health);
        let silent = health.last_answer.is_some_and(|at| now.saturating_duration_since(at) >= self.stall_patience());
        let no_answer = health.timeouts_in_row >= TIMEOUTS_ENOUGH || (health.timeouts_in_row > 0 && silent);
        let hangs = health.hangs(self.stall_patience(), self.slot(), now);
        if no_answer || hangs || health.has_stuck(now) {
            wrong.push(("no_answer", "requests get no answer in time".to_owned()));
        } else if endpoint.other_chain().is_some() || health.breaker.failures_in_row >= FAILURES_TO_OPEN {
            wrong.push(("unreachable", last));
        }
        if health.throttled_since.is_some_and(|since| now.saturating_duration_since(since) >= THROTTLED_LONG) {
            wrong.push(("throttled", "answers nothing but that there are too many requests: set `rate` for it under [[endpoint]] in bolo.toml".to_owned()));
        }
        if health.bench.until(now).is_some() {
            let reason = format!("gave what cannot be proven ({} times so far)", health.lies);
            wrong.push(("benched", reason));
        }
        wrong
    }

    /// Only where the chain's block time is known, and endpoints are being asked and do answer.
    fn no_new_head(&self, now: Instant) -> Option<String> {
        let slot = self.known_slot()?;
        let pulses: Vec<_> = self.endpoints.iter().map(|endpoint| *lock(&endpoint.pulse)).collect();
        let rose = pulses.iter().filter_map(|pulse| pulse.rose).max()?;
        let told = pulses.iter().filter_map(|pulse| pulse.told).max()?;
        let silent = now.saturating_duration_since(rose);
        let asked = now.saturating_duration_since(told) <= slot.max(Duration::from_secs(10));
        (asked && silent > slot * 3 + Duration::from_secs(5))
            .then(|| format!("no endpoint has had a new block for {} s", silent.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_comes_too_late_tells_nothing_and_the_next_one_does() {
        let (begin, usual) = (Instant::now(), Duration::from_millis(125));
        let mut known = Known::default();
        let mut looks = |millis| known.oversleeps(usual, begin + Duration::from_millis(millis));
        assert!(!looks(0) && !looks(125) && !looks(625));
        assert!(looks(1200) && !looks(1300));
        assert!(looks(3000) && !looks(5000) && looks(7000), "never twice in a row");
    }

    #[test]
    fn a_problem_begins_once_and_ends_once() {
        let mut known = Known::default();
        let wrong =
            |detail: &str| BTreeMap::from([(("no_answer", Some(0)), (Some("h".to_owned()), detail.to_owned()))]);
        let (begun, ended) = known.renew(wrong("x"), 7);
        assert_eq!((begun.len(), ended.len(), begun[0].since), (1, 0, 7));
        let (begun, ended) = known.renew(wrong("y"), 8);
        assert_eq!((begun.len(), ended.len()), (0, 0));
        assert_eq!((known.active[&("no_answer", Some(0))].detail.as_str(), known.active.len()), ("y", 1));
        let (begun, ended) = known.renew(BTreeMap::new(), 9);
        assert_eq!((begun.len(), ended.len(), ended[0].since), (0, 1, 7));
    }
}
