//! The control partition alone, for tools on a data directory that no server uses.
//!
//! Nothing is fired, claimed, settled, checkpointed or released: the one thing that can happen is that a control
//! command is appended. The next start finds it in the log's tail, like any other that came after the last checkpoint.

use crate::group::Error;
use crate::recover::{checkpointed, read_control};
use engine::command::{Command, ControlCommand};
use engine::control::{self, Control};
use model::{KeySlot, Lsn, PartitionId, Timestamp};
use ports::log::{Body, Entry};
use ports::{Frame, Log, State, codec};

pub struct Offline<L> {
    log: L,
    control: Control,
}

impl<L: Log> Offline<L> {
    /// Reads the control state: what the store has, and what the log's tail says since.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open<S: State + ?Sized>(mut log: L, state: &S) -> Result<Self, Error> {
        let mut control = read_control(state)?;
        for entry in log.replay(checkpointed(state)?.next())? {
            let Entry { lsn, partition, stamp, body, .. } = entry?;
            let (PartitionId::CONTROL, Body::Command(body)) = (partition, body) else { continue };
            let unreadable = |why: String| Error::Record { lsn, why };
            match codec::decode_command(&body).map_err(|error| unreadable(error.to_string()))? {
                Command::Control(command) => {
                    control::apply(&mut control, &command, stamp);
                }
                Command::Profile { .. } | Command::Partition(_) => {
                    return Err(unreadable("it is no control command, and lies in the control partition".to_owned()));
                }
            }
        }
        Ok(Offline { log, control })
    }

    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Appends `command` and waits until it is durable. Its stamp is `now`, but never before the log's last one (O2).
    ///
    /// # Errors
    /// See [`Error`]; the command may be there or not.
    pub fn append(&mut self, command: ControlCommand, now: Timestamp) -> Result<Lsn, Error> {
        let (lsn, stamp) = (self.log.last_lsn().next(), now.max(self.log.last_stamp()));
        let mut frame = Frame::default();
        let record = Command::Control(command);
        frame.push(lsn, PartitionId::CONTROL, KeySlot::INSTALLATION, stamp, |bytes| {
            codec::encode_command(&record, bytes);
        });
        self.log.append(&frame)?;
        self.log.begin_sync()?;
        self.log.finish_sync()?;
        if let Command::Control(command) = &record {
            control::apply(&mut self.control, command, stamp);
        }
        Ok(lsn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Group, Options};
    use engine::RULES_VERSION;
    use engine::command::{ApiKey, KeyScope};
    use ports::memory::Disk;
    use ports::rows::{self, InstallationRow};
    use std::sync::Arc;
    use template::tracking::Signer;

    fn key(id: &str) -> ApiKey {
        ApiKey {
            id: id.into(),
            name: "shop".into(),
            scope: KeyScope::Server,
            secret_sha256: [7; 32],
            created_at: Timestamp::from_ms(5),
        }
    }

    #[test]
    fn a_key_made_offline_is_there_at_the_next_start_also_under_other_rules() {
        let disk = Disk::new();
        let state = Arc::new(disk.open_state());
        // The last checkpoint was made by a program with other rules, and stopped cleanly.
        let installation = InstallationRow { partitions: 2, rules_version: RULES_VERSION + 1, checkpointed: Lsn(0) };
        state.write(vec![rows::installation_row(&installation)]).unwrap();
        let mut offline = Offline::open(disk.open_log(), state.as_ref()).unwrap();
        let by = "sojourn keys".into();
        offline.append(ControlCommand::KeyCreated { key: key("key_1"), by }, Timestamp::from_ms(10)).unwrap();
        // The clock went back: the stamp does not (O2).
        let by = "sojourn keys".into();
        offline.append(ControlCommand::KeyRevoked { id: "key_1".into(), by }, Timestamp::from_ms(3)).unwrap();
        assert_eq!(offline.control().keys["key_1"].revoked_at, Some(Timestamp::from_ms(10)));
        drop(offline);

        let again = Offline::open(disk.open_log(), state.as_ref()).unwrap();
        assert_eq!(again.control().keys["key_1"].revoked_at, Some(Timestamp::from_ms(10)));
        drop(again);

        let options = Options { partitions: 2, ..Options::default() };
        let signer = Signer::new([0; 32], "http://localhost");
        let opened = Group::<_, _, ()>::open(disk.open_log(), state, [0; 32], signer, options);
        let (group, _) = opened.unwrap();
        assert_eq!(group.control().keys["key_1"].created_by, "sojourn keys");
        assert_eq!(group.position(), Lsn(2));
    }
}
