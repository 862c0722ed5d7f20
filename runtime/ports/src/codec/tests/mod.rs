//! What is written is read back; what was not written like this is an error with its place, never a panic.

mod golden;
mod rich;
mod rows;
mod strategies;

use super::primitive::{Reader, Write};
use super::value::{read_value, write_value};
use super::*;
use engine::Profile;
use engine::command::Command;
use engine::state::{Holding, Timer};
use model::document::read_documents;
use model::{Attributes, KeySlot, Lsn, ParticipantId, ProfileId, Text, Timestamp, Value};
use proptest::prelude::*;
use proptest::sample::Index;
use strategies as any_of;

pub(super) fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

fn bytes_of_command(command: &Command) -> Vec<u8> {
    written(|out| encode_command(command, out))
}

fn bytes_of_profile(profile: &Profile) -> Vec<u8> {
    written(|out| encode_profile(profile, out))
}

/// Documents are JSON, which has more than one form; all else has one.
fn holds_documents(command: &Command) -> bool {
    match command {
        Command::Control(_) => true,
        Command::Profile { .. } | Command::Partition(_) => false,
    }
}

/// Reads `bytes` as everything there is. What can be read is written as the same bytes: nothing in them is passed over.
fn read_as_all(bytes: &[u8]) {
    if let Ok(command) = decode_command(bytes)
        && !holds_documents(&command)
    {
        assert_eq!(bytes_of_command(&command), bytes);
    }
    if let Ok(profile) = decode_profile(bytes) {
        assert_eq!(bytes_of_profile(&profile), bytes);
        profile_header(bytes).expect("a profile that can be read has a header");
    }
    if let Ok(trace) = decode_trace(bytes) {
        assert_eq!(written(|out| encode_trace(&trace, out)), bytes);
    }
    if let Err(error) = profile_header(bytes) {
        assert!(error.at_byte <= bytes.len());
    }
    rows::read_as_all(bytes);
}

/// How a disk or a program damages bytes.
#[derive(Clone, Debug)]
enum Damage {
    Flip(Index, u8),
    Remove(Index),
    Insert(Index, u8),
    Truncate(Index),
    /// The part from the first place is copied to the second.
    Copy(Index, Index, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        3 => (any::<Index>(), 1..=u8::MAX).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        1 => any::<Index>().prop_map(Damage::Remove),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        1 => any::<Index>().prop_map(Damage::Truncate),
        1 => (any::<Index>(), any::<Index>(), 1..20usize).prop_map(|(from, to, count)| Damage::Copy(from, to, count)),
    ]
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        match self {
            Damage::Flip(at, bits) => {
                let at = at.index(bytes.len());
                bytes[at] ^= bits;
            }
            Damage::Remove(at) => {
                bytes.remove(at.index(bytes.len()));
            }
            Damage::Insert(at, byte) => bytes.insert(at.index(bytes.len()), *byte),
            Damage::Truncate(at) => bytes.truncate(at.index(bytes.len())),
            Damage::Copy(from, to, count) => {
                let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
                let part: Vec<u8> = bytes[from..].iter().take(*count).copied().collect();
                for (held, byte) in bytes[to..].iter_mut().zip(part) {
                    *held = byte;
                }
            }
        }
    }
}

/// No part of `bytes` from their start can be read as a whole.
fn no_prefix_is_read<T>(bytes: &[u8], decode: impl Fn(&[u8]) -> Result<T, Error>) {
    for end in 0..bytes.len() {
        let Err(error) = decode(&bytes[..end]) else { panic!("{end} of {} bytes were read", bytes.len()) };
        assert!(error.at_byte <= end);
    }
    let longer = [bytes, &[0]].concat();
    assert!(decode(&longer).is_err(), "a byte too many was passed over");
}

