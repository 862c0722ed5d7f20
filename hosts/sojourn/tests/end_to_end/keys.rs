//! Keys, over a server and on a data directory.

use crate::mail::MailSink;
use crate::server::{Server, Start, client, output, program, sign_up, wait_until};
use serde_json::{Value, json};
use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

/// `sojourn keys …` on a data directory; what it printed.
fn keys(data: &Path, arguments: &[&str]) -> String {
    let (status, printed, told) = output(program().arg("keys").args(arguments).arg("--data").arg(data));
    assert!(status.success(), "{told}");
    printed.trim().to_owned()
}

/// One made over the API.
fn create(server: &Server, admin: &str, scope: &str) -> (String, String) {
    let request = client().post(format!("{}/api/v1/keys", server.base)).bearer_auth(admin);
    let made = request.json(&json!({"name": "shop", "scope": scope})).send().unwrap();
    assert_eq!(made.status(), 201);
    let made: Value = made.json().unwrap();
    (made["id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned())
}

#[test]
fn keys_open_what_they_are_for_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let admin = keys(&data, &["create", "--name", "first", "--scope", "admin"]);
    let server = Start::new(&data).run();
    assert_eq!(server.send("GET", "/api/v1/triggers", &admin, "").0, 200);
    let (status, made) = server.send("POST", "/api/v1/keys", &admin, r#"{"name":"shop","scope":"server"}"#);
    assert_eq!((status, &made["scope"]), (201, &Value::from("server")), "{made}");
    let event = sign_up(1).to_string();
    for scope in ["server", "browser"] {
        let (id, key) = create(&server, &admin, scope);
        assert_eq!(server.send("POST", "/v1/events", &key, event.clone()).0, 202);
        for (method, path) in
            [("GET", "/api/v1/triggers"), ("GET", "/api/v1/profiles/user_id:1"), ("GET", "/api/v1/keys")]
        {
            let (status, problem) = server.send(method, path, &key, "");
            assert_eq!((status, problem["code"].as_str()), (403, Some("forbidden")), "{scope} {path}");
        }
        assert_eq!(server.send("DELETE", &format!("/api/v1/keys/{id}"), &admin, "").0, 204);
        let (status, problem) = server.send("POST", "/v1/events", &key, event.clone());
        assert_eq!((status, problem["code"].as_str()), (401, Some("unauthorized")));
    }
    assert_eq!(server.send("GET", "/api/v1/triggers", "wrong", "").0, 401);
}

#[test]
fn without_dev_nothing_is_open_without_a_key_and_development_keys_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let admin = keys(&data, &["create", "--name", "first", "--scope", "admin"]);
    let server = Start { development: false, ..Start::new(&data) }.run();
    let event = sign_up(1).to_string();
    for path in ["/v1/events", "/v1/profiles", "/v1/track", "/v1/batch", "/api/v1/documents"] {
        let bare = client().post(format!("{}{path}", server.base)).body(event.clone()).send().unwrap();
        assert_eq!(bare.status(), 401, "{path}");
    }
    for path in ["/api/v1/triggers", "/api/v1/profiles/user_id:1", "/api/v1/mailbox", "/api/v1/keys", "/api/v1/tail"] {
        assert_eq!(client().get(format!("{}{path}", server.base)).send().unwrap().status(), 401, "{path}");
    }
    for key in ["dev-admin", "dev-server", "dev-browser"] {
        let (status, problem) = server.send("POST", "/v1/events", key, event.clone());
        assert_eq!((status, problem["code"].as_str()), (401, Some("unauthorized")), "{key}");
    }
    // What it does open is open, and nothing is captured.
    assert_eq!(server.send("POST", "/v1/events", &admin, event).0, 202);
    assert_eq!(server.send("GET", "/api/v1/mailbox", &admin, "").0, 404);
}

/// An address of this machine that is not its loopback, if it has one.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: connecting only chooses the address that would be sent from.
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

#[test]
fn development_keys_open_nothing_from_elsewhere() {
    let Some(address) = own_address() else {
        println!("skipped: this machine has no address but its loopback");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let start = Start { listen: IpAddr::from([0, 0, 0, 0]), ..Start::new(&folder.path().join("data")) };
    let mut server = start.run();
    assert_eq!(server.post("/v1/events", &sign_up(1)).0, 202);
    server.base = format!("http://{address}:{}", start.port);
    for key in ["dev-admin", "dev-server", "dev-browser"] {
        let (status, problem) = server.send("POST", "/v1/events", key, sign_up(1).to_string());
        assert_eq!(status, 401, "{key}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains("from this machine alone"), "{problem}");
    }
    assert_eq!(server.send("GET", "/healthz", "", "").0, 200);
}

/// A person who waits for a timer, and three whose mails no channel has taken yet.
fn journeys_under_way(data: &Path, sink: &MailSink) -> Start {
    let start = Start::new(data).config(&format!("[storage]\npartitions = 3\n{}", sink.config(1)));
    let server = start.run();
    server.apply(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/end_to_end/crash.yaml"));
    let people: Vec<Value> = (1..=4)
        .map(|number| {
            json!({"trigger": "joined", "identities": {"user_id": number.to_string(), "email": format!("u{number}@example.org")},
                "attributes": {"plan": "silent"}})
        })
        .collect();
    assert_eq!(server.post("/v1/events", &Value::from(people)).0, 202);
    // One mail is being taken, and takes its time; the next waits for its turn; the others are not claimed.
    drop(server);
    start
}

#[test]
fn keys_on_a_data_directory_touch_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let slow = MailSink::start(Duration::from_secs(600));
    let start = journeys_under_way(&data, &slow);
    // Timers of one second are due by now.
    std::thread::sleep(Duration::from_millis(1_100));
    let secret = keys(&data, &["create", "--name", "first", "--scope", "admin"]);
    let listed = keys(&data, &["list"]);
    assert!(listed.contains("first") && !listed.contains(&secret), "{listed}");
    let id = listed.split(' ').next().unwrap().to_owned();

    let quick = MailSink::start(Duration::ZERO);
    let again = start.config(&format!("[storage]\npartitions = 3\n{}", quick.config(1)));
    let server = again.run();
    assert_eq!(server.send("GET", "/api/v1/triggers", &secret, "").0, 200);
    // Every mail that was not on its way goes out now: nobody "sent" it elsewhere in between.
    wait_until("mails", || {
        let (_, sends) = server.get("/api/v1/sends");
        let states: Vec<&str> =
            sends["sends"].as_array().unwrap().iter().map(|send| send["state"].as_str().unwrap()).collect();
        let settled = states.iter().all(|state| ["accepted", "unknown"].contains(state));
        (settled && states.len() == 8).then_some(())
    });
    let (_, sends) = server.get("/api/v1/sends?state=accepted");
    let mails = quick.mails();
    for send in sends["sends"].as_array().unwrap() {
        let id = send["id"].as_str().unwrap();
        assert!(mails.contains_key(id), "accepted by nobody: {send}");
    }
    // At most two were claimed when the server was killed: in_flight_max is twice the one connection.
    assert!(sends["sends"].as_array().unwrap().len() >= 6, "{sends}");

    assert_eq!(server.terminate().code(), Some(0));
    assert!(keys(&data, &["revoke", &id]).contains("opens nothing any more"));
    let server = again.run();
    assert_eq!(server.send("GET", "/api/v1/triggers", &secret, "").0, 401);
}

#[test]
fn the_first_key_does_not_fix_the_number_of_partitions() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    keys(&data, &["create", "--name", "first", "--scope", "admin"]);
    let start = Start::new(&data).config("[storage]\npartitions = 3\n");
    assert_eq!(start.run().terminate().code(), Some(0));
    // From now on it is fixed.
    let (status, _, told) = output(&mut Start { config: None, ..start }.command());
    assert!(!status.success());
    assert!(told.contains("has 3 partitions; the configuration says 16"), "{told}");
}

#[test]
fn keys_say_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let keys = |arguments: &[&str]| output(program().arg("keys").args(arguments).arg("--data").arg(&data));
    let (status, _, told) = keys(&["list"]);
    assert!(!status.success() && told.contains("is no data directory"), "{told}");
    assert!(!data.exists(), "looking makes nothing");
    let server = Start::new(&data).run();
    let (status, _, told) = keys(&["list"]);
    assert!(!status.success() && told.contains("another process uses it"), "{told}");
    // Over the server it goes.
    let (status, secret, told) = output(&mut server.cli(&["keys", "create", "--name", "shop", "--key", "dev-admin"]));
    assert!(status.success(), "{told}");
    assert_eq!(server.send("POST", "/v1/events", secret.trim(), sign_up(1).to_string()).0, 202);
    let (status, _, told) = output(&mut server.cli(&["keys", "revoke", "key_none"]));
    assert!(!status.success() && told.contains("there is no key key_none"), "{told}");
}
