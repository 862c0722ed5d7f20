//! `cargo xtask run`: a server with the examples, and three lines to paste.

use crate::tools::{cargo, done, root, succeeds, target};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command};
use std::time::Duration;

const USUAL: &str = "127.0.0.1:8080";

pub fn run(arguments: &[String]) -> Result<(), String> {
    let address = address_of(arguments)?;
    is_free(address)?;
    let mut build = cargo();
    build.args(["build", "--release", "-p", "sojourn"]);
    done(build, "building (some minutes the first time)")?;
    is_free(address)?;
    let program = target().join("release/sojourn");
    eprintln!("── starting on {address}");
    let mut serve = Command::new(&program);
    serve.current_dir(root()).args(["serve", "--dev"]).args(arguments);
    let mut server = serve.spawn().map_err(|error| error.to_string())?;
    let base = format!("http://{address}");
    wait_until_ready(&mut server, &program, &base)?;
    let mut apply = Command::new(&program);
    apply.current_dir(root()).args(["apply", "examples", "--server", &base]);
    if let Err(why) = done(apply, "applying examples/") {
        // The server is ours: it does not outlive us.
        server.kill().map_err(|error| error.to_string())?;
        return Err(why);
    }
    let shown = program.strip_prefix(root()).unwrap_or(&program);
    println!("{}", to_paste(&base, &shown.display().to_string()));
    let status = server.wait().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(format!("the server ended: {status}")) }
}

/// Where the server will listen.
fn address_of(arguments: &[String]) -> Result<SocketAddr, String> {
    let next = |at: usize| arguments.get(at + 1).cloned();
    let given = arguments.iter().enumerate().find_map(|(at, argument)| match argument.strip_prefix("--listen") {
        Some("") => next(at),
        Some(rest) => rest.strip_prefix('=').map(str::to_owned),
        None => None,
    });
    let text = given.unwrap_or_else(|| USUAL.to_owned());
    text.parse().map_err(|_| format!("--listen: expected an address and a port such as {USUAL}; `{text}` came"))
}

/// The examples must not be applied to a server that somebody else runs.
fn is_free(address: SocketAddr) -> Result<(), String> {
    TcpListener::bind(address).map(drop).map_err(|error| {
        format!(
            "{address} cannot be listened on ({error}); stop what uses it, or: cargo xtask run --listen 127.0.0.1:8081"
        )
    })
}

fn wait_until_ready(server: &mut Child, program: &std::path::Path, base: &str) -> Result<(), String> {
    loop {
        if let Some(status) = server.try_wait().map_err(|error| error.to_string())? {
            return Err(format!("the server ended: {status}"));
        }
        // It answers when its log is read; how far it is stands in its own output.
        if succeeds(Command::new(program).args(["export", "--server", base, "--key", "dev-admin"])) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn to_paste(base: &str, program: &str) -> String {
    format!(
        r#"
Serving the examples on {base}. Paste this into another terminal:

  curl -s {base}/v1/events -H 'Authorization: Bearer dev-server' -d '{{"trigger":"abandoned_cart","identities":{{"user_id":"42","email":"ada@example.org"}},"attributes":{{"cart_id":"c1","cart_total":80}}}}'
  curl -s {base}/api/v1/mailbox -H 'Authorization: Bearer dev-admin'
  {program} explain --server {base} --profile user_id:42 --journey abandoned_cart
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_the_one_that_serve_will_take() {
        let of = |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            address_of(&arguments).map(|address| address.to_string())
        };
        assert_eq!(of(&[]), Ok(USUAL.to_owned()));
        assert_eq!(of(&["--data", "x", "--listen", "127.0.0.1:9"]), Ok("127.0.0.1:9".to_owned()));
        assert_eq!(of(&["--listen=127.0.0.1:7"]), Ok("127.0.0.1:7".to_owned()));
        assert!(of(&["--listen", "here"]).is_err());
    }

    #[test]
    fn an_address_that_somebody_has_is_noticed() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = taken.local_addr().expect("its address");
        let why = is_free(address).expect_err("it is taken");
        assert!(why.contains("stop what uses it"), "{why}");
        drop(taken);
        assert_eq!(is_free(address), Ok(()));
    }
}
