//! What TLS costs by itself, without sockets: a record of several sizes and a handshake, full and resumed, with rustls over
//! ring and over aws-lc, and what of a record's cost is the cipher and what is the copy before it.
//!
//! CPU time of this thread, rounds of all contestants interleaved, medians. `make bench-tls` runs it.

mod handshakes;
mod records;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// Rounds of all contestants.
const ROUNDS: usize = 15;

fn main() {
    println!("us of CPU, medians of {ROUNDS} interleaved rounds\n");
    records::run();
    println!();
    handshakes::run();
}

/// A provider of cryptography, and what ring's and aws-lc's modules of rustls have each of their own.
#[derive(Clone)]
struct Provider {
    name: &'static str,
    crypto: Arc<CryptoProvider>,
    ticketer: fn() -> Result<Arc<dyn rustls::server::ProducesTickets>, rustls::Error>,
}

fn providers() -> [Provider; 2] {
    use rustls::crypto::{aws_lc_rs, ring};
    [
        Provider { name: "ring", crypto: Arc::new(ring::default_provider()), ticketer: ring::Ticketer::new },
        Provider {
            name: "aws-lc",
            crypto: Arc::new(aws_lc_rs::default_provider()),
            ticketer: aws_lc_rs::Ticketer::new,
        },
    ]
}

/// CPU time of this thread, in us.
fn now_us() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is ours and the clock exists on Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A line of a table in Markdown.
fn line(name: &str, cells: impl IntoIterator<Item = f64>) {
    let cells: Vec<String> =
        cells.into_iter().map(|us| if us < 10.0 { format!("{us:.2}") } else { format!("{us:.0}") }).collect();
    println!("| {name} | {} |", cells.join(" | "));
}
