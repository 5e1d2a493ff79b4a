//! Real programs against the server: what they publish is what arrives, and they end when they should. Each test has
//! its own server, port and folder, and ends its own programs.

mod support;

#[path = "interop/play.rs"]
mod play;
