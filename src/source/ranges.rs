//! How many blocks one question of a filter may span. Every endpoint has limits of its own (blocks, results, bytes, time), few say which,
//! and each says it in other words: so it is found out by trying, and what it says is a hint.

/// Blocks of the first question.
const FIRST: u64 = 2_000;
/// Blocks of one question at most: what is in one is asked for again after a kill.
const MOST: u64 = 100_000;
/// So many answers in a row, and what was refused once is tried again, since how much there is differs along the chain; where that is
/// refused again, twice as many.
const FIRST_PATIENCE: u32 = 8;
const MOST_PATIENCE: u32 = 256;
/// Fewer results are no limit of anybody's.
const FEWEST_LIMIT: usize = 100;

/// Blocks of the next question. An answer doubles it, a refusal halves it; once both are known it settles between them, and what was
/// refused is tried again ever more seldom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Width {
    now: u64,
    /// What was answered last.
    good: u64,
    /// What was refused.
    bound: Option<u64>,
    /// The bound that is being tried.
    tried: Option<u64>,
    in_row: u32,
    patience: u32,
}

impl Default for Width {
    fn default() -> Self {
        Self { now: FIRST, good: 0, bound: None, tried: None, in_row: 0, patience: FIRST_PATIENCE }
    }
}

impl Width {
    pub(super) fn now(self) -> u64 {
        self.now
    }

    /// So many blocks were answered for.
    pub(super) fn answered(&mut self, blocks: u64) {
        // The end of a range says nothing of wider ones.
        if blocks < self.now {
            return;
        }
        self.good = blocks;
        self.in_row += 1;
        if self.tried.take().is_some() {
            self.patience = FIRST_PATIENCE;
        }
        let doubled = (self.now * 2).min(MOST);
        match self.bound.map(|bound| bound.saturating_sub(self.now) / 2) {
            None => self.now = doubled,
            Some(gain) if gain > self.now / 8 => self.now += gain,
            Some(_) if self.in_row >= self.patience => {
                self.tried = self.bound.take();
                self.now = doubled;
                self.in_row = 0;
            }
            Some(_) => {}
        }
    }

    /// So many blocks were too much; what was said to be allowed counts where it is less.
    pub(super) fn refused(&mut self, blocks: u64, allowed: Option<u64>) {
        let allowed = allowed.filter(|allowed| *allowed < blocks);
        self.in_row = 0;
        if let Some(bound) = self.tried.take().filter(|bound| blocks >= *bound) {
            self.patience = (self.patience * 2).min(MOST_PATIENCE);
            self.bound = Some(bound);
            self.now = self.good.max(1);
            return;
        }
        let refused = allowed.map_or(blocks, |allowed| allowed + 1);
        self.bound = Some(self.bound.map_or(refused, |bound| bound.min(refused)));
        // Another question of the same width was refused before.
        if blocks > self.now {
            return;
        }
        let half = blocks / 2;
        self.now = match allowed {
            Some(allowed) => allowed,
            // What was answered last, once: here it may be too much as well.
            None if (half..blocks).contains(&self.good) => std::mem::take(&mut self.good),
            None => half,
        }
        .max(1);
    }
}

/// Methods that go through ranges of blocks.
pub(super) fn is_range_method(method: &str) -> bool {
    matches!(method, "eth_getLogs" | "trace_filter")
}

/// Whether an error says that less is to be asked for, and not later. In lower case.
pub(super) fn says_too_wide(text: &str) -> bool {
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let too_often = ["rate limit", "too many requests", "quota", "compute unit", "per second", "request count"];
    let too_much = [
        "block range",
        "blocks range",
        "range is too",
        "range too",
        "too wide",
        "too many results",
        "too many logs",
        "too many blocks",
        "more than",
        "max results",
        "limited to",
        "should work",
        "retry with",
        "size exceed",
        "response size",
        "result size",
        "exceeds max",
        "exceed max",
        "exceeds limit",
        "exceeds the limit",
        "too large",
        "too big",
        "timeout",
        "timed out",
        "took too long",
        "deadline exceeded",
    ];
    !says(&too_often) && says(&too_much)
}

/// How many blocks from `from` on an error says are allowed, where it says so: by a range (`[0x10, 0x20]`, `retry with the range
/// 16-32`), or else by a number of blocks (`limited to 300`, `up to a 2K block range`). Only ever a hint: one that does not help is
/// followed by halving.
pub(super) fn allowed(text: &str, from: u64, to: u64) -> Option<u64> {
    let lower = text.to_lowercase();
    let numbers = numbers(&lower);
    let range = numbers.windows(2).find(|pair| pair[0] == from && (from..to).contains(&pair[1]));
    if let Some(range) = range {
        return Some(range[1] - from + 1);
    }
    if !["block", "range"].iter().any(|word| lower.contains(word)) {
        return None;
    }
    // Of what is asked for and what is allowed, the latter is less.
    numbers.into_iter().filter(|number| (2..=to - from).contains(number)).max()
}

