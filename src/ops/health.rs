//! What only the process itself can tell of its health: whether its clock can be believed.

use std::time::{Duration, Instant, SystemTime};

/// Jumps of less are drift that is corrected.
const LEAST_JUMP: Duration = Duration::from_secs(2);

/// Compares the wall clock with the one that only goes forward. A jump is told for a while, and then taken for what is so.
#[derive(Debug, Clone)]
pub struct ClockWatch {
    patience: Duration,
    last: (Instant, SystemTime),
    jumped: Option<(Instant, Jump)>,
}

/// The wall clock went otherwise than time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jump {
    /// By how much, in milliseconds: less than 0 where it went back.
    pub by_ms: i64,
    /// Time by the wall clock after it, unix seconds.
    pub at: i64,
}

impl ClockWatch {
    /// `patience` is how long a jump is told.
    pub fn new(patience: Duration, now: Instant, wall: SystemTime) -> Self {
        Self { patience, last: (now, wall), jumped: None }
    }

    /// The jump that happened lately, by both clocks as they are now.
    pub fn look(&mut self, now: Instant, wall: SystemTime) -> Option<Jump> {
        let expected = self.last.1 + now.saturating_duration_since(self.last.0);
        let (off, forward) = match wall.duration_since(expected) {
            Ok(ahead) => (ahead, true),
            Err(behind) => (behind.duration(), false),
        };
        self.last = (now, wall);
        if off >= LEAST_JUMP {
            let ms = i64::try_from(off.as_millis()).unwrap_or(i64::MAX);
            let at = wall.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
            let at = i64::try_from(at).unwrap_or(i64::MAX);
            self.jumped = Some((now, Jump { by_ms: if forward { ms } else { -ms }, at }));
        }
        if self.jumped.is_some_and(|(when, _)| now.saturating_duration_since(when) > self.patience) {
            self.jumped = None;
        }
        self.jumped.map(|(_, jump)| jump)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_either_way_is_told_for_a_while_and_drift_is_not() {
        let (begin, wall) = (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000));
        let second = Duration::from_secs(1);
        let mut clock = ClockWatch::new(3 * second, begin, wall);
        assert_eq!(clock.look(begin + second, wall + second), None);
        assert_eq!(clock.look(begin + 2 * second, wall + 3 * second), None, "drift");
        let hour = Duration::from_secs(3600);
        let jump = clock.look(begin + 3 * second, wall + hour).unwrap();
        assert_eq!(jump.by_ms, 3_596_000);
        assert_eq!(clock.look(begin + 4 * second, wall + hour + second), Some(jump));
        assert_eq!(clock.look(begin + 7 * second, wall + hour + 4 * second), None, "it is over");
        assert!(clock.look(begin + 8 * second, wall).unwrap().by_ms < -3_600_000);
    }
}
