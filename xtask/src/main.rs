//! cargo xtask run | test | ci | crash | bench: the only entry for set-up, tests and CI.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

const HELP: &str = "\
cargo xtask run     build a release binary and serve the examples on 127.0.0.1:8080
cargo xtask test    everything: unit tests, the real binary, journey tests, real clients
cargo xtask ci      formatting, clippy, layers, OpenAPI drift, then test
cargo xtask crash   kill the server 50 times under load (SOJOURN_KILLS to change)
cargo xtask bench   measure the welcome workload on this machine (arguments go to `sojourn bench`)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.first().map(String::as_str) {
        Some("run") => run(&arguments[1..]),
        Some("test") => test(),
        Some("ci") => ci(),
        Some("crash") => crash(),
        Some("bench") => bench(&arguments[1..]),
        _ => {
            print!("{HELP}");
            return if arguments.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

fn done(mut command: Command, what: &str) -> Result<(), String> {
    eprintln!("── {what}");
    let status = command.status().map_err(|error| format!("{what}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{what} failed")) }
}

fn has(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

// ---- run ----

fn run(arguments: &[String]) -> Result<(), String> {
    let mut build = cargo();
    build.args(["build", "--release", "-p", "sojourn"]);
    done(build, "building (a few minutes the first time)")?;
    let program = root().join("target/release/sojourn");
    let mut serve = Command::new(&program);
    serve.current_dir(root()).args(["serve", "--dev"]).args(arguments);
    let mut server = serve.spawn().map_err(|error| error.to_string())?;
    let applied = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let mut apply = Command::new(&program);
        apply.current_dir(root()).args(["apply", "examples"]).stdout(Stdio::null()).stderr(Stdio::null());
        apply.status().is_ok_and(|status| status.success())
    });
    if applied {
        println!("{TRY}");
    } else if let Ok(Some(status)) = server.try_wait() {
        return Err(format!("the server ended: {status}"));
    } else {
        eprintln!("the examples could not be applied; is something else on port 8080?");
    }
    server.wait().map_err(|error| error.to_string())?;
    Ok(())
}

const TRY: &str = r#"
Serving the examples on http://127.0.0.1:8080. Paste this into another terminal:

  curl -s localhost:8080/v1/events -H 'Authorization: Bearer dev-server' -d '{"trigger":"abandoned_cart","identities":{"user_id":"42","email":"ada@example.org"},"attributes":{"cart_id":"c1","cart_total":80}}'
  curl -s localhost:8080/api/v1/mailbox -H 'Authorization: Bearer dev-admin'
  target/release/sojourn explain --profile user_id:42 --journey abandoned_cart
"#;

// ---- test ----

fn test() -> Result<(), String> {
    if !has("cargo-nextest") {
        let mut install = cargo();
        install.args(["install", "--locked", "cargo-nextest"]);
        done(install, "installing cargo-nextest")?;
    }
    let mut nextest = cargo();
    nextest.args(["nextest", "run", "--workspace", "--no-fail-fast"]);
    done(nextest, "tests")?;
    let mut doctests = cargo();
    doctests.args(["test", "--quiet", "--doc", "-p", "calendar", "-p", "template"]);
    done(doctests, "examples in documentation")?;
    let mut journeys = cargo();
    journeys.args(["run", "--quiet", "-p", "sojourn", "--", "test", "examples"]);
    done(journeys, "journey tests of examples/")?;
    clients()
}

