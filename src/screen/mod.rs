//! Which activities touch a watched address, and what becomes an [`Alert`]: pure, with no list format and no store.

pub mod alert;
pub mod lookback;
mod matching;
mod rule_words;
pub mod rules;
mod triage;
pub mod watchlist;

pub use alert::{Alert, AlertStatus, Designation, Direction, Severity, TriageClass, alert_id};
pub use lookback::Sought;
pub use matching::{screen, screen_activities};
pub use rule_words::{MinAmount, Rule, RuleAsset};
pub use rules::Rules;
pub use triage::Triage;
pub use watchlist::{ListKind, WatchEntry, Watchlist};
