//! Tests of the dispatcher and the repeat counter. The process has one dispatcher, so tests share it.

use super::*;

#[derive(Default)]
struct Kept(Mutex<Vec<(Level, String, String)>>);

impl LogOutlet for Kept {
    fn push(&self, level: Level, module: &str, line: String) {
        locked(&self.0).push((level, module.to_owned(), line));
    }
}

impl Kept {
    fn lines(&self) -> Vec<String> {
        locked(&self.0).iter().map(|(_, _, line)| line.clone()).collect()
    }
}

fn server(level: LevelFilter) -> (Arc<Kept>, LogHandle) {
    assert!(RRLog::install() && RRLog::install());
    let kept = Arc::new(Kept::default());
    (Arc::clone(&kept), RRLog::register(kept, level))
}

#[test]
fn a_record_goes_to_the_server_of_its_thread_and_to_no_other() {
    let ((one, one_handle), (two, two_handle)) = (server(LevelFilter::Info), server(LevelFilter::Trace));
    log::error!("nobody's");
    let outer = RRLog::enter(&one_handle);
    log::info!("one");
    log::debug!("too fine for one");
    {
        let _inner = RRLog::enter(&two_handle);
        log::trace!("two");
        let handed = RRLog::current().unwrap();
        std::thread::spawn(move || {
            let _log = RRLog::enter(&handed);
            log::warn!("two's thread");
        })
        .join()
        .unwrap();
        let _host = RRLog::leave();
        log::error!("the host's");
    }
    log::error!("one again");
    drop(outer);
    log::error!("nobody's again");
    assert_eq!(one.lines(), ["one", "one again"]);
    assert_eq!(two.lines(), ["two", "two's thread"]);
    assert_eq!(locked(&one.0)[0], (Level::Info, "log::tests".to_owned(), "one".to_owned()));
}

#[test]
fn the_level_can_change_while_running() {
    let (kept, handle) = server(LevelFilter::Off);
    let _log = RRLog::enter(&handle);
    log::error!("unheard");
    handle.set_level(LevelFilter::Trace);
    assert_eq!(log::max_level(), LevelFilter::Trace);
    log::trace!("heard");
    handle.set_level(LevelFilter::Error);
    log::warn!("unheard");
    assert_eq!(kept.lines(), ["heard"]);
}

#[test]
fn a_line_is_one_line_and_bounded() {
    let (kept, handle) = server(LevelFilter::Info);
    let _log = RRLog::enter(&handle);
    log::info!("key {}\n{}", "a\r\0\u{1b}", "b\u{2028}");
    log::info!("{}", "é".repeat(1 << 20));
    let lines = kept.lines();
    assert_eq!(lines[0], "key a\\r\\u{0}\\u{1b}\\nb\\u{2028}");
    assert!(lines[1].len() <= LOG_LINE_BYTES + 12 && lines[1].ends_with("é..."));
}

#[test]
fn the_numbers_of_the_c_api_are_levels() {
    let levels: Vec<_> = (-1..7).map(level_filter).collect();
    use LevelFilter as F;
    let expected =
        [None, Some(F::Off), Some(F::Error), Some(F::Warn), Some(F::Info), Some(F::Debug), Some(F::Trace), None];
    assert_eq!(levels, expected);
}

fn line(text: &str) -> Line {
    Line { time_us: 0, level: Level::Warn, module: "m".to_owned(), text: text.to_owned() }
}

fn offer(repeats: &mut Repeats, now_ms: u64, text: &str) -> Vec<String> {
    let mut shown: Vec<_> = repeats.offer(now_ms, line(text)).into_iter().collect();
    shown.extend(std::iter::from_fn(|| repeats.due(now_ms)));
    shown.into_iter().map(|line| line.text).collect()
}

