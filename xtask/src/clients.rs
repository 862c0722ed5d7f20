//! Real SDKs against the real binary, real mail over SMTP: their set-up, renewed when what they ask for changes.

use crate::tools::{done, has, root, succeeds, target};
use std::path::{Path, PathBuf};
use std::process::Command;

fn source() -> PathBuf {
    root().join("testing/clients")
}

fn work() -> PathBuf {
    target().join("clients")
}

/// Installs what is needed, or says what is missing.
pub fn prepare() -> Result<(), String> {
    for (program, how) in [("python3", "Python 3.11 or newer"), ("node", "Node.js 20 or newer"), ("npm", "npm")] {
        if !has(program) {
            return Err(format!("{program} is missing; install {how}"));
        }
    }
    std::fs::create_dir_all(work()).map_err(|error| format!("{}: {error}", work().display()))?;
    python()?;
    node()
}

fn python() -> Result<(), String> {
    let (venv, wanted) = (work().join("venv"), source().join("requirements.txt"));
    let stamp = venv.join("requirements.txt");
    if is_same(&wanted, &stamp) {
        return Ok(());
    }
    let has_venv = || succeeds(Command::new("python3").args(["-c", "import venv, ensurepip"]));
    if !has_venv() {
        install_venv()?;
        if !has_venv() {
            return Err("python3 cannot make environments; install its venv module (Debian: python3-venv)".to_owned());
        }
    }
    let mut create = Command::new("python3");
    create.args(["-m", "venv", "--clear"]).arg(&venv);
    done(create, "a Python environment")?;
    let mut install = Command::new(venv.join("bin/pip"));
    install.args(["install", "--quiet", "--disable-pip-version-check", "-r"]).arg(&wanted);
    done(install, "Python clients")?;
    copy(&wanted, &stamp)
}

/// Debian splits it off; root can have it at once.
fn install_venv() -> Result<(), String> {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !is_root || !has("apt-get") {
        return Err("python3 cannot make environments; install its venv module (Debian: apt-get install python3-venv)"
            .to_owned());
    }
    let mut update = Command::new("apt-get");
    update.args(["update", "-qq"]);
    done(update, "package lists")?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-qq", "-y", "--no-install-recommends", "python3-venv"]);
    install.env("DEBIAN_FRONTEND", "noninteractive");
    done(install, "python3-venv")
}

fn node() -> Result<(), String> {
    let work = work();
    let stamp = work.join("node_modules/.installed-lock.json");
    let lock = source().join("package-lock.json");
    if is_same(&lock, &stamp) {
        return Ok(());
    }
    for file in ["package.json", "package-lock.json"] {
        copy(&source().join(file), &work.join(file))?;
    }
    let mut install = Command::new("npm");
    install.current_dir(&work).args(["ci", "--silent", "--no-audit", "--no-fund"]);
    done(install, "Node clients")?;
    copy(&lock, &stamp)
}

fn is_same(one: &Path, other: &Path) -> bool {
    let read = |path: &Path| std::fs::read(path).ok();
    read(one).is_some_and(|bytes| Some(bytes) == read(other))
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    std::fs::copy(from, to).map(|_| ()).map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))
}

/// Drives the debug build that the tests before it have made.
pub fn drive() -> Result<(), String> {
    let work = work();
    copy(&source().join("send.mjs"), &work.join("send.mjs"))?;
    let mut drive = Command::new(work.join("venv/bin/python"));
    drive.current_dir(root()).arg(source().join("drive.py")).arg(target().join("debug/sojourn")).arg(&work);
    done(drive, "real clients and real mail")
}
