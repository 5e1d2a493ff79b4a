//! `include/rrelay.h` agrees with the definitions in `src/ffi`. `make header` (RR_BLESS=1) writes it anew.

#[path = "header/layout.rs"]
mod layout;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use layout::Section;

/// The parts of the header, in order: the source file, the title, the text below the title.
const SECTIONS: [Section; 13] = [
    Section { file: "types", title: "plain data", text: "" },
    Section { file: "event", title: "events, the data", text: "" },
    Section { file: "config", title: "config structs", text: "" },
    Section { file: "rr_base", title: "0. base", text: "These need no server." },
    Section { file: "rr_server", title: "1. server", text: "" },
    Section {
        file: "rr_event",
        title: "2. events",
        text: "Take them, or the server's queue fills: then repeated states of one object are folded (start and end never \
               are), RR_EV_OVERFLOW says how many, and at last nobody new is let in. Or give rr_server_config an on_event.",
    },
    Section {
        file: "rr_session",
        title: "3. sessions: what others opened to us",
        text: "With ask set in rr_server_config, a peer waits at connect, publish or play until one of these answers it \
               or ask_ms is over. Meanwhile its media waits in the socket; others do not notice.",
    },
    Section { file: "rr_stream", title: "4. streams", text: "" },
    Section { file: "rr_target", title: "5. targets: what we open to others", text: "" },
    Section { file: "rr_info", title: "6. any id", text: "" },
    Section {
        file: "rr_worker",
        title: "7. workers: processes with one stream each",
        text: "For hosts with isolate = RR_ISOLATE_PROCESS whose worker is a program of their own. Others need no call: \
               the library brings rrelay-worker.",
    },
    Section {
        file: "rr_rest",
        title: "8. control by HTTP",
        text: "Off until rr_rest_listen. The same is done here by HTTP as by the calls above; no media passes through it.",
    },
    Section { file: "rr_frame", title: "10. helper", text: "" },
];

/// Macros that no Rust definition gives.
const MACROS: &str = "\
/* In a number of a config struct: off. */
#define RR_OFF 0xFFFFFFFFu

/* Sets up a config struct: RR_INIT(RR_CFG_SERVER, &config); the result is rr_config_init's. C11 and C++ know which
   struct it is, and a kind that is not its own is RR_ERR_ARG here; in C99 whoever takes the struct finds that out. */
#if defined(__cplusplus)
#define RR_TYPE_OF(p) ((int)sizeof(rr_config_type_of(p)) - 1)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define RR_TYPE_OF(p)                                                                                                  \\
    _Generic(*(p), rr_server_config: RR_CFG_SERVER, rr_stream_config: RR_CFG_STREAM, rr_target_config: RR_CFG_TARGET,  \\
             rr_decision: RR_CFG_DECISION, rr_frame: RR_CFG_FRAME, rr_hooks_config: RR_CFG_HOOKS,                  \\
             rr_controller_config: RR_CFG_CONTROLLER, default: 0)
#else
#define RR_TYPE_OF(p) 0
#endif
#define RR_INIT(kind, p) rr_config_init((kind) | RR_TYPE_OF(p) << 8, (p), sizeof *(p))

/* Bytes for what rr_rest_token gives, its NUL counted. */
#define RR_TOKEN_BYTES 257
";

/// Overloads after the C functions. Only `sizeof` uses them, so they need no definition, and no argument is evaluated
/// twice. The size of the result is the kind plus 1.
const CXX: &str = "\
#ifdef __cplusplus
/* For RR_TYPE_OF. They have no definition and need none. */
char (&rr_config_type_of(const rr_server_config *))[RR_CFG_SERVER + 1];
char (&rr_config_type_of(const rr_stream_config *))[RR_CFG_STREAM + 1];
char (&rr_config_type_of(const rr_target_config *))[RR_CFG_TARGET + 1];
char (&rr_config_type_of(const rr_decision *))[RR_CFG_DECISION + 1];
char (&rr_config_type_of(const rr_frame *))[RR_CFG_FRAME + 1];
char (&rr_config_type_of(const rr_hooks_config *))[RR_CFG_HOOKS + 1];
char (&rr_config_type_of(const rr_controller_config *))[RR_CFG_CONTROLLER + 1];
char (&rr_config_type_of(const void *))[1];
#endif
";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The header, generated from the sources.
fn generate() -> String {
    let sources: Vec<PathBuf> =
        SECTIONS.iter().map(|section| root().join(format!("src/ffi/{}.rs", section.file))).collect();
    let texts: Vec<String> = sources.iter().map(|file| fs::read_to_string(file).expect("a source of ours")).collect();
    let mut config = cbindgen::Config::from_file(root().join("cbindgen.toml")).expect("cbindgen.toml");
    let head = config.header.take().expect("cbindgen.toml has a header");
    config.export.include = texts.iter().flat_map(|text| layout::types_of(text)).collect();
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in &sources {
        builder = builder.with_src(source);
    }
    let mut raw = Vec::new();
    builder.generate().expect("cbindgen reads our sources").write(&mut raw);
    let raw = String::from_utf8(raw).expect("cbindgen writes text");
    layout::lay_out(head.trim_start(), (MACROS, CXX), &raw, &SECTIONS, &texts)
}

