//! Servers' answers to our client: each leads to a stream, or to a clear failure whose text is safe to show.

use super::super::Event;
use super::hostile::fails;
use super::pair::head;
use crate::error::{Failure, RRError};
use crate::proto::amf0::Value;
use crate::proto::chunk_write::encode;
use crate::proto::command::{MAX_VIA_BYTES, build};
use crate::proto::message::kind;

const NULL: Value<'static> = Value::Null;

fn key(key: &str) -> Value<'_> {
    Value::String(key.as_bytes())
}

/// Runs a client session against a server that sends `messages` whatever we send. After each event other than a message
/// the rest is passed in another buffer, as at a hand-over of a connection.
fn client_hears(publish: bool, messages: &[(u8, Vec<u8>)]) -> Result<Vec<Event>, Failure> {
    let mut session = super::pair::client(publish);
    let mut wire = vec![0; 1 + 2 * 1536];
    wire[0] = 3;
    for (type_id, body) in messages {
        encode(&head(*type_id, 1, 0, body), body, 128, &mut wire);
    }
    let (mut at, mut events) = (0, Vec::new());
    while let Some(event) = session.next(&wire, &mut at, 0)? {
        if let Event::Message(head) = event {
            assert_eq!(session.body(&wire).len(), head.len as usize);
        } else {
            wire.drain(..at);
            at = 0;
        }
        events.push(event);
    }
    Ok(events)
}

fn command(name: &str, transaction: f64, values: &[Value<'_>]) -> (u8, Vec<u8>) {
    let mut body = Vec::new();
    build::call(&mut body, name, transaction, values);
    (kind::COMMAND, body)
}

#[test]
fn a_server_that_sends_nonsense_to_our_client_ends_in_a_clear_failure() {
    let run = |messages: &[(u8, Vec<u8>)]| client_hears(true, messages).map(drop);
    let connected = command("_result", 1.0, &[NULL, NULL]);
    fails(run(&[connected.clone(), command("_result", 4.0, &[NULL, NULL])]), RRError::Protocol, "stream id");
    fails(run(&[connected.clone(), command("_error", 4.0, &[])]), RRError::Rejected, "without a reason");
    fails(run(&[command("_error", 1.0, &[NULL, key("go away")])]), RRError::Rejected, "go away");
    fails(run(&[command("_error", 1.0, &[NULL, key("authmod=llnw")])]), RRError::Auth, "authmod");
    fails(run(&[command("onStatus", 0.0, &[NULL; 5000])]), RRError::Limit, "too many AMF values");
    run(&[connected, command("_error", 2.0, &[NULL, key("no releaseStream here")])]).unwrap();
    run(&[command("_result", 4.0, &[NULL, Value::Number(1.0)]), command("_result", 77.0, &[])]).unwrap();
}

#[test]
fn media_of_a_server_that_forgets_play_start_stands_for_it() {
    let until_play = [command("_result", 1.0, &[]), command("_result", 4.0, &[NULL, Value::Number(7.0)])];
    let messages = [
        &until_play[..],
        &[(kind::DATA, b"early".to_vec()), (kind::AUDIO, b"one".to_vec()), (kind::VIDEO, b"2".to_vec())],
    ]
    .concat();
    let events = client_hears(false, &messages).unwrap();
    let [Event::Connected, Event::Started { stream_id: 7 }, Event::Message(one), Event::Message(two)] =
        events.as_slice()
    else {
        panic!("{events:?}")
    };
    assert_eq!((one.type_id, two.type_id), (kind::AUDIO, kind::VIDEO));
    assert_eq!(client_hears(true, &messages).unwrap(), [Event::Connected], "a publisher waits for Publish.Start");
}

#[test]
fn a_servers_message_to_each_of_its_players_is_no_part_of_the_stream() {
    let mut access = Vec::new();
    build::sample_access(&mut access);
    let mut other = access.clone();
    other[4] ^= 1;
    let messages = [
        command("_result", 1.0, &[]),
        command("_result", 4.0, &[NULL, Value::Number(1.0)]),
        (kind::AUDIO, b"one".to_vec()),
        (kind::DATA, access.clone()),
        (kind::DATA_AMF3, [b"\0", &access[..]].concat()),
        (kind::AUDIO, access),
        (kind::DATA, other),
    ];
    let events = client_hears(false, &messages).unwrap();
    let given = events.iter().filter_map(|event| match event {
        Event::Message(head) => Some(head.type_id),
        _ => None,
    });
    assert_eq!(given.collect::<Vec<_>>(), [kind::AUDIO, kind::AUDIO, kind::DATA]);
}

#[test]
fn a_server_that_keeps_its_players_ends_the_stream_and_begins_it_again() {
    let status = |code: &str| {
        let info = [(&b"level"[..], key("status")), (b"code", key(code))];
        command("onStatus", 0.0, &[NULL, Value::Object(info.to_vec())])
    };
    let messages = [
        command("_result", 1.0, &[]),
        command("_result", 4.0, &[NULL, Value::Number(1.0)]),
        status("NetStream.Play.Start"),
        status("NetStream.Play.UnpublishNotify"),
        status("NetStream.Play.PublishNotify"),
        (kind::USER_CONTROL, vec![0, 1, 0, 0, 0, 1]),
    ];
    let events = client_hears(false, &messages).unwrap();
    let ended = |code: &str| Event::Ended { code: code.to_owned(), text: String::new() };
    let started = Event::Started { stream_id: 1 };
    let expected =
        [Event::Connected, started.clone(), ended("NetStream.Play.UnpublishNotify"), started, ended("StreamEOF")];
    assert_eq!(events, expected);
}

#[test]
fn a_server_that_we_pull_from_may_send_large_messages_and_no_large_command() {
    let nulls = vec![5; (16 << 20) - 1];
    let started = [command("_result", 1.0, &[]), command("_result", 4.0, &[NULL, Value::Number(1.0)])];
    let messages = [&started[..], &[(kind::AUDIO, b"one".to_vec()), (kind::COMMAND, nulls)]].concat();
    fails(client_hears(false, &messages).map(drop), RRError::Limit, "a command of 16777215 bytes");
}

#[test]
fn a_way_over_too_many_servers_is_refused_before_it_is_kept() {
    let via = |bytes: usize| client_hears(false, &[command("rrVia", 0.0, &[NULL, Value::String(&vec![b'1'; bytes])])]);
    assert!(via(MAX_VIA_BYTES).unwrap().iter().any(|event| matches!(event, Event::Via(_))));
    fails(via(MAX_VIA_BYTES + 1).map(drop), RRError::Limit, "more servers");
}

#[test]
fn what_a_server_says_is_cut_and_does_not_show_the_key() {
    let said = |text: &str| {
        let status =
            [(&b"level"[..], key("error")), (b"code", key("NetStream.Publish.BadName")), (b"description", key(text))];
        client_hears(true, &[command("onStatus", 0.0, &[NULL, Value::Object(status.to_vec())])]).unwrap_err().text
    };
    assert_eq!(said("key?token=1/2 is published"), "NetStream.Publish.BadName: key*** is published");
    let long = said(&"x".repeat(60_000));
    assert!((1_000..10_000).contains(&long.len()), "{} bytes", long.len());
}
