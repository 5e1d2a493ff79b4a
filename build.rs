//! Link settings of the shared library. No version of the crate is written here: that one lives in `Cargo.toml` alone.

/// The number in the soname, `librrelay.so.<n>`. Before 1.0 it moves at every break of the C ABI. The Makefile reads
/// this line.
const SOVERSION: u32 = 0;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if matches!(os.as_str(), "linux" | "android" | "freebsd" | "netbsd" | "openbsd" | "dragonfly") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,librrelay.so.{SOVERSION}");
        // Threads of ours may still be leaving when a host closes the library: its code must stay mapped.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
    if std::env::var_os("CARGO_FEATURE_LIBRTMP").is_some() {
        let shim = "src/ffi/librtmp/shim.c";
        println!("cargo::rerun-if-changed={shim}");
        cc::Build::new().file(shim).std("c99").warnings_into_errors(true).compile("rrelay_shim");
    }
}
