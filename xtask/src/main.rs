//! cargo xtask run | test | ci | crash | bench: the only entry for set-up, tests and CI.

mod clients;
mod layers;
mod run;
mod tools;

use std::process::ExitCode;
use tools::{cargo, done, has, target};

const HELP: &str = "\
cargo xtask run     build a release binary and serve the examples on 127.0.0.1:8080 (arguments go to `sojourn serve`)
cargo xtask test    everything: unit tests, simulator, the real binary, journey tests, real clients
cargo xtask ci      formatting, layers, clippy, then test, then fuzzing of 20 s for each parser
cargo xtask crash   kill the server 50 times under load (SOJOURN_KILLS to change)
cargo xtask bench   measure the welcome workload on this machine (arguments go to `sojourn bench`)
";

/// What is installed where cargo-nextest is missing.
const NEXTEST: &str = "0.9.143";
/// How long CI fuzzes each parser.
const FUZZ_SECONDS: &str = "20";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.first().map(String::as_str) {
        Some("run") => run::run(&arguments[1..]),
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

fn test() -> Result<(), String> {
    // What is missing is told before anything is built.
    clients::prepare()?;
    nextest(&["--workspace", "--no-fail-fast"], "tests", &[])?;
    let mut doctests = cargo();
    doctests.args(["test", "--quiet", "--doc", "--workspace"]);
    done(doctests, "examples in documentation")?;
    let mut journeys = std::process::Command::new(target().join("debug/sojourn"));
    journeys.current_dir(tools::root()).args(["test", "examples"]);
    done(journeys, "journey tests of examples/")?;
    clients::drive()
}

fn ci() -> Result<(), String> {
    let mut format = cargo();
    format.args(["fmt", "--all", "--check"]);
    done(format, "formatting")?;
    layers::check()?;
    let mut clippy = cargo();
    clippy.args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]);
    done(clippy, "clippy")?;
    // OpenAPI drift is a test: the_openapi_document_is_the_committed_one.
    test()?;
    let fuzzed = ["--workspace", "--no-fail-fast", "-E", "test(/(^|::)fuzz_/)"];
    nextest(&fuzzed, "fuzzing", &[("SOJOURN_FUZZ_SECONDS", FUZZ_SECONDS)])
}

fn nextest(arguments: &[&str], what: &str, variables: &[(&str, &str)]) -> Result<(), String> {
    if !has("cargo-nextest") {
        let mut install = cargo();
        install.args(["install", "--locked", "cargo-nextest", "--version", NEXTEST]);
        done(install, "installing cargo-nextest (a few minutes)")?;
    }
    let mut nextest = cargo();
    nextest.args(["nextest", "run"]).args(arguments).envs(variables.iter().copied());
    done(nextest, what)
}

fn crash() -> Result<(), String> {
    let kills = std::env::var("SOJOURN_KILLS").unwrap_or_else(|_| "50".to_owned());
    let arguments = ["--release", "-p", "sojourn", "--success-output", "final", "-E", "test(t71_kill_9)"];
    nextest(&arguments, "kill -9 under load", &[("SOJOURN_KILLS", &kills)])
}

fn bench(arguments: &[String]) -> Result<(), String> {
    let mut run = cargo();
    run.args(["run", "--release", "--quiet", "-p", "sojourn", "--", "bench"]).args(arguments);
    done(run, "bench")
}
