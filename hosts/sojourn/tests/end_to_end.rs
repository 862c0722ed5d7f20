//! The real binary, over real sockets and disks.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_sojourn"))
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

/// A server on a data directory; killed with -9 when it is dropped.
struct Server {
    child: Child,
    base: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Server {
    fn start(data: &Path, port: u16, config: Option<&Path>) -> Self {
        let mut command = program();
        command.args(["serve", "--dev", "--data"]).arg(data).args(["--listen", &format!("127.0.0.1:{port}")]);
        if let Some(config) = config {
            command.arg("--config").arg(config);
        }
        let child = command.env("RUST_LOG", "warn").stderr(Stdio::null()).spawn().unwrap();
        let server = Server { child, base: format!("http://127.0.0.1:{port}") };
        let until = Instant::now() + PATIENCE;
        while server.get("/readyz").0 != 200 {
            assert!(Instant::now() < until, "not ready within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn send(&self, method: &str, path: &str, key: &str, body: impl Into<Vec<u8>>) -> (u16, Value) {
        let client = client();
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = client.request(method, format!("{}{path}", self.base)).bearer_auth(key).body(body.into());
        match request.send() {
            Ok(answer) => (answer.status().as_u16(), answer.json().unwrap_or_default()),
            Err(_) => (0, Value::Null),
        }
    }

    fn get(&self, path: &str) -> (u16, Value) {
        self.send("GET", path, "dev-admin", "")
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send("POST", path, "dev-server", body.to_string())
    }

    fn apply_examples(&self) {
        let output = program().args(["apply", "--server", &self.base]).arg(examples()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn client() -> reqwest::blocking::Client {
    static PROVIDER: std::sync::Once = std::sync::Once::new();
    PROVIDER.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().unwrap();
    });
    reqwest::blocking::Client::builder().timeout(Duration::from_secs(10)).build().unwrap()
}

/// A mail server that takes everything and counts by message id.
struct MailSink {
    port: u16,
    mails: Arc<Mutex<BTreeMap<String, u32>>>,
}

impl MailSink {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mails: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
        let counted = Arc::clone(&mails);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let counted = Arc::clone(&counted);
                std::thread::spawn(move || converse(stream, &counted));
            }
        });
        MailSink { port, mails }
    }

