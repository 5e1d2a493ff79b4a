//! What is remembered about streams between questions: answers that are still valid, and urls that have failed
//! recently.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::question::{Answer, Deed, Question, Why};
use crate::config::{MAX_DECISION_TARGETS, TargetConfig};
use crate::stream::StreamName;

/// Most streams about which something is remembered.
const MAX_STREAMS: usize = 4_096;

/// Most bytes of the answers about published streams, and as many about played ones: 4 KiB for each of the streams,
/// and most answers have less.
const MAX_KEPT_BYTES: usize = MAX_STREAMS * 4_096;

/// A url that has failed counts as tried for this long.
const TRIED: Duration = Duration::from_secs(60);

/// Most urls of one stream that count as tried.
const MAX_TRIED: usize = 16;

/// Most bytes of these urls, unless the newest alone is longer.
const MAX_TRIED_BYTES: usize = 4_096;

/// The time that a stream's losses are apart, at least, before the controller is asked about the later one, so that a
/// controller whose relays are lost at once is not asked in an endless loop.
pub(super) const LOSS_PAUSE: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 1_000 });

/// The pause after the first repeated failure of a url doubles with each further one, up to this, as the waits of
/// targets do.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A url that has failed.
#[derive(Debug)]
struct Tried {
    url: String,
    /// When it failed last.
    at: Instant,
    /// How often it has failed in a row: each time within [`TRIED`] of the time before.
    times: u32,
}

impl Tried {
    fn counts(&self, now: Instant) -> bool {
        now < self.at + TRIED
    }
}

/// Answers by path, each with the end of its time.
#[derive(Debug, Default)]
struct Kept {
    answers: HashMap<Vec<u8>, (Answer, Instant)>,
    bytes: usize,
}

impl Kept {
    fn get(&self, path: &[u8]) -> Option<&(Answer, Instant)> {
        self.answers.get(path)
    }

    fn forget(&mut self, path: &[u8]) {
        if let Some((before, _)) = self.answers.remove(path) {
            self.bytes -= bytes_of(path, &before);
        }
    }

    /// Keeps an answer in place of the one before. Without room there is none then.
    fn keep(&mut self, path: Vec<u8>, answer: Answer, until: Instant) {
        self.forget(&path);
        let bytes = bytes_of(&path, &answer);
        if !self.has_room(bytes) {
            let now = Instant::now();
            self.answers.retain(|_, (_, until)| *until > now);
            self.bytes = self.answers.iter().map(|(path, (answer, _))| bytes_of(path, answer)).sum();
        }
        if self.has_room(bytes) {
            self.bytes += bytes;
            self.answers.insert(path, (answer, until));
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.answers.len() < MAX_STREAMS && self.bytes + bytes <= MAX_KEPT_BYTES
    }
}

fn bytes_of(path: &[u8], answer: &Answer) -> usize {
    path.len() + answer.deed.bytes()
}

#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Answers about streams that are published here.
    published: Kept,
    /// Answers about streams that are played here. They are kept apart, so that players who ask for many names do not
    /// push out the answers that publishers need.
    played: Kept,
    tried: HashMap<Vec<u8>, VecDeque<Tried>>,
}

impl Memory {
    /// Keeps an answer for the time that it is valid. Relays that replace a lost one replace it in the stored answer,
    /// which keeps its other relays and lasts at least as long as before. After a wait there is no answer about a stream that
    /// begins: what was said before it counts no longer.
    pub(super) fn keep(&mut self, question: &Question, answer: &Answer) {
        let answers = match (&answer.deed, &question.why) {
            (Deed::Wait, Why::Publish) => return self.published.forget(&question.name.path()),
            (Deed::Wait, Why::Play) => return self.played.forget(&question.name.path()),
            (Deed::Relay(_), _) | (Deed::Reject(_), Why::Publish) => &mut self.published,
            (Deed::Pull(_), _) | (Deed::Reject(_), Why::Play) => &mut self.played,
            (Deed::Reject(_) | Deed::Wait, _) => return,
        };
        let (now, path) = (Instant::now(), question.name.path());
        let (kept, until) = match (answers.get(&path), &answer.deed, &question.why) {
            (Some((Answer { deed: Deed::Relay(others), .. }, until)), Deed::Relay(relays), Why::Lost { named, .. })
                if *until > now =>
            {
                let relays = if answer.ttl.is_zero() { &[] } else { &relays[..] };
                let deed = Deed::Relay(in_its_place(named, others, relays));
                (Answer { deed, ttl: answer.ttl }, (*until).max(now + answer.ttl))
            }
            _ => (answer.clone(), now + answer.ttl),
        };
        answers.keep(path, kept, until);
    }

