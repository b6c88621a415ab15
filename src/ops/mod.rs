//! Running: telling the pipeline to stop, and whether the clock can be believed.

mod health;
mod shutdown;

pub use health::{ClockWatch, Jump};
pub use shutdown::{Shutdown, StopReason};