#[test]
fn the_committed_header_is_what_the_sources_say() {
    let fresh = generate();
    let path = root().join("include/rrelay.h");
    if std::env::var_os("RR_BLESS").is_some() {
        fs::write(&path, &fresh).unwrap();
        return;
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    if let Some((at, (old, new))) =
        committed.lines().zip(fresh.lines()).enumerate().find(|(_, (committed, fresh))| committed != fresh)
    {
        panic!(
            "include/rrelay.h differs from src/ffi in line {}; `make header` writes it anew\n-{old}\n+{new}",
            at + 1
        );
    }
    assert!(
        committed == fresh,
        "include/rrelay.h is longer or shorter than src/ffi says; `make header` writes it anew"
    );
}

#[test]
fn its_lines_are_short_enough_to_read() {
    for (at, line) in generate().lines().enumerate() {
        assert!(line.len() <= 120, "line {}: {line}", at + 1);
    }
}

#[test]
fn every_export_is_in_the_header() {
    let header = fs::read_to_string(root().join("include/rrelay.h")).unwrap();
    for entry in fs::read_dir(root().join("src/ffi")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ext| ext != "rs") {
            continue;
        }
        for name in layout::exports_of(&fs::read_to_string(&path).unwrap()) {
            assert!(header.contains(&format!("{name}(")), "{name} of {} has no section", path.display());
        }
    }
}

#[test]
fn the_header_compiles_as_c_and_as_cxx_without_a_warning() {
    for (compiler, language, standard) in
        [("cc", "c", "-std=c99"), ("cc", "c", "-std=c11"), ("c++", "c++", "-std=c++11"), ("c++", "c++", "-std=c++17")]
    {
        compile(compiler, language, standard, &root().join("include/rrelay.h"))
            .unwrap_or_else(|words| panic!("{compiler} {standard}: {words}"));
    }
}

/// The lines of usage at the header's head, as the body of a program that ends by `die`.
#[test]
fn the_usage_at_its_head_compiles() {
    let header = fs::read_to_string(root().join("include/rrelay.h")).unwrap();
    let usage = header.lines().skip_while(|line| *line != " * How it is used:").skip(2);
    let usage: Vec<&str> = usage.map_while(|line| line.strip_prefix(" *     ")).collect();
    assert!(usage.len() >= 10, "{usage:?}");
    let text = format!(
        "#include <stdio.h>\n#include \"{}\"\nvoid die(const char *why);\nint run(void);\nint run(void) {{\n{}\nreturn 0;\n}}\n",
        root().join("include/rrelay.h").display(),
        usage.join("\n")
    );
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("usage.h");
    fs::write(&file, text).unwrap();
    for (compiler, language, standard) in [("cc", "c", "-std=c99"), ("c++", "c++", "-std=c++11")] {
        compile(compiler, language, standard, &file).unwrap_or_else(|words| panic!("{compiler} {standard}: {words}"));
    }
}

#[test]
fn the_compiler_would_see_padding() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("padded.h");
    fs::write(&file, "struct a { char b; long long c; };\n").unwrap();
    assert!(compile("cc", "c", "-std=c99", &file).expect_err("it is padded").contains("padd"));
}

fn compile(compiler: &str, language: &str, standard: &str, file: &Path) -> Result<(), String> {
    let source = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("{}{standard}.c", file.file_stem().unwrap_or_default().display()));
    // Pedantic compilers want at least one definition in a program.
    fs::write(&source, format!("#include \"{}\"\nint rr_nothing;\n", file.display())).map_err(|e| e.to_string())?;
    let output = Command::new(compiler)
        .args(["-x", language, standard, "-Wall", "-Wextra", "-Wpedantic", "-Wpadded", "-Werror", "-fsyntax-only"])
        .arg(&source)
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Every `Default: n` in the header is the number that rr_config_init writes, which is the core's.
#[test]
fn documented_defaults_are_the_cores() {
    use rrelay::ffi::config::{
        rr_controller_config, rr_decision, rr_hooks_config, rr_server_config, rr_stream_config, rr_target_config,
    };
    let source = fs::read_to_string(root().join("src/ffi/config.rs")).unwrap();
    let mut checked = 0;
    macro_rules! check {
        ($type:ident: $($field:ident)+) => {{
            let value = $type::defaults();
            $(
                let written = layout::documented_default(&source, stringify!($type), stringify!($field));
                assert_eq!(written, Some(value.$field.to_string()), "{}.{}", stringify!($type), stringify!($field));
                checked += 1;
            )+
        }};
    }
    check!(rr_stream_config: publisher_policy grace_ms gop_bytes gop_ms max_kbps unwatched_ms nice merge_ms clock start
        queue_bytes queue_ms slow_ms args key_wait_ms silent_ms metadata relay_threads);
    check!(rr_target_config: retry_min_ms retry_max_ms retry_jitter_pct retry_count retry_total_ms retry_reset_ms
        connect_ms send_ms idle_ms queue_bytes queue_ms slow_policy slow_ms start clock media tracks max_kbps chunk_size
        merge_ms lingering_ms);
    check!(rr_server_config: mem_limit event_limit log_events max_sessions max_sessions_ip max_streams max_message ask
        ask_ms ask_default handshake_ms first_data_ms idle_ms ping_ms send_ms threads isolate worker_memory worker_files worker_hung_ms
        worker_orphan_ms);
    check!(rr_decision: media start);
    check!(rr_hooks_config: dialect timeout_ms update_ms retry_ms max_requests);
    check!(rr_controller_config: timeout_ms heartbeat_ms cache_ms max_requests);
    let numbers = source.matches("Default: ").count() - source.matches("Default: NULL").count() - 1;
    assert_eq!(checked, numbers, "a documented default is not compared (one mention is the file's head)");
}