    /// The answer that is valid. There is none for the question about a loss, because the last answer named what is now
    /// lost.
    pub(super) fn answer(&self, question: &Question) -> Option<Answer> {
        let answers = match question.why {
            Why::Publish => &self.published,
            Why::Play => &self.played,
            Why::Lost { .. } | Why::Host(_) => return None,
        };
        let (answer, until) = answers.get(&question.name.path())?;
        (*until > Instant::now()).then(|| answer.clone())
    }

    /// Notes a url that has failed. Returns how long the question about the loss is put off.
    pub(super) fn note_tried(&mut self, name: &StreamName, url: String) -> Duration {
        let now = Instant::now();
        if self.tried.len() >= MAX_STREAMS {
            self.tried.retain(|_, urls| urls.back().is_some_and(|tried| tried.counts(now)));
        }
        let path = name.path();
        if self.tried.len() >= MAX_STREAMS && !self.tried.contains_key(&path) {
            return LOSS_PAUSE;
        }
        let urls = self.tried.entry(path).or_default();
        let since_last = urls.back().map_or(LOSS_PAUSE, |last| now.duration_since(last.at));
        urls.retain(|tried| tried.counts(now));
        let known = urls.iter().position(|tried| tried.url == url).and_then(|at| urls.remove(at));
        let times = known.map_or(0, |tried| tried.times).saturating_add(1);
        urls.push_back(Tried { url, at: now, times });
        let is_full = |urls: &VecDeque<Tried>| {
            let bytes = urls.iter().map(|tried| tried.url.len()).sum::<usize>();
            urls.len() > MAX_TRIED || urls.len() > 1 && bytes > MAX_TRIED_BYTES
        };
        while is_full(urls) {
            urls.pop_front();
        }
        match times {
            1 => LOSS_PAUSE.saturating_sub(since_last),
            _ => LONGEST_PAUSE.min(LOSS_PAUSE.saturating_mul(1 << (times - 2).min(16))),
        }
    }

    /// The urls that have failed recently, the newest last.
    pub(super) fn tried(&self, name: &StreamName) -> Vec<String> {
        let now = Instant::now();
        let urls = self.tried.get(&name.path()).into_iter().flatten();
        urls.filter(|tried| tried.counts(now)).map(|tried| tried.url.clone()).collect()
    }
}

