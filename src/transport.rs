//! Transports: how a generation's frames reach a client. A transport owns pacing, heartbeats and
//! headers; what a frame says is decided below it.

pub mod frames;
pub mod log;
pub mod sse;
pub mod websocket;
