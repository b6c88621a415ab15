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
}

impl Failure {
    /// The user's input is wrong.
    pub fn input(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }

    /// The reader of our output went away, which is no failure.
    pub fn closed_pipe() -> Self {
        Self { code: 0, message: String::new() }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::Contradiction { .. } | StoreError::InvalidBlock { .. } => 4,
            unusable if unusable.is_unusable() => 5,
            _ => 1,
        };
        Self { code, message: error.to_string() }
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let code = match &error {
            SourceError::Unproven { .. } | SourceError::NotFiltered { .. } => 4,
            SourceError::Unreachable(_) | SourceError::Unknown(_) | SourceError::NoQuorum { .. } => 75,
            SourceError::Refused(_)
            | SourceError::WrongChain { .. }
            | SourceError::NoTraces
            | SourceError::NoTraceFilter
            | SourceError::BadUrl(_)
            | SourceError::Archive(_) => 1,
        };
        Self { code, message: error.to_string() }
    }
}

impl From<PipelineError> for Failure {
    fn from(error: PipelineError) -> Self {
        match error {
            PipelineError::Source(error) => error.into(),
            PipelineError::Store(error) => error.into(),
            PipelineError::TooDeep { .. } | PipelineError::NotLinked { .. } => {
                Self { code: 4, message: error.to_string() }
            }
            PipelineError::Output(error) => Self {
                code: StopReason::OutputClosed.exit_code(),
                message: format!("what was found cannot be printed: {error}"),
            },
            PipelineError::Worker(_) => Self { code: 75, message: error.to_string() },
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::closed_pipe();
        }
        Self { code: 1, message: format!("cannot write: {error}") }
    }
}