/// The numbers of a text: `0x10`, `10,000`, `2k`.
fn numbers(text: &str) -> Vec<u64> {
    text.replace(',', "\u{0}")
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '\u{0}')
        // A comma within digits belongs to the number, any other parts two of them.
        .flat_map(|word| {
            let grouped = word.split('\u{0}').enumerate().all(|(at, part)| {
                let digits = part.trim_end_matches('k');
                digits.bytes().all(|b| b.is_ascii_digit())
                    && if at == 0 { (1..=3).contains(&digits.len()) } else { digits.len() == 3 }
            });
            match grouped {
                true => vec![word.replace('\u{0}', "")],
                false => word.split('\u{0}').map(str::to_owned).collect(),
            }
        })
        .filter_map(|word| match (word.strip_prefix("0x"), word.strip_suffix('k')) {
            (Some(hex), _) => u64::from_str_radix(hex, 16).ok(),
            (None, Some(thousands)) => thousands.parse::<u64>().ok()?.checked_mul(1000),
            (None, None) => word.parse().ok(),
        })
        .collect()
}

/// Whether so many results look like a limit that cut the answer: some endpoints leave the rest out and say nothing, and their limits
/// are round (1,000, 10,000, 1,024). A count that is round by chance costs one question more, so there is no need to be sure.
pub(super) fn is_round(count: usize) -> bool {
    count >= FEWEST_LIMIT && (count.is_multiple_of(100) || count.is_power_of_two())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Questions until so many blocks are through, where more than `limit` at once are refused; with how many were refused.
    fn go_through(width: &mut Width, blocks: u64, limit: u64, hint: bool) -> (u32, u32) {
        let (mut left, mut asked, mut refused) = (blocks, 0, 0);
        while left > 0 {
            let step = width.now().min(left);
            asked += 1;
            if step > limit {
                refused += 1;
                width.refused(step, hint.then_some(limit));
            } else {
                left -= step;
                width.answered(step);
            }
        }
        (asked, refused)
    }

    #[test]
    fn a_width_is_halved_by_refusals_doubled_by_answers_and_settles_between() {
        let mut width = Width::default();
        width.answered(2000);
        assert_eq!(width.now(), 4000);
        width.answered(100);
        assert_eq!(width.now(), 4000, "the end of a range says nothing");
        for half in [2000, 1000, 500] {
            width.good = 0;
            width.refused(width.now(), None);
            assert_eq!(width.now(), half);
        }
        width.refused(1000, None);
        assert_eq!(width.now(), 500, "another question, of before");
        for limit in [1, 2, 10, 50, 1000, 3000, 10_000, 70_000] {
            for hint in [false, true] {
                let mut width = Width::default();
                let (asked, refused) = go_through(&mut width, 200 * limit, limit, hint);
                assert!(asked <= 270 + 15 && refused <= 30, "{limit}: asked {asked}, refused {refused}");
                let now = width.good.max(width.now.min(limit));
                assert!(now * 4 >= limit * 3, "{limit}: {width:?}");
                // What was the limit is forgotten again.
                go_through(&mut width, 100 * MOST, u64::MAX, hint);
                assert_eq!(width.now(), MOST);
            }
        }
    }

    #[test]
    fn what_endpoints_say_is_told_apart_from_asking_too_often() {
        for text in [
            "query returned more than 10000 results. try with this block range [0x64, 0x96].",
            "block range too large, currently limited to 300",
            "block range is too wide",
            "exceed maximum block range: 50000",
            "query exceeds max results 20000, retry with the range 100-150",
            "you can make eth_getlogs requests with up to a 10 block range",
            "query timeout exceeded",
            "eth_getlogs is limited to a 10,000 range",
        ] {
            assert!(says_too_wide(text), "{text}");
        }
        for text in ["limit exceeded", "rate limit exceeded", "exceeded its compute units per second capacity"] {
            assert!(!says_too_wide(text), "{text}");
        }
    }

    #[test]
    fn hints_are_read_as_endpoints_write_them() {
        let hint = |text| allowed(text, 100, 5099);
        assert_eq!(hint("query returned more than 10000 results. Try with this block range [0x64, 0x96]."), Some(51));
        assert_eq!(hint("query exceeds max results 20000, retry with the range 100-150"), Some(51));
        assert_eq!(hint("block range too large, currently limited to 300"), Some(300));
        assert_eq!(hint("eth_getLogs is limited to a 1,000 block range"), Some(1000));
        assert_eq!(hint("requests with up to a 2K block range and a cap of 10K logs"), Some(2000));
        assert_eq!(hint("block range is too wide: 5000 > 2000"), Some(2000));
        // No hint of blocks, or of other ones.
        assert_eq!(hint("query returned more than 10000 results"), None);
        assert_eq!(hint("query returned more than 1000 results"), None);
        assert_eq!(hint("block range is too wide"), None);
        assert_eq!(hint("exceed maximum block range: 50000"), None);
        assert_eq!(allowed("limited to a 1 block range", 7, 7), None);
        assert_eq!(numbers("[0x10,0x20] 10,000 and 5k, 7"), [16, 32, 10_000, 5000, 7]);
    }

    #[test]
    fn round_counts_look_like_limits() {
        for count in [100, 500, 1000, 1024, 4096, 10_000, 20_000] {
            assert!(is_round(count), "{count}");
        }
        for count in [0, 1, 8, 64, 99, 101, 1023, 9_999] {
            assert!(!is_round(count), "{count}");
        }
    }
}
