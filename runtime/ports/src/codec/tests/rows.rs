//! Rows read back, and their keys sort as lists need them.

use super::strategies as any_of;
use crate::codec::rows::*;
use crate::{Keyspace, Row};
use engine::Profile;
use engine::control::{HeldKey, Publish};
use engine::transition::Ended;
use model::{CatalogVersion, EffectId, KeySlot, ParticipantId, PartitionId, ProfileId, Text, Timestamp};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn value_of(row: Row) -> Vec<u8> {
    row.value.expect("a row that is written")
}

/// Reads `bytes` as the value of each kind of row: what can be read is written as the same bytes.
pub(super) fn read_as_all(bytes: &[u8]) {
    if let Ok(row) = decode_installation(bytes) {
        assert_eq!(value_of(installation_row(&row)), bytes);
    }
    if let Ok(row) = decode_partition(bytes) {
        assert_eq!(value_of(partition_row(PartitionId(1), &row)), bytes);
    }
    if let Ok((profile, slot)) = decode_identity(bytes) {
        assert_eq!(value_of(identity_row([0; 16], profile, slot)), bytes);
    }
    if let Ok(row) = decode_send(bytes) {
        let [of_profile, _] = send_rows(&row);
        assert_eq!(value_of(of_profile), bytes);
    }
    if let Ok(row) = decode_book(bytes) {
        assert_eq!(encode_book(&row), bytes);
    }
    if let Ok(held) = decode_key(bytes) {
        assert_eq!(value_of(key_row(&held)), bytes);
    }
    // These are written from other types, or hold JSON: that they do not panic is all there is to see.
    let unseen = (decode_participant(bytes), decode_publish(bytes), decode_book_key(bytes));
    let places = [unseen.0.err(), unseen.1.err(), unseen.2.err(), send_key_by_time(bytes, bytes).err()];
    assert!(places.into_iter().flatten().all(|error| error.at_byte <= bytes.len()));
}

pub(super) fn book() -> BookRow {
    BookRow {
        matched: 100_000,
        unmatched: 2,
        late: 3,
        duplicate: 40,
        conflicts: 5,
        rejected: vec![("attribute".into(), 6), ("key".into(), 700)],
    }
}

fn any_book() -> impl Strategy<Value = BookRow> {
    let count = || 0..1_000_000u64;
    let rejected = proptest::collection::btree_map("[a-c]", count(), 0..3);
    (count(), count(), count(), count(), count(), rejected).prop_map(
        |(matched, unmatched, late, duplicate, conflicts, rejected)| {
            let rejected = rejected.into_iter().map(|(reason, count)| (Text::from(reason), count)).collect();
            BookRow { matched, unmatched, late, duplicate, conflicts, rejected }
        },
    )
}

fn any_ended() -> impl Strategy<Value = Ended> {
    let named = (any_of::participant_id(), "[a-z]{1,9}", any::<u32>(), any::<u32>());
    (named, any_of::timestamp(), any_of::timestamp(), "[a-z]{1,9}", any_of::text()).prop_map(
        |((participant, journey, version, entry), started_at, ended_at, step, reason)| Ended {
            participant,
            journey: journey.into(),
            version,
            entry,
            started_at,
            ended_at,
            step: step.into(),
            reason,
        },
    )
}

