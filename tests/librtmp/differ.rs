//! Runs C programs on the distribution's librtmp and on ours, and compares what they print case by case.
//!
//! A case that kills the original says nothing about results, and ours has to survive it. Every other case is equal, or
//! it is listed here with the reason why it is not. The drivers are `sweep.c` (NULL and odd arguments), `inputs.c`
//! (urls, options, AMF), `packets.c` (messages out and in, a client's answers) and `flv.c`; conversations with a peer
//! are in `talk.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::linked;
use crate::support::c::{good, root};
use crate::support::program::Room;

/// A driver, compiled once for both libraries.
pub(crate) fn driver(name: &str) -> PathBuf {
    static ROOM: OnceLock<Room> = OnceLock::new();
    let room = ROOM.get_or_init(|| Room::new("librtmp-differ"));
    let program = room.file(name);
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu99", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function"]);
    cc.arg(root().join(format!("tests/librtmp/{name}.c"))).arg("-o").arg(&program);
    cc.arg("-I").arg(root().join("include")).arg("-L").arg(linked::folder()).args(["-lrtmp", "-lpthread"]);
    good(&cc.output().unwrap(), name);
    program
}

/// Runs a driver on one library. A case that hangs for so long is ended.
fn printed(program: &Path, library: &Path, case_ms: u32) -> BTreeMap<String, String> {
    let output = Command::new(program)
        .env("LD_LIBRARY_PATH", library)
        .env("HOME", program.parent().unwrap())
        .env("CASE_MS", case_ms.to_string())
        .output()
        .unwrap();
    good(&output, "a driver");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.ends_with("== end\n"), "the driver went through to its end");
    text.strip_prefix("== ")
        .unwrap()
        .split("\n== ")
        .map(|case| case.split_once('\n').unwrap_or((case, "")))
        .map(|(label, result)| (label.to_owned(), result.to_owned()))
        .collect()
}

const DIED: &str = "died";

/// Compares a driver's cases. Cases that may be unequal are `listed`, with the reason, or `differs` gives a reason,
/// from the case's name, the original's result and ours. A listed reason that no case needs is an error.
fn compare(
    name: &str,
    listed: &[(&str, &str)],
    differs: impl Fn(&str, &str, &str) -> Option<&'static str>,
) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let program = driver(name);
    let theirs = printed(&program, linked::original(), 2_000);
    let ours = printed(&program, linked::folder(), 20_000);
    assert_eq!(theirs.keys().collect::<Vec<_>>(), ours.keys().collect::<Vec<_>>());
    let mut wrong = Vec::new();
    let mut needless: Vec<&str> = listed.iter().map(|(label, _)| *label).collect();
    let mut compared = 0;
    for (label, their) in &theirs {
        let our = &ours[label];
        if our == DIED {
            wrong.push(format!("{label}: ours died"));
        } else if their == DIED {
            needless.retain(|each| each != label);
        } else if our == their {
            compared += 1;
        } else if listed.iter().any(|(each, _)| each == label) {
            needless.retain(|each| each != label);
        } else if differs(label, their, our).is_none() {
            let (their, our) = their.lines().zip(our.lines()).find(|(a, b)| a != b).unwrap_or((their, our));
            wrong.push(format!("{label}\n    < {their:.300}\n    > {our:.300}"));
        }
    }
    let shown = wrong.len().min(20);
    assert!(wrong.is_empty(), "{} of {} cases differ:\n{}", wrong.len(), theirs.len(), wrong[..shown].join("\n"));
    assert_eq!(needless, Vec::<&str>::new(), "these are equal, and need no reason");
    println!("{name}: {compared} of {} cases compared equal", theirs.len());
    (theirs, ours)
}

fn nothing_else(_label: &str, _their: &str, _our: &str) -> Option<&'static str> {
    None
}

/// Ours looks for the body before it sends anything; librtmp sends bytes of its stack.
const NO_BODY: &str = "a message with a size and no body is refused";
/// The descriptor that was closed may be somebody else's by the next call.
const FORGETS: &str = "a closed descriptor is forgotten";
/// librtmp goes back a byte where it finds an error, and takes the rest for something else.
const AMF3_ENDS: &str = "AMF3 that is damaged or ends early is an error";
/// librtmp decodes what sscanf left, which was on its stack before.
const NO_HEX: &str = "a % or \\ without two hex digits stands for itself, or for nothing";
/// librtmp gives the object's head to a decoder that wants the marker before it.
const NESTED: &str = "an AMF3 object in an AMF3 object is decoded";

/// librtmp's AMF3 reader leaves a property that ends early as its stack was: mostly zeros, and at times an address.
const NO_TYPE: &str = "a property of no type has type 0";

/// Whether a driver printed an impossible type: AMF's are below 0x12, and AMF_INVALID is 0xff.
fn has_a_type_of_none(result: &str) -> bool {
    let number = |line: &str| line.split_once("type ")?.1.split(' ').next()?.parse::<i64>().ok();
    result.lines().filter_map(number).any(|number| number != 0xff && !(0..0x12).contains(&number))
}

/// Whether a \ stands without two hex digits behind it.
fn has_an_odd_escape(label: &str) -> bool {
    let is_hex = |rest: &str| rest.len() > 1 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    label.split('\\').skip(1).any(|rest| !is_hex(rest))
}

