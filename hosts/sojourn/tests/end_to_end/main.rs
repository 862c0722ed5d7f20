//! The real binary, over real sockets and disks.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod crash;
mod docs;
mod doctor;
mod documents;
mod full_disk;
mod input;
mod keys;
mod mail;
mod server;
mod starting;
mod stopping;

#[test]
fn the_openapi_document_is_the_committed_one() {
    let printed = server::program().arg("openapi").output().unwrap();
    let path = server::repository().join("docs/openapi.json");
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(
        String::from_utf8(printed.stdout).unwrap() == committed,
        "docs/openapi.json is not what the program prints; run `cargo run -p sojourn -- openapi > docs/openapi.json`"
    );
}
