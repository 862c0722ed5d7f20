//! A running server and what is said to it.

use serde_json::{Value, json};
use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sojourn"));
    // What the developer's shell says is not what is tested.
    for name in ["SOJOURN_DATA", "SOJOURN_SERVER", "SOJOURN_KEY", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs it to its end; what it printed and told.
pub fn output(command: &mut Command) -> (ExitStatus, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status, String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Asks until it holds.
pub fn wait_until<T>(what: &str, mut holds: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = holds() {
            return found;
        }
        assert!(Instant::now() < until, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How a server is started.
#[derive(Clone)]
pub struct Start {
    pub data: PathBuf,
    pub listen: IpAddr,
    pub port: u16,
    pub config: Option<PathBuf>,
    pub development: bool,
}

impl Start {
    pub fn new(data: &Path) -> Self {
        Start {
            data: data.to_owned(),
            listen: IpAddr::from([127, 0, 0, 1]),
            port: free_port(),
            config: None,
            development: true,
        }
    }

    /// Writes `toml` beside the data and starts with it.
    pub fn config(self, toml: &str) -> Self {
        let path = self.data.with_extension("toml");
        std::fs::write(&path, toml).unwrap();
        Start { config: Some(path), ..self }
    }

    pub fn command(&self) -> Command {
        let mut command = program();
        command
            .arg("serve")
            .arg("--data")
            .arg(&self.data)
            .args(["--listen", &format!("{}:{}", self.listen, self.port)]);
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        if self.development {
            command.arg("--dev");
        }
        command
    }

    /// Starts it and waits until it can store.
    pub fn run(&self) -> Server {
        let server = self.spawn();
        wait_until("ready", || (server.send("GET", "/readyz", "", "").0 == 200).then_some(()));
        server
    }

    pub fn spawn(&self) -> Server {
        let child = self.command().env("RUST_LOG", "warn").stderr(Stdio::null()).spawn().unwrap();
        Server { child, base: format!("http://127.0.0.1:{}", self.port) }
    }
}

/// A server; killed with -9 when it is dropped.
pub struct Server {
    pub child: Child,
    pub base: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Server {
    pub fn send(&self, method: &str, path: &str, key: &str, body: impl Into<Vec<u8>>) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = client().request(method, format!("{}{path}", self.base)).bearer_auth(key).body(body.into());
        match request.send() {
            Ok(answer) => (answer.status().as_u16(), answer.json().unwrap_or_default()),
            Err(_) => (0, Value::Null),
        }
    }

    pub fn get(&self, path: &str) -> (u16, Value) {
        self.send("GET", path, "dev-admin", "")
    }

    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send("POST", path, "dev-server", body.to_string())
    }

    /// Stores `body` and answers the position it reached.
    pub fn stored(&self, body: &Value) -> String {
        let request = client().post(format!("{}/v1/events", self.base)).bearer_auth("dev-server");
        let answer = request.body(body.to_string()).send().unwrap();
        assert_eq!(answer.status(), 202);
        answer.headers()["sojourn-position"].to_str().unwrap().to_owned()
    }

    /// A number of `/metrics`.
    pub fn metric(&self, name: &str) -> f64 {
        let text = client().get(format!("{}/metrics", self.base)).send().unwrap().text().unwrap();
        let line = text.lines().find(|line| line.split(' ').next() == Some(name));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// One of our commands, on this server.
    pub fn cli(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.args(arguments).args(["--server", &self.base]).current_dir(repository());
        command
    }

    pub fn apply(&self, path: &Path) {
        let (status, printed, told) = output(self.cli(&["apply"]).arg(path));
        assert!(status.success(), "{printed}{told}");
    }

    pub fn apply_examples(&self) {
        self.apply(&repository().join("examples"));
    }

    /// SIGTERM, and how it ended.
    pub fn terminate(mut self) -> ExitStatus {
        let terminated = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(terminated.success());
        self.child.wait().unwrap()
    }
}

pub fn client() -> reqwest::blocking::Client {
    static PROVIDER: std::sync::Once = std::sync::Once::new();
    PROVIDER.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().unwrap();
    });
    let client = reqwest::blocking::Client::builder().redirect(reqwest::redirect::Policy::none());
    client.timeout(Duration::from_secs(10)).build().unwrap()
}

pub fn sign_up(number: u64) -> Value {
    json!({
        "id": format!("e{number}"),
        "trigger": "signed_up",
        "identities": {"user_id": number.to_string(), "email": format!("u{number}@example.org")},
        "attributes": {"plan": "pro"},
    })
}