#[test]
fn repeats_within_a_second_come_once_with_their_number() {
    let mut repeats = Repeats::default();
    assert_eq!(offer(&mut repeats, 100, "a"), ["a"]);
    assert_eq!(repeats.next_due_ms(), None);
    assert!(offer(&mut repeats, 200, "a").is_empty());
    assert_eq!(offer(&mut repeats, 300, "b"), ["b"], "another line is not held back");
    assert!(offer(&mut repeats, 1_099, "a").is_empty());
    assert_eq!(repeats.next_due_ms(), Some(1_100));
    assert_eq!(repeats.due(1_099), None);
    assert_eq!(repeats.due(1_100).unwrap().text, "a... (repeated 2 times)");
    assert_eq!((repeats.due(1_100), repeats.next_due_ms()), (None, None));
    assert!(offer(&mut repeats, 1_500, "a").is_empty(), "still going on");
    assert_eq!(repeats.due(2_100).unwrap().text, "a... (repeated 1 times)");
    assert_eq!(repeats.due(3_100), None);
    assert_eq!(offer(&mut repeats, 3_101, "a"), ["a"], "after a quiet second it is news again");
}

#[test]
fn lines_of_other_level_or_module_are_not_repeats() {
    let mut repeats = Repeats::default();
    assert!(repeats.offer(0, line("a")).is_some());
    assert!(repeats.offer(0, Line { level: Level::Error, ..line("a") }).is_some());
    assert!(repeats.offer(0, Line { module: "n".to_owned(), ..line("a") }).is_some());
    assert!(repeats.offer(0, Line { time_us: 1, ..line("a") }).is_none());
}

#[test]
fn any_number_of_different_lines_is_watched_in_bounded_memory_and_none_is_miscounted() {
    let mut repeats = Repeats::default();
    let (mut shown, mut repeated) = (0, 0);
    for n in 0..10_000_u64 {
        let text = if n % 3 == 0 { "often".to_owned() } else { format!("line {}", n % 47) };
        for text in offer(&mut repeats, n, &text) {
            match text.split_once("(repeated ") {
                None => shown += 1,
                Some((_, rest)) => repeated += rest.trim_end_matches(" times)").parse::<u64>().unwrap(),
            }
        }
        assert!(repeats.watched.len() <= LOG_REPEAT_LINES && repeats.ready.is_empty());
    }
    repeats.flush();
    for summary in std::iter::from_fn(|| repeats.due(10_000)) {
        repeated += summary.text.split(['(', ' ']).filter_map(|word| word.parse::<u64>().ok()).next_back().unwrap();
    }
    assert_eq!(shown + repeated, 10_000);
    assert!(repeated > 0 && shown > LOG_REPEAT_LINES as u64);
}

#[test]
fn times_are_written_as_people_read_them() {
    assert_eq!(utc(0), "1970-01-01T00:00:00.000Z");
    assert_eq!(utc(951_827_696_789_000), "2000-02-29T12:34:56.789Z");
    assert_eq!(utc(1_767_225_599_999_999), "2025-12-31T23:59:59.999Z");
    assert_eq!(utc(1_709_251_200_000_000), "2024-03-01T00:00:00.000Z");
    assert_eq!(utc(-1), "1969-12-31T23:59:59.999Z");
}

#[test]
fn the_lines_of_librtmp_go_to_the_last_server_that_asked_while_it_lives() {
    let say = |text: &str| RRLog::librtmp_taker().map(|server| server.line(Level::Warn, "librtmp", text)).is_some();
    let ((one, one_handle), (two, two_handle)) = (server(LevelFilter::Warn), server(LevelFilter::Warn));
    assert!(!say("nobody asked"));
    RRLog::take_librtmp(&one_handle);
    assert!(say("one\n"));
    assert!(!RRLog::in_sink(|| say("within a sink")), "or it would get its own lines endlessly");
    RRLog::take_librtmp(&two_handle);
    RRLog::leave_librtmp(&one_handle);
    assert!(say("two"));
    two_handle.set_level(LevelFilter::Error);
    assert!(say("too fine for two"), "it is taken all the same");
    drop(two_handle);
    assert!(!say("two is gone"));
    RRLog::take_librtmp(&one_handle);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..500).for_each(|_| _ = say("many")));
        }
        for _ in 0..100 {
            let (_, short) = server(LevelFilter::Warn);
            RRLog::take_librtmp(&short);
        }
    });
    RRLog::leave_librtmp(&one_handle);
    assert!(!say("nobody has them now"));
    assert_eq!(one.lines()[0], "one\\n");
    assert!(one.lines()[1..].iter().all(|line| line == "many"));
    assert_eq!(two.lines(), ["two"]);
}
