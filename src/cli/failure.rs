//! Why a command failed, with the exit code that CONTRACT gives it.

use crate::ops::StopReason;
use crate::pipeline::PipelineError;
use crate::source::SourceError;
use crate::store::StoreError;

/// One line for the user, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// 1, 3, 4, 5, 74 or 75; 0 for a closed pipe.
    pub code: u8,
    /// What is wrong and what to do.
    pub message: String,
    /// It failed only because another process was writing the database.
    pub busy: bool,
}

impl Failure {
    /// A failure with that exit code.
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), busy: false }
    }

    /// The user's input is wrong.
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(1, message)
    }

    /// The reader of our output went away, which is no failure.
    pub fn closed_pipe() -> Self {
        Self::new(0, "")
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::Contradiction { .. } | StoreError::InvalidBlock { .. } => 4,
            unusable if unusable.is_unusable() => 5,
            _ => 1,
        };
        Self { busy: matches!(error, StoreError::Busy(_)), ..Self::new(code, error.to_string()) }
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let code = match &error {
            SourceError::Unproven { .. } | SourceError::NotFiltered { .. } => 4,
            SourceError::Unreachable(_)
            | SourceError::Unknown(_)
            | SourceError::NoQuorum { .. }
            | SourceError::NoFinality => 75,
            SourceError::Refused(_)
            | SourceError::WrongChain { .. }
            | SourceError::NoTraces
            | SourceError::NoTraceFilter
            | SourceError::BadUrl(_)
            | SourceError::Archive(_) => 1,
        };
        Self::new(code, error.to_string())
    }
}

impl From<PipelineError> for Failure {
    fn from(error: PipelineError) -> Self {
        match error {
            PipelineError::Source(error) => error.into(),
            PipelineError::Store(error) => error.into(),
            PipelineError::TooDeep { .. } | PipelineError::NotLinked { .. } => Self::new(4, error.to_string()),
            PipelineError::Output(error) => {
                Self::new(StopReason::OutputClosed.exit_code(), format!("what was found cannot be printed: {error}"))
            }
            PipelineError::Worker(_) => Self::new(75, error.to_string()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::closed_pipe();
        }
        Self::new(1, format!("cannot write: {error}"))
    }
}
