//! bolo
pub mod chain;
pub mod cli;
pub mod config;
pub mod decode;
pub mod lists;
mod named;
pub mod ops;
pub mod pipeline;
pub mod screen;
pub mod source;
pub mod store;
