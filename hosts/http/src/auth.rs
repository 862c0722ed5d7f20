//! Keys: who may do what (design §6).
//!
//! A key is `sj_` and 32 random bytes in base64url. Only its SHA-256 is kept; a request's key is hashed and looked up,
//! so that the time it takes tells nothing of the keys there are.
//!
//! The keys of `--dev` are known to everyone. They open only what comes from this machine, and not all of that: any
//! page a developer looks at can make her browser call 127.0.0.1. A browser says which page asks (`Origin`), and under
//! which name it believes to call us (`Host`); both must be this machine.

use crate::problem::Problem;
use crate::shared::Shared;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use base64::Engine;
use engine::command::KeyScope;
use engine::control::Control;
use model::Text;
use processor::Status;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The keys that open something now, by the hash of their secret.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    keys: BTreeMap<[u8; 32], Caller>,
}

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The key's id; the `source` of what comes by it.
    pub key: Text,
    pub scope: KeyScope,
}

pub fn hash_secret(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

impl KeyRing {
    pub fn of(control: &Control) -> Self {
        let live = control.keys.values().filter(|held| held.revoked_at.is_none());
        let keys = live.map(|held| {
            let caller = Caller { key: held.key.id.clone(), scope: held.key.scope };
            (held.key.secret_sha256, caller)
        });
        KeyRing { keys: keys.collect() }
    }

    pub fn find(&self, secret: &str) -> Option<&Caller> {
        self.keys.get(&hash_secret(secret))
    }
}

/// The keys that `--dev` accepts from this machine.
fn development_key(secret: &str) -> Option<Caller> {
    let scope = match secret {
        "dev-admin" => KeyScope::Admin,
        "dev-server" => KeyScope::Server,
        "dev-browser" => KeyScope::Browser,
        _ => return None,
    };
    Some(Caller { key: secret.into(), scope })
}

/// `Bearer KEY`, or `Basic` with the key as user name, as Segment's clients send it.
pub fn key_of(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        return Some(text.split(':').next().unwrap_or_default().to_owned());
    }
    None
}

/// Whether a request comes from this machine, on whose behalf, and by which name of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whence {
    ThisMachine,
    Elsewhere { why: String },
}

impl Whence {
    fn of(parts: &Parts) -> Self {
        let elsewhere = |why: String| Whence::Elsewhere { why };
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        if !peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback()) {
            return elsewhere("this request comes from elsewhere".to_owned());
        }
        let text = |name| parts.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let named = parts.uri.host().map(str::to_owned).or_else(|| text(header::HOST).and_then(|host| host_of(&host)));
        if !named.as_deref().is_some_and(is_this_machine) {
            let host = named.as_deref().unwrap_or("of no name");
            return elsewhere(format!("this request was for the host {host}"));
        }
        match text(header::ORIGIN) {
            Some(origin) if !host_of(&origin).as_deref().is_some_and(is_this_machine) => {
                elsewhere(format!("this request was made by a page of {origin}"))
            }
            Some(_) | None => Whence::ThisMachine,
        }
    }
}

/// The host of an authority or a whole address.
fn host_of(text: &str) -> Option<String> {
    text.parse::<Uri>().ok()?.host().map(str::to_owned)
}

fn is_this_machine(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_name = bare.eq_ignore_ascii_case("localhost") || bare.to_ascii_lowercase().ends_with(".localhost");
    is_name || bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

impl Shared {
    /// Whose key it is.
    pub(crate) fn caller(&self, secret: Option<&str>, whence: &Whence) -> Result<Caller, Problem> {
        let refuse = |detail: String| Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
        // Until the log is read nobody's key is known, and no catalog that events could be checked against.
        if let Status::Starting = **self.status.load() {
            return Err(Problem::unavailable("starting: the log is being read; the same request may be sent again"));
        }
        let Some(secret) = secret else {
            let detail = "a key is needed: `Authorization: Bearer KEY`; `sojourn keys create` makes one";
            return Err(refuse(detail.to_owned()));
        };
        if let Some(caller) = self.keys.load().find(secret) {
            return Ok(caller.clone());
        }
        let Some(caller) = development_key(secret) else {
            return Err(refuse("this key is not known, or was revoked".to_owned()));
        };
        if !self.outside.development {
            return Err(refuse("development keys are accepted only by `serve --dev`".to_owned()));
        }
        match whence {
            Whence::ThisMachine => Ok(caller),
            Whence::Elsewhere { why } => Err(refuse(format!(
                "development keys open what comes from this machine alone, and {why}; `sojourn keys create` makes others"
            ))),
        }
    }
}

/// A caller with any key: may send events.
pub struct Sender(pub Caller);

/// A caller with an admin key.
pub struct Admin(pub Caller);

impl FromRequestParts<Arc<Shared>> for Sender {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Problem> {
        shared.caller(key_of(&parts.headers).as_deref(), &Whence::of(parts)).map(Sender)
    }
}

impl FromRequestParts<Arc<Shared>> for Admin {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let caller = shared.caller(key_of(&parts.headers).as_deref(), &Whence::of(parts))?;
        match caller.scope {
            KeyScope::Admin => Ok(Admin(caller)),
            KeyScope::Browser | KeyScope::Server => {
                let detail = format!("this key has the scope {}; an admin key is needed", caller.scope.as_str());
                Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail))
            }
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Whence {
    type Rejection = std::convert::Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Whence::of(parts))
    }
}
