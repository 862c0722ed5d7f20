//! Journeys that were stopped: the end of everyone inside (J13).
//!
//! There may be millions inside. Those in memory are told at once; the others are found in the list index, a slice in
//! each turn, so that events are answered in between. A crash loses the place, and the next start begins anew: whoever
//! has ended by then is not in the index any more.

use crate::group::{Error, Group, Own};
use catalog::Catalog;
use engine::ProfileCommand;
use model::journey::JourneyState;
use model::{ProfileId, Text};
use ports::rows::{self, Place};
use ports::state::{self, Scan};
use ports::{Keyspace, Log, State};
use std::collections::VecDeque;
use std::sync::Arc;

/// Rows of the index looked at in one turn. Each may be a cold profile.
const ROWS_PER_TURN_MAX: usize = 512;

/// A part of the index that is still to be looked through.
#[derive(Clone, Debug)]
struct Slice {
    journey: Text,
    prefix: Vec<u8>,
    /// Looked at up to here.
    after: Option<Vec<u8>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Stops {
    slices: VecDeque<Slice>,
}

impl Stops {
    pub fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    fn push(&mut self, journey: &Text) {
        for place in [Place::Inside, Place::Parked] {
            let prefix = rows::participant_prefix(journey, Some(place), None);
            self.slices.push_back(Slice { journey: journey.clone(), prefix, after: None });
        }
    }
}

impl<L: Log, S: State + ?Sized, T> Group<L, S, T> {
    /// All partitions have heard of `after`: ends those inside journeys that it stops and `before` did not.
    pub(crate) fn begin_stops(&mut self, before: &Catalog, after: &Catalog) {
        let journeys: Vec<Text> =
            stopped(after).filter(|name| !stopped(before).any(|held| held == *name)).cloned().collect();
        for journey in &journeys {
            self.stops.push(journey);
        }
        // Those in memory may be newer than the index.
        for partition in self.partitions.iter().filter(|partition| partition.stopped.is_none()) {
            for (profile, hot) in partition.hot.iter() {
                for journey in &journeys {
                    if hot.profile.participants.iter().any(|participant| participant.journey == *journey) {
                        self.own.push_back(Own::JourneyStopped { profile: *profile, journey: journey.clone() });
                    }
                }
            }
        }
    }

    /// Completes stops that a crash interrupted.
    pub(crate) fn finish_stops(&mut self) {
        self.begin_stops(&Catalog::empty(), &Arc::clone(self.catalog()));
    }

    pub(crate) fn stage_stops(&mut self) -> Result<(), Error> {
        if self.stops.is_empty() {
            return Ok(());
        }
        self.taken.stops = Some(self.stops.clone());
        let Some(mut slice) = self.stops.slices.pop_front() else { return Ok(()) };
        let (mut inside, mut looked_at) = (Vec::new(), 0);
        let mut last = None;
        self.state.scan(Keyspace::Participants, &slice.prefix, slice.after.as_deref(), &mut |key, value| {
            let row = rows::decode_participant(value)
                .map_err(|error| state::Error::damaged(Keyspace::Participants, &slice.journey, &error))?;
            inside.push(row.profile);
            looked_at += 1;
            if looked_at < ROWS_PER_TURN_MAX {
                return Ok(Scan::Continue);
            }
            last = Some(key.to_vec());
            Ok(Scan::Stop)
        })?;
        for profile in inside {
            self.stage_stop(profile, &slice.journey)?;
        }
        if last.is_some() {
            slice.after = last;
            self.stops.slices.push_front(slice);
        }
        Ok(())
    }

    fn stage_stop(&mut self, profile: ProfileId, journey: &Text) -> Result<(), Error> {
        // The index is of the last checkpoint: who has left since needs no record.
        let Some(slot) = self.slot_of(profile)? else { return Ok(()) };
        let hot = self.partition_of(profile).hot.get(profile);
        if hot.is_some_and(|hot| hot.profile.participants.iter().any(|participant| participant.journey == *journey)) {
            self.push_profile(slot, profile, ProfileCommand::JourneyStopped { journey: journey.clone() });
        }
        Ok(())
    }
}

fn stopped(catalog: &Catalog) -> impl Iterator<Item = &Text> {
    let stopped = catalog.journeys().filter(|journey| journey.state == JourneyState::Stopped);
    stopped.map(|journey| journey.name.as_text())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answer, ControlRequest, Input, Item, Options};
    use engine::command::DocumentChange;
    use model::document::read_documents;
    use model::{CatalogVersion, Event, Identity, Timestamp};
    use ports::memory::{Disk, MemoryLog, MemoryState, Survivors};
    use template::tracking::Signer;