proptest! {
    #[test]
    fn commands_read_back(command in any_of::command()) {
        let bytes = bytes_of_command(&command);
        let read = decode_command(&bytes).unwrap();
        prop_assert_eq!(&read, &command);
        prop_assert_eq!(bytes_of_command(&read), bytes);
    }

    #[test]
    fn profiles_read_back_and_their_header_alone(profile in any_of::profile()) {
        let bytes = bytes_of_profile(&profile);
        prop_assert_eq!(&decode_profile(&bytes).unwrap(), &profile);
        let header = profile_header(&bytes).unwrap();
        let outbox = profile.outbox.iter().map(|row| row.effect).collect();
        let expected = Header { id: profile.id, slot: profile.slot, timers: profile.timers().collect(), outbox };
        prop_assert_eq!(header, expected);
    }

    #[test]
    fn traces_read_back(trace in any_of::trace()) {
        let bytes = written(|out| encode_trace(&trace, out));
        prop_assert_eq!(decode_trace(&bytes).unwrap(), trace);
    }

    #[test]
    fn damaged_bytes_are_an_error_or_another_value(
        command in any_of::command(),
        profile in any_of::profile(),
        trace in any_of::trace(),
        damages in proptest::collection::vec(damage(), 1..4),
    ) {
        let encoded =
            [bytes_of_command(&command), bytes_of_profile(&profile), written(|out| encode_trace(&trace, out))];
        for mut bytes in encoded {
            damages.iter().for_each(|damage| damage.apply(&mut bytes));
            read_as_all(&bytes);
        }
    }

    #[test]
    fn arbitrary_bytes_are_an_error_or_a_value(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_as_all(&bytes);
        read_as_all(&[&[1], bytes.as_slice()].concat());
    }

    #[test]
    fn numbers_read_back(number in any_of::number()) {
        let bytes = written(|out| out.number(number));
        prop_assert!(bytes.len() <= 10);
        prop_assert_eq!(Reader::new(&bytes).number().unwrap(), number);
        let signed = number as i64;
        let bytes = written(|out| out.signed(signed));
        prop_assert_eq!(Reader::new(&bytes).signed().unwrap(), signed);
    }
}

#[test]
fn encoding_appends_and_leaves_what_is_there() {
    for (name, command) in rich::commands() {
        let mut out = b"before".to_vec();
        encode_command(&command, &mut out);
        assert_eq!(out.strip_prefix(b"before").expect(name), bytes_of_command(&command));
    }
}

#[test]
fn what_is_cut_short_is_not_read() {
    for (_, command) in rich::commands() {
        no_prefix_is_read(&bytes_of_command(&command), decode_command);
    }
    no_prefix_is_read(&bytes_of_profile(&rich::profile()), decode_profile);
    no_prefix_is_read(&written(|out| encode_trace(&rich::trace(), out)), decode_trace);
}

#[test]
fn another_format_is_refused_at_its_byte() {
    let what = |error: Error| (error.at_byte, error.what);
    for format in [0, 2, 255] {
        let bytes = [&[format], bytes_of_profile(&rich::profile()).split_off(1).as_slice()].concat();
        assert_eq!(what(decode_profile(&bytes).unwrap_err()), (1, "a profile of an unknown format"));
        assert_eq!(what(profile_header(&bytes).unwrap_err()), (1, "a profile of an unknown format"));
        assert_eq!(what(decode_command(&bytes).unwrap_err()), (1, "a command of an unknown format"));
        assert_eq!(what(decode_trace(&bytes).unwrap_err()), (1, "a trace of an unknown format"));
    }
}

#[test]
fn every_bit_of_a_number_is_kept_and_each_has_one_form() {
    for (bytes, number) in [
        (vec![0x00], 0),
        (vec![0x7f], 127),
        (vec![0x80, 0x01], 128),
        (vec![0xff; 9].into_iter().chain([0x01]).collect(), u64::MAX),
    ] {
        assert_eq!(written(|out| out.number(number)), bytes);
        assert_eq!(Reader::new(&bytes).number(), Ok(number));
    }
    let refused = |bytes: &[u8]| Reader::new(bytes).number().unwrap_err().what;
    assert_eq!(refused(&[0x80, 0x00]), "a number has more bytes than it needs");
    assert_eq!(refused(&[vec![0xff; 9], vec![0x02]].concat()), "a number is larger than 64 bits");
    assert_eq!(refused(&[0xff; 11]), "a number is larger than 64 bits");
    assert_eq!(refused(&[0x80]), "the bytes end too early");
}

