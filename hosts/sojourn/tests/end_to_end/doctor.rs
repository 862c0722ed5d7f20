//! `sojourn doctor` on a data directory.

use crate::server::{Start, output, program, sign_up};
use model::{Lsn, PartitionId};
use ports::{Keyspace, State, rows};
use state_fjall::StateFjall;
use std::path::Path;
use std::process::ExitStatus;

fn doctor(data: &Path, arguments: &[&str]) -> (ExitStatus, String, String) {
    output(program().arg("doctor").args(arguments).arg("--data").arg(data))
}

/// Stops a partition as a broken invariant at its last record would.
fn poison(data: &Path, partition: PartitionId) -> Lsn {
    let state = StateFjall::open(&data.join("state"), &state_fjall::Options::default()).unwrap();
    let row = state.get(Keyspace::Meta, &rows::partition_key(partition)).unwrap().unwrap();
    let mut row = rows::decode_partition(&row).unwrap();
    let lsn = row.applied_lsn.next();
    row.poisoned = Some((lsn, "INVARIANT: broken on purpose".into()));
    state.write(vec![rows::partition_row(partition, &row)]).unwrap();
    lsn
}

#[test]
fn a_whole_directory_has_nothing_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Start::new(&data).run();
    server.apply_examples();
    server.stored(&sign_up(1));
    let (status, _, told) = doctor(&data, &[]);
    assert!(!status.success() && told.contains("another process uses it"), "{told}");
    assert_eq!(server.terminate().code(), Some(0));
    let (status, printed, told) = doctor(&data, &[]);
    assert!(status.success(), "{printed}{told}");
    assert!(printed.ends_with("nothing is wrong\n"), "{printed}");
    for line in
        ["free space: ", "log: opens", "store: opens", "16 partitions", "none is stopped", "tail of the log: 0 records"]
    {
        assert!(printed.contains(line), "{line}: {printed}");
    }
    // Looking changes nothing.
    assert_eq!(Start::new(&data).run().metric("sojourn_recovery_records_replayed"), 0.0);
}

#[test]
fn a_damaged_log_is_told_and_the_store_is_looked_at_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Start::new(&data).run();
    server.apply_examples();
    assert_eq!(server.terminate().code(), Some(0));
    let segment = data.join("log/00000000000000000001.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    // In the middle of the first frame, which later ones prove to have been durable.
    bytes[200] ^= 0xff;
    std::fs::write(&segment, bytes).unwrap();
    let (status, printed, _) = doctor(&data, &[]);
    assert_eq!(status.code(), Some(1), "{printed}");
    assert!(printed.contains("WRONG  ") && printed.contains("is damaged at byte"), "{printed}");
    assert!(printed.contains("ok     store: opens"), "{printed}");
    assert!(printed.ends_with("1 wrong\n"), "{printed}");
}

#[test]
fn a_stopped_partition_is_shown_and_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let start = Start::new(&data);
    let server = start.run();
    server.apply_examples();
    assert_eq!(server.terminate().code(), Some(0));
    let lsn = poison(&data, PartitionId(3)).0.to_string();

    let server = start.spawn();
    crate::server::wait_until("red", || {
        let (status, ready) = server.send("GET", "/readyz", "", "");
        (status == 503 && ready["stopped"][0]["lsn"].to_string().contains(&lsn)).then_some(())
    });
    drop(server);

    let (status, printed, _) = doctor(&data, &[]);
    assert_eq!(status.code(), Some(1), "{printed}");
    assert!(printed.contains("INVARIANT: broken on purpose"), "{printed}");
    let way_out = format!("sojourn doctor skip --partition 3 --lsn {lsn}");
    assert!(printed.contains(&way_out), "{printed}");
    for (wrong, says) in
        [(["4", &lsn], "is not stopped"), (["3", "99999"], "not at 99999"), (["77", &lsn], "no partition")]
    {
        let (status, _, told) = doctor(&data, &["skip", "--partition", wrong[0], "--lsn", wrong[1]]);
        assert!(!status.success() && told.contains(says), "{told}");
    }
    let (status, printed, told) = doctor(&data, &["skip", "--partition", "3", "--lsn", &lsn]);
    assert!(status.success(), "{told}");
    assert!(printed.contains("start the server"), "{printed}");
    let server = start.run();
    assert_eq!(server.metric("sojourn_partitions_stopped"), 0.0);
}