proptest! {
    #[test]
    fn rows_of_meta_read_back(
        partitions in any::<u16>(),
        rules_version in any::<u32>(),
        applied_lsn in any_of::lsn(),
        now in any_of::timestamp(),
        catalog_version in any_of::number(),
        poisoned in option::of((any_of::lsn(), any_of::text())),
        skipped in vec(any_of::lsn(), 0..3),
        dedup_hours in vec((any::<u32>(), any_of::number()), 0..3),
    ) {
        let installation = InstallationRow { partitions, rules_version, checkpointed: applied_lsn };
        prop_assert_eq!(decode_installation(&value_of(installation_row(&installation))), Ok(installation));
        let catalog_version = CatalogVersion(catalog_version);
        let row = PartitionRow { applied_lsn, now, catalog_version, poisoned, skipped, dedup_hours };
        prop_assert_eq!(decode_partition(&value_of(partition_row(PartitionId(3), &row))), Ok(row));
    }

    #[test]
    fn identities_read_back(hash in any::<[u8; 16]>(), profile in any_of::profile_id(), slot in any_of::slot()) {
        let row = identity_row(hash, profile, slot);
        prop_assert_eq!(&row.key, &hash.to_vec());
        prop_assert_eq!(decode_identity(&value_of(row)), Ok((profile, slot)));
    }

    #[test]
    fn those_inside_read_back(
        participant in any_of::participant(),
        profile in any_of::profile_id(),
        slot in any_of::slot(),
        step in "[a-z]{1,9}",
    ) {
        let profile = Profile::new(profile, slot, Timestamp::EPOCH);
        let row = inside_row(&profile, &participant, &Text::from(step.as_str()));
        let place = decode_participant(row.value.as_ref().unwrap()).unwrap().place;
        prop_assert_eq!(&row.key, &participant_key(&participant.journey, place, &step, participant.id));
        let read = decode_participant(&value_of(row)).unwrap();
        prop_assert_eq!((read.id, read.profile, read.slot), (participant.id, profile.id, slot));
        prop_assert_eq!((read.version, read.entry), (participant.version, participant.entry));
        prop_assert_eq!((read.step.as_str(), read.started_at), (step.as_str(), participant.started_at));
        prop_assert_eq!((read.ended_at, read.until), (None, participant.timer.map(|timer| timer.fire_at)));
        prop_assert_eq!(read.reason.is_some(), read.place == Place::Parked);
    }

    #[test]
    fn those_who_ended_read_back(ended in any_ended(), profile in any_of::profile_id(), slot in any_of::slot()) {
        let row = ended_row(&ended, profile, slot);
        prop_assert_eq!(&row.key, &participant_key(&ended.journey, Place::Ended, &ended.step, ended.participant));
        let expected = ParticipantRow {
            id: ended.participant,
            profile,
            slot,
            place: Place::Ended,
            version: ended.version,
            entry: ended.entry,
            step: ended.step,
            started_at: ended.started_at,
            ended_at: Some(ended.ended_at),
            until: None,
            reason: Some(ended.reason),
        };
        prop_assert_eq!(decode_participant(&value_of(row)), Ok(expected));
    }

    #[test]
    fn sends_read_back_and_are_found_by_time(profile in any_of::profile_id(), send in any_of::send_changed()) {
        let row = SendRow { profile, send };
        let [of_profile, by_time] = send_rows(&row);
        prop_assert_eq!(&of_profile.key, &send_key(profile, row.send.planned_at, row.send.effect));
        prop_assert!(of_profile.key.starts_with(&sends_of_profile_prefix(profile)));
        let found = send_key_by_time(&by_time.key, by_time.value.as_ref().unwrap());
        prop_assert_eq!(found.as_ref(), Ok(&of_profile.key));
        prop_assert_eq!(decode_send(&value_of(of_profile)), Ok(row));
    }

    #[test]
    fn sends_sort_by_time_and_over_all_the_newest_first(
        one in any_of::send_changed(),
        other in any_of::send_changed(),
        profile in any_of::profile_id(),
    ) {
        let [one_of_profile, one_by_time] = send_rows(&SendRow { profile, send: one.clone() });
        let [other_of_profile, other_by_time] = send_rows(&SendRow { profile, send: other.clone() });
        let wanted = (one.planned_at, one.effect).cmp(&(other.planned_at, other.effect));
        prop_assert_eq!(one_of_profile.key.cmp(&other_of_profile.key), wanted);
        let newest_first = other.planned_at.cmp(&one.planned_at).then(one.effect.cmp(&other.effect));
        prop_assert_eq!(one_by_time.key.cmp(&other_by_time.key), newest_first);
    }

    #[test]
    fn books_read_back_and_balance(one in any_book(), other in any_book()) {
        prop_assert_eq!(decode_book(&encode_book(&one)).unwrap(), one.clone());
        let (mut sum, mut reversed) = (one.clone(), other.clone());
        sum.add(&other);
        reversed.add(&one);
        prop_assert_eq!(&sum, &reversed);
        prop_assert_eq!(sum.received(), one.received() + other.received());
        prop_assert_eq!(sum.received(), sum.accepted() + sum.duplicate + sum.rejected_total());
        prop_assert!(sum.rejected.is_sorted_by(|(one, _), (other, _)| one < other), "{:?}", sum.rejected);
    }

    #[test]
    fn keys_of_books_read_back(trigger in any_of::text(), minute in any::<u32>(), partition in any::<u16>()) {
        let key = book_key(&trigger, minute, PartitionId(partition));
        let name = trigger.split('\0').next().unwrap();
        prop_assert_eq!(decode_book_key(&key), Ok((Text::from(name), minute)));
        prop_assert!(key.starts_with(&book_prefix(&trigger)));
    }

    #[test]
    fn rows_of_control_read_back(
        version in any_of::number(),
        changes in any_of::changes(),
        by in any_of::text(),
        at in any_of::timestamp(),
        key in any_of::api_key(),
        revoked_at in option::of(any_of::timestamp()),
    ) {
        let publish = Publish { version: CatalogVersion(version), changes, by: by.clone(), at };
        prop_assert_eq!(decode_publish(&value_of(publish_row(&publish))), Ok(publish));
        let held = HeldKey { key, created_by: by, revoked_at };
        prop_assert_eq!(decode_key(&value_of(key_row(&held))), Ok(held));
    }
}