/// Equality of values is not that of their bits: NaN, and zero below zero.
#[test]
fn floats_keep_their_bits() {
    for number in [f64::NAN, -f64::NAN, -0.0, f64::INFINITY, f64::MIN_POSITIVE / 2.0] {
        let bytes = written(|out| write_value(out, &Value::Float(number)));
        let Ok(Value::Float(read)) = read_value(&mut Reader::new(&bytes)) else { panic!("{number}") };
        assert_eq!(read.to_bits(), number.to_bits());
    }
}

/// A list within lists, or objects within objects, `depth` of them.
fn nested(depth: usize, wrap: impl Fn(Value) -> Value) -> Value {
    (0..depth).fold(Value::Null, |value, _| wrap(value))
}

#[test]
fn what_is_let_in_is_read_and_an_abyss_neither_read_nor_written() {
    let list = |value| Value::List(vec![value]);
    let map = |value| Value::Map([("a", value)].into_iter().collect());
    for value in [nested(Value::DEPTH_MAX, list), nested(Value::DEPTH_MAX, map)] {
        let bytes = written(|out| write_value(out, &value));
        assert_eq!(read_value(&mut Reader::new(&bytes)), Ok(value));
    }
    for abyss in [[6u8, 1].repeat(100_000), [7u8, 1, 1, b'a'].repeat(100_000)] {
        let error = read_value(&mut Reader::new(&abyss)).unwrap_err();
        assert_eq!(error.what, "values nest too deeply");
    }
    for abyss in [nested(Value::DEPTH_MAX + 1, list), nested(Value::DEPTH_MAX + 1, map)] {
        assert!(abyss.is_too_deep());
        assert!(std::panic::catch_unwind(|| written(|out| write_value(out, &abyss))).is_err());
    }
}

/// Each length and count of a rich row is replaced by the largest: were it believed, memory would be exhausted.
#[test]
fn an_absurd_length_is_refused() {
    let absurd = written(|out| out.number(u64::MAX));
    let encoded = [
        bytes_of_profile(&rich::profile()),
        written(|out| encode_trace(&rich::trace(), out)),
        bytes_of_command(&rich::commands().swap_remove(0).1),
    ];
    for bytes in encoded {
        for at in 1..bytes.len() {
            read_as_all(&[&bytes[..at], &absurd, &bytes[at + 1..]].concat());
        }
    }
    let list = [&[1][..], &absurd].concat();
    assert_eq!(decode_trace(&list).unwrap_err().what, "a list is longer than its bytes");
    let list = [&[1][..], &written(|out| out.number(1 << 40)), &[7; 100]].concat();
    assert_eq!(decode_trace(&list).unwrap_err().what, "a list is longer than its bytes");
}

#[test]
fn attributes_out_of_order_or_twice_are_refused() {
    let bytes = |names: &[&str]| {
        written(|out| {
            out.byte(7);
            out.list(names, |out, name| {
                out.text(name);
                out.byte(0);
            });
        })
    };
    assert!(read_value(&mut Reader::new(&bytes(&["a", "b"]))).is_ok());
    for names in [["b", "a"], ["a", "a"]] {
        let error = read_value(&mut Reader::new(&bytes(&names))).unwrap_err();
        assert_eq!(error.what, "attributes are not ascending by name");
    }
}