    fn config(&self, folder: &Path) -> PathBuf {
        let path = folder.join("sojourn.toml");
        let text = format!(
            "[channels.email]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nfrom = \"Shop <shop@example.org>\"\n",
            self.port
        );
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn converse(stream: TcpStream, counted: &Mutex<BTreeMap<String, u32>>) -> Option<()> {
    let mut out = stream.try_clone().ok()?;
    let mut lines = BufReader::new(stream).lines();
    out.write_all(b"220 sink\r\n").ok()?;
    while let Some(Ok(line)) = lines.next() {
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        if verb == "DATA" {
            out.write_all(b"354 go on\r\n").ok()?;
            let mut id = String::new();
            for line in lines.by_ref().map_while(Result::ok) {
                if let Some(found) = line.strip_prefix("X-Sojourn-Send: ") {
                    id = found.to_owned();
                }
                if line == "." {
                    break;
                }
            }
            *counted.lock().unwrap().entry(id).or_default() += 1;
        }
        let answer: &[u8] = if verb == "QUIT" { b"221 bye\r\n" } else { b"250 ok\r\n" };
        out.write_all(answer).ok()?;
    }
    Some(())
}

/// Kills the server with -9 at random moments under load; afterwards everything acknowledged is there once, and every
/// mail went out once or is shown as unknown. SOJOURN_KILLS says how often (default 5).
#[test]
fn t71_kill_9_under_load_loses_nothing_and_doubles_nothing() {
    let kills: u32 = std::env::var("SOJOURN_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let folder = tempfile::tempdir().unwrap();
    let sink = MailSink::start();
    let config = sink.config(folder.path());
    let (data, port) = (folder.path().join("data"), free_port());
    let mut server = Server::start(&data, port, Some(&config));
    server.apply_examples();
    let (next, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let acknowledged: Arc<Mutex<Vec<u64>>> = Arc::default();
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let (next, stop, acknowledged) = (Arc::clone(&next), Arc::clone(&stop), Arc::clone(&acknowledged));
            let url = format!("http://127.0.0.1:{port}/v1/events");
            std::thread::spawn(move || {
                let client = client();
                while !stop.load(Ordering::Relaxed) {
                    let first = next.fetch_add(5, Ordering::Relaxed);
                    let events: Vec<Value> = (first..first + 5).map(sign_up).collect();
                    let body = Value::from(events).to_string();
                    // Sent again until it is acknowledged, as SDKs do: the same ids.
                    while !stop.load(Ordering::Relaxed) {
                        let answer = client.post(&url).bearer_auth("dev-server").body(body.clone()).send();
                        if answer.is_ok_and(|answer| answer.status() == 202) {
                            acknowledged.lock().unwrap().extend(first..first + 5);
                            break;
                        }
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    // The load is bounded, since every person is looked at afterwards.
                    std::thread::sleep(Duration::from_millis(25));
                }
            })
        })
        .collect();
    let mut recoveries_ms = Vec::new();
    for kill in 0..kills {
        // Moments that differ from run to run are the point here; what holds must hold at any of them.
        let spread = u64::from(std::process::id()).wrapping_mul(2_654_435_761).wrapping_add(u64::from(kill) * 7919);
        std::thread::sleep(Duration::from_millis(150 + spread % 500));
        drop(server);
        let began = Instant::now();
        server = Server::start(&data, port, Some(&config));
        recoveries_ms.push(began.elapsed().as_millis());
    }
    std::thread::sleep(Duration::from_millis(300));
    stop.store(true, Ordering::Relaxed);
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() > 50, "only {} events", acknowledged.len());
    let mut unknown = 0;
    for number in &acknowledged {
        unknown += check_person(&server, &sink, *number);
    }
    let mails = sink.mails.lock().unwrap();
    assert!(
        mails.values().all(|count| *count == 1),
        "doubled: {:?}",
        mails.iter().filter(|(_, count)| **count != 1).collect::<Vec<_>>()
    );
    println!(
        "{} kills, {} events acknowledged, {} mails, {unknown} shown as unknown, recovered in {recoveries_ms:?} ms",
        kills,
        acknowledged.len(),
        mails.len()
    );
}

fn sign_up(number: u64) -> Value {
    json!({
        "id": format!("e{number}"),
        "trigger": "signed_up",
        "identities": {"user_id": number.to_string(), "email": format!("u{number}@example.org")},
        "attributes": {"plan": "pro"},
    })
}

/// One entry, one first mail: at the sink once, or unknown. Answers how many are unknown.
fn check_person(server: &Server, sink: &MailSink, number: u64) -> u32 {
    let until = Instant::now() + PATIENCE;
    loop {
        let (status, profile) = server.get(&format!("/api/v1/profiles/user_id:{number}"));
        assert_eq!(status, 200, "person {number} is lost: {profile}");
        assert_eq!(profile["journeys"][0]["entries"], 1, "{profile}");
        let sends = profile["sends"].as_array().unwrap();
        let first: Vec<&Value> = sends.iter().filter(|send| send["message"] == "welcome_mail").collect();
        assert_eq!(first.len(), 1, "{profile}");
        let count = sink.mails.lock().unwrap().get(first[0]["id"].as_str().unwrap()).copied().unwrap_or(0);
        match first[0]["state"].as_str().unwrap() {
            "accepted" => {
                assert_eq!(count, 1, "accepted and not there: {profile}");
                return 0;
            }
            "unknown" => {
                assert!(count <= 1, "{profile}");
                return 1;
            }
            other => assert!(Instant::now() < until, "still {other}: {profile}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_clean_stop_checkpoints_and_the_next_start_replays_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let port = free_port();
    let mut server = Server::start(&data, port, None);
    server.apply_examples();
    assert_eq!(server.post("/v1/events", &sign_up(1)).0, 202);
    let terminated = Command::new("kill").args(["-TERM", &server.child.id().to_string()]).status().unwrap();
    assert!(terminated.success());
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    let output = program().args(["keys", "list", "--data"]).arg(&data).env("RUST_LOG", "info").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let server = Server::start(&data, port, None);
    let (_, profile) = server.get("/api/v1/profiles/user_id:1");
    assert_eq!(profile["participants"][0]["step"], "read", "{profile}");
    let (status, timeline) = server.get("/api/v1/profiles/user_id:1/timeline");
    assert_eq!(status, 200);
    let first = timeline["timeline"].as_array().unwrap().last().unwrap();
    assert_eq!(first["what"], "event signed_up", "{timeline}");
    assert_eq!(first["did"][0], "event signed_up", "{timeline}");
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_prevents_a_start_is_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let port = free_port();
    let _server = Server::start(&data, port, None);
    let serve = |data: &Path, port: u16| {
        let listen = format!("127.0.0.1:{port}");
        program().args(["serve", "--listen", &listen, "--data"]).arg(data).env("RUST_LOG", "off").output().unwrap()
    };
    let second = serve(&data, free_port());
    assert!(!second.status.success());
    assert!(told(&second).contains("another process uses it"), "{}", told(&second));
    let busy = serve(&folder.path().join("other"), port);
    assert!(!busy.status.success());
    assert!(told(&busy).contains("cannot listen on"), "{}", told(&busy));
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let unusable = serve(&file.join("below"), free_port());
    assert!(!unusable.status.success());
    assert!(told(&unusable).contains("it cannot be made"), "{}", told(&unusable));
    for output in [second, busy, unusable] {
        assert_eq!(told(&output).lines().count(), 1, "{}", told(&output));
    }
}

#[test]
fn keys_open_what_they_are_for_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let output = program()
        .args(["keys", "create", "--name", "first", "--scope", "admin", "--data"])
        .arg(&data)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", told(&output));
    let admin = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let server = Server::start(&data, free_port(), None);
    assert_eq!(server.send("GET", "/api/v1/triggers", &admin, "").0, 200);
    let (status, made) = server.send("POST", "/api/v1/keys", &admin, r#"{"name":"shop","scope":"server"}"#);
    // A JSON body needs its content type.
    assert_eq!((status, &made["key"]), (415, &Value::Null));
    let made = client()
        .post(format!("{}/api/v1/keys", server.base))
        .bearer_auth(&admin)
        .json(&json!({"name": "shop", "scope": "server"}))
        .send()
        .unwrap();
    assert_eq!(made.status(), 201);
    let made: Value = made.json().unwrap();
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let event = sign_up(1).to_string();
    assert_eq!(server.send("POST", "/v1/events", key, event.clone()).0, 202);
    let (status, problem) = server.send("GET", "/api/v1/triggers", key, "");
    assert_eq!((status, problem["code"].as_str()), (403, Some("forbidden")));
    assert_eq!(server.send("DELETE", &format!("/api/v1/keys/{id}"), &admin, "").0, 204);
    let (status, problem) = server.send("POST", "/v1/events", key, event);
    assert_eq!((status, problem["code"].as_str()), (401, Some("unauthorized")));
    assert_eq!(server.send("GET", "/api/v1/triggers", "wrong", "").0, 401);
}

#[test]
fn bad_input_gets_a_clear_answer_and_breaks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"), free_port(), None);
    server.apply_examples();
    let large = format!("[{}]", vec![sign_up(1).to_string(); 100_000].join(","));
    assert!(large.len() > 10 << 20);
    let deep = "[".repeat(200_000);
    for (body, status) in [
        ("{", 400),
        ("", 400),
        ("\0\0", 400),
        (deep.as_str(), 400),
        (large.as_str(), 413),
        (r#"{"trigger":5}"#, 202),
        ("7", 202),
    ] {
        let (answered, problem) = server.send("POST", "/v1/events", "dev-server", body);
        assert_eq!(answered, status, "{}: {problem}", &body[..body.len().min(20)]);
    }
    let mut batch: Vec<Value> = (0..1000).map(sign_up).collect();
    batch[500] = json!({"id": "bad", "trigger": "signed_up", "identities": {"user_id": "x"}});
    let (status, answer) = server.post("/v1/events", &Value::from(batch));
    assert_eq!(status, 202);
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), 1000);
    assert_eq!(results[500]["outcome"], "rejected");
    assert_eq!(results[500]["reason"], "attribute `plan`: expected a text, nothing came");
    assert_eq!(results.iter().filter(|result| result["outcome"] == "accepted").count(), 999);
    let (_, unknown) = server.post("/v1/events", &json!({"trigger": "sined_up", "identities": {"user_id": "1"}}));
    assert_eq!(unknown["results"][0]["outcome"], "accepted");
    let (_, timeline) = server.get("/api/v1/profiles/user_id:1/timeline?limit=1");
    let did = timeline["timeline"][0]["did"].to_string();
    assert!(did.contains("no trigger is named sined_up; the nearest is signed_up"), "{timeline}");
    for path in [
        "/api/v1/profiles/nonsense",
        "/api/v1/journeys/none/participants",
        "/t/c/forged",
        "/nowhere",
        "/api/v1/sends?cursor=zz",
    ] {
        let (status, problem) = server.get(path);
        assert!((400..500).contains(&status), "{path}: {status}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{path}: {problem}");
    }
    let (status, problem) = server.send(
        "POST",
        "/api/v1/documents",
        "dev-admin",
        "apiVersion: sojourn/v1\nkind: Journey\nmetadata: {name: x}\nspec: {start: {trigger: nothing}, steps: []}",
    );
    assert_eq!(status, 422);
    assert_eq!(problem["findings"][0]["code"], "trigger_unknown", "{problem}");
    assert_eq!(server.get("/readyz").0, 200);
}

#[test]
fn t03_a_repeated_id_is_answered_as_the_first_and_the_books_balance() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"), free_port(), None);
    server.apply_examples();
    let first = server.post("/v1/events", &sign_up(1));
    assert_eq!(server.post("/v1/events", &sign_up(1)), first);
    let mut other = sign_up(1);
    other["attributes"]["plan"] = "free".into();
    assert_eq!(server.post("/v1/events", &other).0, 202);
    assert_eq!(server.post("/v1/events", &json!({"trigger": "signed_up", "identities": {"user_id": "1"}})).0, 202);
    let late = json!({"trigger": "signed_up", "identities": {"user_id": "2"}, "attributes": {"plan": "pro"}, "occurred_at": "2020-01-01T00:00:00Z"});
    assert_eq!(server.post("/v1/events", &late).0, 202);
    let answer = client()
        .post(format!("{}/v1/events", server.base))
        .bearer_auth("dev-server")
        .body(json!({"trigger": "never_heard", "identities": {"user_id": "1"}}).to_string())
        .send()
        .unwrap();
    let position = answer.headers()["sojourn-position"].to_str().unwrap().to_owned();
    let (_, books) = server.get(&format!("/api/v1/books?at_least={position}"));
    let signed_up = &books["triggers"]["signed_up"];
    let counts = ["received", "accepted", "matched", "unmatched", "late", "duplicate", "conflicts"]
        .map(|name| signed_up[name].as_u64().unwrap());
    assert_eq!(counts, [5, 2, 1, 0, 1, 2, 1], "{books}");
    assert_eq!(signed_up["rejected"]["attribute"], 1);
    assert_eq!(books["triggers"]["never_heard"]["unmatched"], 1);
    // Once is once: one participant, one mail.
    let (_, sends) = server.get(&format!("/api/v1/sends?profile=user_id:1&at_least={position}"));
    assert_eq!(sends["sends"].as_array().unwrap().len(), 1, "{sends}");
}

#[test]
fn export_then_apply_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"), free_port(), None);
    server.apply_examples();
    let exported = program().args(["export", "--server", &server.base]).output().unwrap();
    assert!(exported.status.success());
    let file = folder.path().join("exported.yaml");
    std::fs::write(&file, &exported.stdout).unwrap();
    let applied = program().args(["apply", "--server", &server.base]).arg(&file).output().unwrap();
    let text = String::from_utf8_lossy(&applied.stdout).into_owned();
    assert!(text.contains("nothing to change"), "{text}{}", told(&applied));
    let diff = program().args(["diff", "--server", &server.base]).arg(examples()).output().unwrap();
    assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stdout));
}

#[test]
fn the_openapi_document_is_the_committed_one() {
    let printed = program().arg("openapi").output().unwrap();
    let committed =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json")).unwrap();
    assert!(
        String::from_utf8(printed.stdout).unwrap() == committed,
        "docs/openapi.json is not what the program prints; run `cargo run -p sojourn -- openapi > docs/openapi.json`"
    );
}