#[test]
fn a_book_counts_what_came() {
    let mut book = book();
    assert_eq!(book.accepted(), 100_005, "matched, unmatched and late");
    assert_eq!(book.rejected_total(), 706);
    assert_eq!(book.received(), 100_005 + 40 + 706, "conflicts are duplicates, not counted again");
    book.reject(&"attribute".into(), 1);
    book.reject(&"b".into(), 2);
    let reasons: Vec<(&str, u64)> = book.rejected.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
    assert_eq!(reasons, [("attribute", 7), ("b", 2), ("key", 700)]);
}

#[test]
fn a_list_of_participants_holds_its_journey_place_and_step_and_no_other() {
    let id = ParticipantId([0; 16]);
    let key = participant_key("cart", Place::Inside, "wait", id);
    assert!(key.starts_with(&participant_prefix("cart", None, None)));
    assert!(key.starts_with(&participant_prefix("cart", Some(Place::Inside), None)));
    assert!(key.starts_with(&participant_prefix("cart", Some(Place::Inside), Some("wait"))));
    for other in [
        participant_prefix("car", None, None),
        participant_prefix("cart2", None, None),
        participant_prefix("cart", Some(Place::Ended), None),
        participant_prefix("cart", Some(Place::Inside), Some("wai")),
        participant_prefix("cart", Some(Place::Inside), Some("wait2")),
    ] {
        assert!(!key.starts_with(&other), "{other:?}");
    }
}

#[test]
fn subjects_lie_by_partition_and_books_and_history_in_order() {
    let profile = |partition, byte| profile_key(PartitionId(partition), ProfileId([byte; 16]));
    assert!(profile(1, 9) < profile(2, 0) && profile(255, 9) < profile(256, 0));
    assert!(profile(256, 7).starts_with(&profiles_prefix(PartitionId(256))));
    assert_eq!(profile(256, 7)[2], 1, "the kind of the subject, so that addresses can lie beside profiles");
    assert!(book_key("a", 255, PartitionId(9)) < book_key("a", 256, PartitionId(0)));
    assert!(!book_key("ab", 1, PartitionId(0)).starts_with(&book_prefix("a")));
    let history = |version| {
        let publish =
            Publish { version: CatalogVersion(version), changes: vec![], by: "a".into(), at: Timestamp::EPOCH };
        publish_row(&publish).key
    };
    assert!(history(255) < history(256));
    assert!(history(1).starts_with(PUBLISH_PREFIX) && !history(1).starts_with(KEY_PREFIX));
}

#[test]
fn places_are_named_as_they_are_read() {
    for place in Place::ALL {
        assert_eq!(Place::parse(place.as_str()), Some(place));
    }
    assert_eq!(Place::parse("nowhere"), None);
    assert_eq!([Place::inside(false), Place::inside(true)], [Place::Inside, Place::Parked]);
}

#[test]
fn rows_go_to_their_keyspaces() {
    let send = super::rich::sends().swap_remove(0).1;
    let [of_profile, by_time] = send_rows(&SendRow { profile: ProfileId([1; 16]), send });
    assert_eq!((of_profile.keyspace, by_time.keyspace), (Keyspace::Sends, Keyspace::Sends));
    assert_eq!(identity_row([0; 16], ProfileId([1; 16]), KeySlot(1)).keyspace, Keyspace::Identities);
    assert!(send_key_by_time(&of_profile.key, &[1; 16]).is_err(), "a key of the other list");
    let effect = EffectId([2; 16]);
    assert_eq!(send_key(ProfileId([1; 16]), Timestamp::EPOCH, effect).len(), 1 + 16 + 8 + 16);
}
