//! bolo
pub mod chain;
pub mod decode;
pub mod screen;
