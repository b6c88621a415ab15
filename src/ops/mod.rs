//! Running: telling the pipeline to stop.

mod shutdown;

pub use shutdown::Shutdown;