#[test]
fn no_call_dies_of_null_or_odd_arguments_and_all_give_what_the_original_gives() {
    let listed = [
        ("AMF_DecodeLongString of a huge one", "a length below zero is no string"),
        ("AMF3_Decode of 3 bytes", AMF3_ENDS),
        ("AMF3_Decode of 4 bytes", AMF3_ENDS),
        ("AMF3_Decode of 5 bytes", AMF3_ENDS),
        ("levels that are none", "librtmp prints what lies behind its table of names"),
        ("RTMP_SendPacket(r, &bodiless, 0) on a session that is never set up", NO_BODY),
        ("RTMP_SendPacket(r, &bodiless, 0) on a session that is not connected", NO_BODY),
        ("RTMP_SendPacket(r, &bodiless, 0) on a session that is left by its peer", NO_BODY),
        ("RTMPSockBuf_Close(r ? &r->m_sb : NULL) on a session that is never set up", FORGETS),
        ("RTMPSockBuf_Close(r ? &r->m_sb : NULL) on a session that is left by its peer", FORGETS),
    ];
    compare("sweep", &listed, nothing_else);
}

#[test]
fn urls_options_and_amf_become_what_the_original_makes_of_them() {
    let listed = [
        ("url rtmp://h/a/%", NO_HEX),
        ("url rtmp://h/a/%4", NO_HEX),
        ("url rtmp://h/a/%41%", NO_HEX),
        ("url rtmp://h/a/%zz", NO_HEX),
        ("AMF 751", "librtmp says that it took five bytes of four"),
        ("AMF3 43", "librtmp gives a date that is a reference the number of the value before"),
    ];
    compare("inputs", &listed, |label, their, our| {
        if label.starts_with("setup ") && has_an_odd_escape(label) {
            return Some(NO_HEX);
        }
        let bytes = our.lines().next()?.split_once("] ")?.1.replace(' ', "");
        let count = |byte: &str| bytes.as_bytes().chunks(2).filter(|each| *each == byte.as_bytes()).count();
        let objects = count("0a") + count("0b") + count("0c");
        let refused = our.contains("Decode -1") || our.contains("Array -1");
        match label.starts_with("AMF3 ") {
            true if refused => Some(AMF3_ENDS),
            true if objects > 1 => Some(NESTED),
            true if has_a_type_of_none(their) => Some(NO_TYPE),
            false if refused && count("11") > 0 => Some(AMF3_ENDS),
            _ => None,
        }
    });
}

/// librtmp leaves the time out of a message with the last message's time, and of one that the program wants without
/// time. Readers then add the step that was written last. Ours writes the step where that would be wrong.
const STEP_TOLD: &str = "a header without a time stands only where the last step is the right one";

/// The bytes of a message that [`packets_out`](../packets.c) has sent, as hex digits.
fn sent(line: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = line.strip_prefix("sent[")?.split_once(']')?.1.bytes().filter(|&byte| byte != b' ').collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// Whether two results of `packets_out` differ only in type 2 headers in place of type 3: each such message has three
/// more bytes, a step, and all its other bytes are the same.
fn tell_the_step(their: &str, our: &str) -> bool {
    let (mut theirs, mut ours) = (their.lines(), our.lines());
    loop {
        let (their, our) = match (theirs.next(), ours.next()) {
            (None, None) => return true,
            (Some(their), Some(our)) if their == our => continue,
            (Some(their), Some(our)) => (their, our),
            _ => return false,
        };
        if (their, our) != ("1 now 3", "1 now 2") {
            return false;
        }
        let (Some(their), Some(our)) = (theirs.next().and_then(sent), ours.next().and_then(sent)) else { return false };
        let basic = match their[0] & 0x3F {
            0 => 2,
            1 => 3,
            _ => 1,
        };
        let same_place = our[0] == their[0] & 0x3F | 0x80 && our[1..basic] == their[1..basic];
        if !same_place || our[basic + 3..] != their[basic..] {
            return false;
        }
    }
}

#[test]
fn what_a_session_is_set_up_for_is_logged_as_by_the_original() {
    let program = driver("setup");
    let [theirs, ours] = [linked::original(), linked::folder()].map(|library| {
        let output = Command::new(&program).env("LD_LIBRARY_PATH", library).output().unwrap();
        good(&output, "setup");
        String::from_utf8_lossy(&output.stdout).into_owned()
    });
    assert!(theirs.contains("SWFSize  : 1234"), "{theirs}");
    assert_eq!(theirs, ours);
}

#[test]
fn packets_go_out_and_come_in_and_are_answered_as_by_the_original() {
    compare("packets", &[], |label, their, our| {
        (label.starts_with("packets out") && tell_the_step(their, our)).then_some(STEP_TOLD)
    });
}

#[test]
fn flv_comes_out_as_from_the_original_and_goes_in_in_any_slices() {
    let is_slice = |label: &str| label.contains("in slices of");
    let (theirs, ours) = compare("flv", &[], |label, _, _| is_slice(label).then_some("librtmp takes no cut head"));
    for (label, our) in ours.iter().filter(|(label, _)| is_slice(label)) {
        let whole = label.split_once("in slices").unwrap().0.to_owned() + "in whole tags";
        assert_ne!(theirs[&whole], DIED, "{whole}");
        assert_eq!(our, &theirs[&whole], "{label}");
    }
}