/// `others`, with the lost one replaced by `relays`, without repetitions and with at most as many as an answer may
/// have.
fn in_its_place(lost: &TargetConfig, others: &[TargetConfig], relays: &[TargetConfig]) -> Vec<TargetConfig> {
    let at = others.iter().position(|other| other.same_place(lost)).unwrap_or(others.len());
    let (before, after) = others.split_at(at);
    let mut all: Vec<TargetConfig> = Vec::new();
    for config in before.iter().chain(relays).chain(after.iter().filter(|other| !other.same_place(lost))) {
        if !all.iter().any(|other| other.same_place(config)) {
            all.push(config.clone());
        }
    }
    all.truncate(MAX_DECISION_TARGETS);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::controller::question::Load;

    fn question(why: Why, key: &str) -> Question {
        let name = StreamName { app: b"live".to_vec(), key: key.as_bytes().to_vec() };
        Question { why, name, load: Load::default(), tried: Vec::new() }
    }

    fn relay_to(url: &str) -> TargetConfig {
        TargetConfig { url: url.to_owned(), ..TargetConfig::default() }
    }

    fn lost(url: &str) -> Why {
        Why::Lost { pulls: false, named: Box::new(relay_to(url)) }
    }

    #[test]
    fn a_relay_that_is_named_for_a_lost_one_takes_its_place_among_the_others() {
        let mut memory = Memory::default();
        let lasting = Duration::from_secs(3_600);
        let relays = |urls: &[&str]| Deed::Relay(urls.iter().map(|url| relay_to(url)).collect());
        let published = question(Why::Publish, "show");
        memory.keep(&published, &Answer { deed: relays(&["rtmp://a/l", "rtmp://b/l", "rtmp://c/l"]), ttl: lasting });
        let mut named = |gone: &str, urls: &[&str], ttl| {
            memory.keep(&question(lost(gone), "show"), &Answer { deed: relays(urls), ttl });
            memory.answer(&published).map(|answer| answer.deed)
        };
        let short = Duration::from_nanos(1);
        let given = named("rtmp://b/l", &["rtmp://d/l", "rtmp://c/l"], short);
        assert_eq!(given, Some(relays(&["rtmp://a/l", "rtmp://d/l", "rtmp://c/l"])));
        assert_eq!(named("rtmp://a/l", &["rtmp://a/l"], lasting), given, "it is to be tried on");
        assert_eq!(
            named("rtmp://d/l", &[], lasting),
            Some(relays(&["rtmp://a/l", "rtmp://c/l"])),
            "it goes there no more"
        );
        let given = named("rtmp://c/l", &["rtmp://e/l"], Duration::ZERO);
        assert_eq!(given, Some(relays(&["rtmp://a/l"])), "what does not stand is not kept");
        let many: Vec<String> = (0..MAX_DECISION_TARGETS).map(|n| format!("rtmp://{n}/l")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let Some(Deed::Relay(all)) = named("rtmp://z/l", &many, lasting) else { panic!() };
        assert_eq!(all.len(), MAX_DECISION_TARGETS);
    }

    #[test]
    fn an_answer_stands_for_its_time_and_for_its_question() {
        let mut memory = Memory::default();
        let lasting = Duration::from_secs(3_600);
        let relay = Answer { deed: Deed::Relay(vec![TargetConfig::default()]), ttl: lasting };
        memory.keep(&question(lost("rtmp://x/y"), "show"), &relay);
        assert_eq!(memory.answer(&question(Why::Publish, "show")), Some(relay), "where it goes now");
        assert_eq!(memory.answer(&question(lost("rtmp://x/y"), "show")), None);
        assert_eq!(memory.answer(&question(Why::Play, "show")), None, "that is another question");
        assert_eq!(memory.answer(&question(Why::Publish, "other")), None);

        let over = Answer { deed: Deed::Pull(Box::default()), ttl: Duration::ZERO };
        memory.keep(&question(Why::Play, "show"), &over);
        assert_eq!(memory.answer(&question(Why::Play, "show")), None, "its time is over");
        memory.keep(&question(Why::Play, "show"), &Answer { ttl: lasting, ..over });
        assert!(memory.answer(&question(Why::Play, "show")).is_some());
        memory.keep(&question(Why::Play, "later"), &Answer { deed: Deed::Wait, ttl: lasting });
        assert_eq!(memory.answer(&question(Why::Play, "later")), None, "a wait says nothing of what is to be done");
        let wait = Answer { deed: Deed::Wait, ttl: lasting };
        memory.keep(&question(lost("rtmp://x/y"), "show"), &wait);
        assert!(memory.answer(&question(Why::Publish, "show")).is_some(), "that was about another one");
        for why in [Why::Publish, Why::Play] {
            memory.keep(&question(why.clone(), "show"), &wait);
            assert_eq!(memory.answer(&question(why, "show")), None, "what was said before is past");
        }
        assert_eq!((memory.published.bytes, memory.played.bytes), (0, 0));
    }

    #[test]
    fn the_pause_before_a_question_grows_with_the_failures_of_one_url_and_is_short_again_after_a_run() {
        let mut memory = Memory::default();
        let name = question(Why::Publish, "show").name;
        let mut note = |url: &str| memory.note_tried(&name, url.to_owned());
        assert_eq!(note("rtmp://a/l"), Duration::ZERO);
        assert_eq!([(); 3].map(|()| note("rtmp://a/l")), [1, 2, 4].map(|times| times * LOSS_PAUSE));
        let other = note("rtmp://b/l");
        assert!(other <= LOSS_PAUSE, "that of another url is the first: {other:?}");
        assert_eq!(note("rtmp://b/l"), LOSS_PAUSE);
        assert_eq!(note("rtmp://a/l"), 8 * LOSS_PAUSE);
        let longest = [(); 64].map(|()| note("rtmp://a/l"));
        assert!(longest.last() == Some(&LONGEST_PAUSE) && longest.is_sorted(), "{longest:?}");
        // A run of the time for which a failure counts.
        for tried in memory.tried.values_mut().flatten() {
            tried.at -= TRIED;
        }
        assert_eq!(memory.note_tried(&name, "rtmp://a/l".to_owned()), Duration::ZERO);
        assert_eq!(memory.note_tried(&name, "rtmp://a/l".to_owned()), LOSS_PAUSE);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut memory = Memory::default();
        let lasting = Duration::from_secs(3_600);
        let (relay, no) = (Deed::Relay(Vec::new()), Deed::Reject("no".to_owned()));
        let [relay, no] = [relay, no].map(|deed| Answer { deed, ttl: lasting });
        for n in 0..MAX_STREAMS + 10 {
            memory.keep(&question(Why::Play, &n.to_string()), &no);
        }
        memory.keep(&question(Why::Publish, "show"), &relay);
        assert_eq!(memory.answer(&question(Why::Publish, "show")), Some(relay.clone()), "players push out none");
        for n in 0..MAX_STREAMS + 10 {
            let question = question(Why::Publish, &n.to_string());
            memory.keep(&question, &relay);
            memory.note_tried(&question.name, "rtmp://a/b".to_owned());
        }
        assert_eq!(
            (memory.played.answers.len(), memory.published.answers.len(), memory.tried.len()),
            (MAX_STREAMS, MAX_STREAMS, MAX_STREAMS)
        );
        let name = question(Why::Publish, "0").name;
        for n in 0..2 * MAX_TRIED {
            memory.note_tried(&name, format!("rtmp://a/{n}"));
            memory.note_tried(&name, "rtmp://a/again".to_owned());
        }
        let tried = memory.tried(&name);
        assert_eq!((tried.len(), tried.last().map(String::as_str)), (MAX_TRIED, Some("rtmp://a/again")));
        for n in 0..4 {
            memory.note_tried(&name, format!("rtmp://a/{n}{}", "x".repeat(MAX_TRIED_BYTES / 2 - 20)));
        }
        assert_eq!(memory.tried(&name).len(), 2);
        memory.note_tried(&name, "x".repeat(2 * MAX_TRIED_BYTES));
        assert_eq!(memory.tried(&name).len(), 1);
    }

    #[test]
    fn the_bytes_of_answers_are_bounded_and_what_is_past_makes_room() {
        let mut memory = Memory::default();
        let relays = |bytes: usize| Deed::Relay(vec![relay_to(&"x".repeat(bytes)); MAX_DECISION_TARGETS]);
        let [large, larger] = [8_000, 16_000].map(relays);
        let (room, ttl) = (MAX_KEPT_BYTES / (large.bytes() + 8), Duration::from_secs(3_600));
        let answer = |deed: &Deed| Answer { deed: deed.clone(), ttl };
        let publish = |n: usize| question(Why::Publish, &n.to_string());
        for n in 0..2 * room {
            memory.keep(&publish(n), &answer(&large));
        }
        let kept = |memory: &Memory| (0..2 * room).filter(|n| memory.answer(&publish(*n)).is_some()).count();
        assert!((room - 1..=room + 1).contains(&kept(&memory)) && memory.published.bytes <= MAX_KEPT_BYTES);
        // What does not fit is not kept, nor what it replaces.
        let before = kept(&memory);
        memory.keep(&publish(0), &answer(&larger));
        assert_eq!((memory.answer(&publish(0)), kept(&memory)), (None, before - 1));
        memory.keep(&publish(0), &answer(&large));
        assert_eq!(kept(&memory), before);
        memory.published.answers.values_mut().for_each(|(_, until)| *until = Instant::now());
        memory.keep(&publish(0), &answer(&larger));
        assert_eq!((kept(&memory), memory.published.bytes), (1, bytes_of(&publish(0).name.path(), &answer(&larger))));
    }
}
