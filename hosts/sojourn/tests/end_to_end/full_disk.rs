//! A full disk: no start, and while running nothing is accepted until there is room.

use crate::server::{Start, output, sign_up, wait_until};
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn t16_a_disk_below_the_reserve_is_no_place_to_start() {
    let folder = tempfile::tempdir().unwrap();
    let start = Start::new(&folder.path().join("data")).config("[storage]\nreserve = \"1000000 TiB\"\n");
    let (status, _, told) = output(start.command().env("RUST_LOG", "off"));
    assert_eq!(status.code(), Some(1));
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.contains("are free and [storage] reserve wants 1000000 TiB; make room, or lower it"), "{told}");
    // With room it starts where it was.
    start.config("").run();
}

/// A small disk of its own; needs to be root.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=400m", "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| SmallDisk(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(&self.0).status().ok();
    }
}

#[test]
fn t16_a_disk_that_fills_while_running_refuses_and_recovers_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk")) else {
        println!("skipped: a small disk can be mounted by root only");
        return;
    };
    let start = Start::new(&disk.0.join("data")).config("[storage]\nreserve = \"100 MiB\"\n");
    let server = start.run();
    server.apply_examples();
    assert_eq!(server.post("/v1/events", &sign_up(1)).0, 202);

    let ballast = disk.0.join("ballast");
    let mut filled = Command::new("dd");
    filled.args(["if=/dev/zero", "bs=1M", "status=none"]).arg(format!("of={}", ballast.display()));
    // It ends when the disk does.
    assert!(!filled.output().unwrap().status.success());
    let (status, problem) = server.post("/v1/events", &sign_up(2));
    assert_eq!((status, problem["code"].as_str()), (503, Some("unavailable")), "{problem}");
    wait_until("red", || (server.get("/readyz").0 == 503).then_some(()));
    let (_, ready) = server.get("/readyz");
    assert!(ready["why"].as_str().unwrap().contains("free"), "{ready}");
    assert_eq!(server.send("GET", "/healthz", "", "").0, 200, "it is alive");
    assert_eq!(server.post("/v1/events", &sign_up(3)).0, 503);

    std::fs::remove_file(&ballast).unwrap();
    wait_until("green", || (server.get("/readyz").0 == 200).then_some(()));
    assert_eq!(server.get("/api/v1/profiles/user_id:1").0, 200, "what was acknowledged is there");
    for refused in [2, 3] {
        assert_eq!(server.get(&format!("/api/v1/profiles/user_id:{refused}")).0, 404, "what was refused is not");
    }
    assert_eq!(server.post("/v1/events", &sign_up(2)).0, 202);
    assert_eq!(server.terminate().code(), Some(0));
}