/// Real SDKs against the real binary, real mail over SMTP.
fn clients() -> Result<(), String> {
    for (program, how) in
        [("python3", "install Python 3.11 or newer"), ("node", "install Node.js 20 or newer"), ("npm", "install npm")]
    {
        if !has(program) {
            return Err(format!("{program} is missing; {how} (Debian: apt-get install python3-venv nodejs npm)"));
        }
    }
    let folder = root().join("testing/clients");
    let work = root().join("target/clients");
    std::fs::create_dir_all(&work).map_err(|error| error.to_string())?;
    let venv = work.join("venv");
    if !venv.join("bin/aiosmtpd").exists() {
        let mut create = Command::new("python3");
        create.args(["-m", "venv"]).arg(&venv);
        done(create, "a Python environment")?;
        let mut install = Command::new(venv.join("bin/pip"));
        install.args(["install", "--quiet", "-r"]).arg(folder.join("requirements.txt"));
        done(install, "Python clients")?;
    }
    if !work.join("node_modules/@segment/analytics-node").exists() {
        for file in ["package.json", "package-lock.json", "send.mjs"] {
            std::fs::copy(folder.join(file), work.join(file)).map_err(|error| format!("{file}: {error}"))?;
        }
        let mut install = Command::new("npm");
        install.current_dir(&work).args(["ci", "--silent", "--no-audit", "--no-fund"]);
        done(install, "Node clients")?;
    }
    std::fs::copy(folder.join("send.mjs"), work.join("send.mjs")).map_err(|error| error.to_string())?;
    let mut drive = Command::new(venv.join("bin/python"));
    drive.current_dir(root()).arg(folder.join("drive.py")).arg(root().join("target/debug/sojourn")).arg(&work);
    done(drive, "real clients and real mail")
}

fn crash() -> Result<(), String> {
    let mut nextest = cargo();
    let kills = std::env::var("SOJOURN_KILLS").unwrap_or_else(|_| "50".to_owned());
    nextest.env("SOJOURN_KILLS", kills).args([
        "nextest",
        "run",
        "--release",
        "-p",
        "sojourn",
        "--success-output",
        "final",
    ]);
    nextest.args(["-E", "test(t71_kill_9)"]);
    done(nextest, "kill -9 under load")
}

fn bench(arguments: &[String]) -> Result<(), String> {
    let mut run = cargo();
    run.args(["run", "--release", "--quiet", "-p", "sojourn", "--", "bench"]).args(arguments);
    done(run, "bench")
}

// ---- ci ----

fn ci() -> Result<(), String> {
    let mut format = cargo();
    format.args(["fmt", "--all", "--check"]);
    done(format, "formatting")?;
    layers()?;
    let mut clippy = cargo();
    clippy.args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]);
    done(clippy, "clippy")?;
    // OpenAPI drift is a test: the_openapi_document_is_the_committed_one.
    test()
}

/// Which of our crates a layer may use (house §1); `hosts/http` may use `intake`, whose doors it opens.
fn layers() -> Result<(), String> {
    eprintln!("── layers");
    let mut layer_of: BTreeMap<String, (String, toml::Table)> = BTreeMap::new();
    for layer in ["core", "runtime", "hosts", "testing"] {
        for entry in std::fs::read_dir(root().join(layer)).map_err(|error| error.to_string())? {
            let manifest = entry.map_err(|error| error.to_string())?.path().join("Cargo.toml");
            let Ok(text) = std::fs::read_to_string(&manifest) else { continue };
            let table: toml::Table =
                toml::from_str(&text).map_err(|error| format!("{}: {error}", manifest.display()))?;
            let name = table["package"]["name"].as_str().unwrap_or_default().to_owned();
            layer_of.insert(name, (layer.to_owned(), table));
        }
    }
    let mut wrong = Vec::new();
    for (name, (layer, table)) in &layer_of {
        let dependencies = table.get("dependencies").and_then(toml::Value::as_table).cloned().unwrap_or_default();
        for used in dependencies.keys().filter_map(|used| layer_of.get_key_value(used)) {
            let (used_name, (used_layer, _)) = used;
            let fits = match layer.as_str() {
                "core" => used_layer == "core",
                "runtime" | "testing" => used_layer == "core" || used_layer == "runtime",
                _ => used_layer != "hosts" || name == "sojourn" || (name == "http-api" && used_name == "intake"),
            };
            if !fits {
                wrong.push(format!("{layer}/{name} uses {used_layer}/{used_name}"));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("arrows that point the wrong way: {}", wrong.join(", "))) }
}