/// Recovery finds timers by the header alone: what the body holds and what is found there must be the same.
#[test]
fn a_header_with_other_timers_than_its_body_is_refused() {
    let timer = Timer { fire_at: rich::at(0), seq: 1 };
    let halves = |timer: Option<Timer>| {
        let mut profile = Profile::new(ProfileId([1; 16]), KeySlot(1), Timestamp::EPOCH);
        profile.participants = vec![rich::participant(Holding::Wait, timer)];
        let mut header = bytes_of_profile(&profile);
        let before_timers = 1 + 16 + 1;
        let timer_bytes = timer.map_or(0, |Timer { fire_at, seq }| {
            written(|out| {
                out.timestamp(fire_at);
                out.number(seq);
            })
            .len()
        });
        let body = header.split_off(before_timers + 1 + timer_bytes + 1);
        (header, body)
    };
    let ((with_timer, holds_timer), (without, holds_none)) = (halves(Some(timer)), halves(None));
    let read = |header: &[u8], body: &[u8]| decode_profile(&[header, body].concat());
    assert!(read(&with_timer, &holds_timer).is_ok() && read(&without, &holds_none).is_ok());
    assert_eq!(read(&without, &holds_timer).unwrap_err().what, "a timer is not in the header");
    assert_eq!(read(&with_timer, &holds_none).unwrap_err().what, "the header has a timer that is nobody's");
}

#[test]
fn an_instant_that_cannot_be_is_refused() {
    let (least, largest) = (Timestamp::MIN.as_ms(), Timestamp::MAX.as_ms());
    for (ms, is_read) in [
        (0, true),
        (largest, true),
        (-1, true),
        (least, true),
        (least - 1, false),
        (largest + 1, false),
        (i64::MIN, false),
    ] {
        let bytes = written(|out| out.signed(ms));
        assert_eq!(Reader::new(&bytes).timestamp().is_ok(), is_read, "{ms}");
    }
}

/// What people write and publish, down to the last digit.
#[test]
fn documents_of_the_examples_read_back() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let mut count = 0;
    for folder in std::fs::read_dir(examples).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let read = read_documents(&text);
            assert_eq!(read.findings, []);
            count += read.documents.len();
            let changes = read.documents.into_iter().map(engine::command::DocumentChange::Put).collect();
            let command = engine::command::ControlCommand::DocumentsChanged { changes, by: "ada".into() };
            let command = Command::Control(command);
            assert_eq!(decode_command(&bytes_of_command(&command)).unwrap(), command);
        }
    }
    assert!(count > 10, "{count} documents under {examples}");
}

/// Design §7: at most 250 B on disk for each who waits, in state and index rows, without the profile.
#[test]
fn a_waiting_participant_costs_at_most_250_bytes() {
    let id = ProfileId([7; 16]);
    let event: Attributes =
        [("cart_id", Value::from("c-1000001")), ("cart_total", Value::Float(80.25))].into_iter().collect();
    let mut waiting = rich::participant(Holding::WaitFor { since: Lsn(10_000_001) }, None);
    waiting.id = ParticipantId::of(id, "abandoned_cart", 1);
    waiting.binding_id = Some("cart/c-1000001".into());
    waiting.started_lsn = Lsn(10_000_000);
    waiting.event = event;
    (waiting.seen, waiting.early) = (vec![], vec![]);
    waiting.sends.iter_mut().for_each(|sent| sent.interactions.clear());
    waiting.visits.truncate(1);
    waiting.timer = Some(Timer { fire_at: rich::at(86_400_000), seq: 10_000_001 * 4096 + 1 });

    let without = Profile::new(id, KeySlot(10_000_000), rich::at(0));
    let with = Profile { participants: vec![waiting.clone()], ..without.clone() };
    let state = bytes_of_profile(&with).len() - bytes_of_profile(&without).len();
    let row = super::rows::inside_row(&with, &waiting, &Text::from("opened"));
    let index = row.key.len() + row.value.map_or(0, |value| value.len());
    println!("a waiting participant: {state} B of state, {index} B of index");
    assert!(state + index <= 250, "{state} B of state, {index} B of index");
}