    type Small = Group<MemoryLog, MemoryState, u64>;

    const PEOPLE: u64 = 1_300;

    fn documents(state: &str) -> Vec<DocumentChange> {
        let text = format!(
            "apiVersion: sojourn/v1\nkind: Trigger\nmetadata: {{name: go}}\nspec: {{kind: custom}}\n---\n\
             apiVersion: sojourn/v1\nkind: Journey\nmetadata: {{name: j}}\n\
             spec: {{state: {state}, start: {{trigger: go}}, steps: [{{id: w, wait: {{for: 1d}}}}]}}\n"
        );
        let read = read_documents(&text);
        assert_eq!(read.findings, []);
        read.documents.into_iter().map(DocumentChange::Put).collect()
    }

    fn turn(group: &mut Small, input: Input<u64>) -> Vec<Answer> {
        let released = group.turn(Timestamp::from_ms(1), vec![input]).unwrap();
        released.answers.into_iter().map(|(_, answer)| answer).collect()
    }

    fn publish(group: &mut Small, state: &str) {
        let request = ControlRequest::Documents { changes: documents(state), expected: None, by: "test".into() };
        let mut answers = turn(group, Input::Control { request, ticket: 0 });
        if answers.is_empty() {
            answers = turn(group, Input::Submit { items: Vec::new(), ticket: 1 });
        }
        assert!(matches!(answers[0], Answer::Applied { .. }), "{answers:?}");
    }

    fn checkpoint(group: &mut Small, disk: &Disk) {
        let cut = group.begin_checkpoint().unwrap();
        cut.write(&disk.open_state()).unwrap();
        group.finish_checkpoint();
    }

    fn open(disk: &Disk) -> Small {
        let (log, state) = (disk.open_log(), Arc::new(disk.open_state()));
        let options = Options { hot_profiles_max: 64, partitions: 4, ..Options::default() };
        Group::open(log, state, [7; 32], Signer::new([7; 32], "http://x.example"), options).unwrap().0
    }

    fn go(person: u64) -> Item {
        let at = Timestamp::from_ms(1);
        let event = Event {
            id: None,
            source: "test".into(),
            trigger: "go".into(),
            identities: vec![Identity::new("user_id", &person.to_string()).unwrap()],
            occurred_at: at,
            received_at: at,
            attributes: model::Attributes::new(),
            binding_id: None,
            replay_as_live: false,
        };
        Item::Event { event, checked_with: CatalogVersion(1), unknown_attributes: Vec::new() }
    }

    /// Ends so far, by reason, from the list index.
    fn ended(disk: &Disk) -> usize {
        let rows = disk.rows();
        let ended = rows.iter().filter(|((keyspace, _), _)| *keyspace == Keyspace::Participants);
        let ended = ended.map(|(_, row)| rows::decode_participant(row).unwrap());
        ended.filter(|row| row.place == Place::Ended && row.reason.as_deref() == Some("stopped")).count()
    }

    #[test]
    fn a_stop_ends_everyone_cold_or_in_memory_in_slices_and_again_after_a_crash() {
        let disk = Disk::new();
        let mut group = open(&disk);
        publish(&mut group, "live");
        for from in (0..PEOPLE).step_by(100) {
            turn(&mut group, Input::Submit { items: (from..from + 100).map(go).collect(), ticket: 2 });
            checkpoint(&mut group, &disk);
        }
        assert!(group.hot_profiles() < 200, "most are cold: {}", group.hot_profiles());
        // Some are in memory only.
        turn(&mut group, Input::Submit { items: (PEOPLE..PEOPLE + 50).map(go).collect(), ticket: 3 });
        publish(&mut group, "stopped");
        let (before, mut turns) = (group.counters().records, 0);
        group.turn(Timestamp::from_ms(1), Vec::new()).unwrap();
        assert!(group.counters().records - before < PEOPLE, "one turn does not do it all");
        checkpoint(&mut group, &disk);
        assert!(ended(&disk) > 0 && ended(&disk) < 1_350, "{}", ended(&disk));

        drop(group);
        disk.crash(Survivors::default());
        let mut group = open(&disk);
        while group.has_work(Timestamp::from_ms(1)) {
            group.turn(Timestamp::from_ms(1), Vec::new()).unwrap();
            turns += 1;
            assert!(turns < 50, "it comes to an end");
        }
        checkpoint(&mut group, &disk);
        assert_eq!(ended(&disk), 1_350);
    }
}
