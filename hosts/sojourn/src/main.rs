//! The binary: configuration, wiring, run.

mod apply;
mod bench;
mod check;
mod client;
mod clock;
mod config;
mod doctor;
mod keys;
mod progress;
mod serve;
mod storage;
mod watch;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Events are many small values made on one thread and dropped on another; the C library's allocator spends a tenth of
/// the machine on that, and keeps what is freed in pieces.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Real-time customer journeys: events in, journeys on, nothing lost.
#[derive(Parser)]
#[command(
    name = "sojourn",
    version,
    about,
    after_help = "Try it: sojourn serve --dev, then open http://127.0.0.1:8080/openapi.json"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server.
    #[command(
        after_help = "Examples:\n  sojourn serve --dev\n  sojourn serve --data /var/lib/sojourn --listen 0.0.0.0:8080 --config sojourn.toml"
    )]
    Serve(serve::Arguments),
    /// Create, list and revoke API keys.
    #[command(
        after_help = "Examples:\n  sojourn keys create --name shop --scope server\n  sojourn keys list\n  sojourn keys revoke key_0123456789abcdef"
    )]
    Keys(keys::Arguments),
    /// Plan and apply documents to a server.
    #[command(
        after_help = "Examples:\n  sojourn apply examples --dry-run\n  sojourn apply journeys/ --server https://sojourn.example --key $KEY"
    )]
    Apply(apply::Apply),
    /// Print all documents of a server as YAML; applying them again changes nothing.
    #[command(after_help = "Examples:\n  sojourn export > documents.yaml\n  sojourn export --server \
                            https://sojourn.example --key $KEY | grep name:")]
    Export(apply::Export),
    /// Show how files differ from what a server has; exit code 1 if they do.
    #[command(after_help = "Examples:\n  sojourn diff examples\n  sojourn diff journeys/ --server \
                            https://sojourn.example --key $KEY")]
    Diff(apply::Diff),
    /// Check documents without a server.
    #[command(after_help = "Examples:\n  sojourn check examples\n  sojourn check journeys/welcome.yaml triggers/")]
    Check(check::Arguments),
    /// Run journey tests without a server, with a virtual clock.
    #[command(after_help = "Examples:\n  sojourn test examples\n  sojourn test examples/welcome --trace")]
    Test(check::TestArguments),
    /// Watch events as they come, with what they did.
    #[command(after_help = "Examples:\n  sojourn tail\n  sojourn tail --trigger abandoned_cart")]
    Tail(watch::Tail),
    /// Say why a profile is in a journey, or why not.
    #[command(after_help = "Examples:\n  sojourn explain --profile user_id:42 --journey abandoned_cart")]
    Explain(watch::Explain),
    /// Measure what this machine can do, and balance the books.
    #[command(
        after_help = "Examples:\n  sojourn bench\n  sojourn bench --profiles 100000 --seconds 20\n  sojourn bench waiting --people 1000000 --burst 100000\n  sojourn bench recovery --tail-mib 1024"
    )]
    Bench(bench::Arguments),
    /// Say whether a data directory is whole and what is stopped in it; exit code 1 if anything is wrong.
    #[command(after_help = "Examples:\n  sojourn doctor --data /var/lib/sojourn\n  sojourn doctor skip --data \
                            /var/lib/sojourn --partition 3 --lsn 4711")]
    Doctor(doctor::Arguments),
    /// Print the OpenAPI document.
    #[command(hide = true)]
    Openapi,
}

fn main() -> ExitCode {
    // One TLS provider for everything, chosen here (stack).
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("sojourn: a TLS provider was installed already");
        return ExitCode::FAILURE;
    }
    let result = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Keys(arguments) => keys::run(&arguments),
        Command::Apply(arguments) => apply::apply(&arguments),
        Command::Export(arguments) => apply::export(&arguments),
        Command::Diff(arguments) => apply::diff(&arguments),
        Command::Check(arguments) => check::check(&arguments),
        Command::Test(arguments) => check::test(&arguments),
        Command::Tail(arguments) => watch::tail(&arguments),
        Command::Explain(arguments) => watch::explain(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Openapi => {
            print!("{}", http_api::openapi_json());
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|why| {
        eprintln!("sojourn: {why}");
        ExitCode::FAILURE
    })
}
