//! The conversation with the relay. Each message is a transaction of its own, with one recipient (trap T58), and we
//! know at every moment whether a byte of it may have gone out (trap T55): lettre's own transport does not tell.
//!
//! ```text
//! idle connection, or: connect, TLS, EHLO, AUTH
//! MAIL FROM, RCPT TO, DATA      a failure here sent nothing
//! message, "."                  silence from here on is `unknown`
//! RSET after a refusal, then the connection is idle again
//! ```

use super::answer::{Failure, Stage, outcome, queue_id};
use super::compose::Mail;
use super::{Config, Tls};
use crate::Error;
use crate::circuit::Peer;
use crate::outcome::{Outcome, brief, chain};
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::{Response, Severity};
use model::send::Settlement;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A connection idle for longer is not used again; relays close theirs after some minutes.
const IDLE_MAX: Duration = Duration::from_secs(60);

pub(super) struct Relay {
    host: String,
    port: u16,
    peer: String,
    tls: Tls,
    tls_parameters: TlsParameters,
    hello: ClientId,
    credentials: Option<Credentials>,
    timeout: Duration,
    data_timeout: Duration,
    /// Those that wait for the next message, the last used at the end.
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    connection: AsyncSmtpConnection,
    since: Instant,
}

/// What came of a message on one connection.
enum Tried {
    Done(Outcome),
    /// The relay had closed the idle connection before the message was begun.
    Stale,
}

impl Relay {
    pub fn new(config: &Config) -> Result<Self, Error> {
        let wrong = |key: &'static str, why: String| Error::Config { channel: "email", key, why };
        let mut tls = TlsParameters::builder(config.host.clone());
        if let Some(path) = &config.ca_file {
            let pem = std::fs::read(path).map_err(|error| wrong("ca_file", format!("{}: {error}", path.display())))?;
            tls =
                tls.add_root_certificate(Certificate::from_pem(&pem).map_err(|error| wrong("ca_file", chain(&error)))?);
        }
        let credentials = match (&config.username, &config.password) {
            (Some(username), Some(password)) => Some(Credentials::new(username.clone(), password.reveal().to_owned())),
            (None, None) => None,
            (Some(_), None) => return Err(wrong("password", "missing, though there is a `username`".into())),
            (None, Some(_)) => return Err(wrong("username", "missing, though there is a `password`".into())),
        };
        Ok(Relay {
            host: config.host.clone(),
            port: config.port,
            peer: format!("{}:{}", config.host, config.port),
            tls: config.tls,
            tls_parameters: tls.build().map_err(|error| wrong("tls", chain(&error)))?,
            hello: ClientId::Domain(config.helo.clone()),
            credentials,
            timeout: config.timeout,
            data_timeout: config.data_timeout,
            idle: Mutex::new(Vec::new()),
        })
    }

    pub fn peer(&self) -> &str {
        &self.peer
    }

    pub async fn send(&self, mail: &Mail) -> Outcome {
        while let Some(connection) = self.take_idle() {
            match self.transact(connection, mail, true).await {
                Tried::Done(outcome) => return outcome,
                Tried::Stale => {}
            }
        }
        let connected = tokio::time::timeout(self.timeout, self.connect()).await;
        let connection = match connected.unwrap_or(Err(Failure::TimedOut)) {
            Ok(connection) => connection,
            Err(failure) => return Outcome::unreachable(format!("{}: {}", self.peer, failure.reason())),
        };
        match self.transact(connection, mail, false).await {
            Tried::Done(outcome) => outcome,
            Tried::Stale => Outcome::unreachable(format!("{}: the connection broke at once", self.peer)),
        }
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Failure> {
        let failed = |error| Failure::of(&error);
        let implicit = (self.tls == Tls::Implicit).then(|| self.tls_parameters.clone());
        let server = (self.host.as_str(), self.port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(server, Some(self.timeout), &self.hello, implicit, None)
                .await
                .map_err(failed)?;
        let upgrade = match self.tls {
            Tls::Required => true,
            Tls::Starttls => connection.can_starttls(),
            Tls::Implicit | Tls::None => false,
        };
        if upgrade {
            connection.starttls(self.tls_parameters.clone(), &self.hello).await.map_err(failed)?;
        }
        if let Some(credentials) = &self.credentials {
            if self.tls == Tls::Starttls && !connection.is_encrypted() {
                return Err(Failure::Lost { why: "no login in the clear: the relay offers no STARTTLS".into() });
            }
            connection.auth(DEFAULT_MECHANISMS, credentials).await.map_err(failed)?;
        }
        Ok(connection)
    }

    async fn transact(&self, mut connection: AsyncSmtpConnection, mail: &Mail, reused: bool) -> Tried {
        let parameters = match mail_parameters(&connection, mail) {
            Ok(parameters) => parameters,
            Err(reason) => {
                self.put_idle(connection);
                return Tried::Done(Outcome::unsendable(reason));
            }
        };
        let from = MailFrom::new(Some(mail.sender.clone()), parameters);
        if let Err(failure) = self.within(self.timeout, connection.command(from)).await {
            if reused && !failure.leaves_connection_usable() {
                return Tried::Stale;
            }
            return self.refused(connection, Stage::Before, &failure).await;
        }
        let to = Rcpt::new(mail.recipient.clone(), Vec::new());
        if let Err(failure) = self.within(self.timeout, connection.command(to)).await {
            return self.refused(connection, Stage::Before, &failure).await;
        }
        match self.within(self.timeout, connection.command(Data)).await {
            Ok(answer) if answer.has_code(354) => {}
            Ok(answer) => {
                // A relay that does not ask for the message must not be sent it: it would read it as commands.
                let failure = Failure::Lost { why: format!("{} in answer to DATA", answer.code()) };
                return Tried::Done(outcome(Stage::Before, &failure));
            }
            Err(failure) => return self.refused(connection, Stage::Before, &failure).await,
        }
        match self.within(self.data_timeout, connection.message(&mail.bytes)).await {
            Ok(answer) => {
                let accepted = accepted(&answer);
                self.put_idle(connection);
                Tried::Done(accepted)
            }
            Err(failure) => self.refused(connection, Stage::Message, &failure).await,
        }
    }

    /// Settles the message and makes the connection ready for the next one if it can be.
    async fn refused(&self, mut connection: AsyncSmtpConnection, stage: Stage, failure: &Failure) -> Tried {
        let outcome = outcome(stage, failure);
        if failure.leaves_connection_usable() && self.within(self.timeout, connection.command(Rset)).await.is_ok() {
            self.put_idle(connection);
        }
        Tried::Done(outcome)
    }

    async fn within<T>(
        &self,
        limit: Duration,
        step: impl Future<Output = Result<T, lettre::transport::smtp::Error>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(limit, step).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(Failure::of(&error)),
            Err(_) => Err(Failure::TimedOut),
        }
    }

    fn take_idle(&self) -> Option<AsyncSmtpConnection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = idle.pop()?;
        if newest.since.elapsed() > IDLE_MAX {
            // The others are older still.
            idle.clear();
            return None;
        }
        Some(newest.connection)
    }

    fn put_idle(&self, connection: AsyncSmtpConnection) {
        let idle = Idle { connection, since: Instant::now() };
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(idle);
    }
}

fn mail_parameters(connection: &AsyncSmtpConnection, mail: &Mail) -> Result<Vec<MailParameter>, String> {
    let is_ascii = |address: &lettre::Address| AsRef::<str>::as_ref(address).is_ascii();
    let mut parameters = Vec::new();
    if !is_ascii(&mail.sender) || !is_ascii(&mail.recipient) {
        if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            return Err("the relay takes no address with letters beyond ASCII (SMTPUTF8)".into());
        }
        parameters.push(MailParameter::SmtpUtfEight);
    }
    if !mail.bytes.is_ascii() {
        if !connection.server_info().supports_feature(Extension::EightBitMime) {
            return Err("the relay takes no message with letters beyond ASCII (8BITMIME)".into());
        }
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    Ok(parameters)
}

fn accepted(answer: &Response) -> Outcome {
    let text = answer.message().collect::<Vec<_>>().join(" ");
    let settlement = match answer.code().severity {
        Severity::PositiveCompletion => Settlement::Accepted { provider_id: queue_id(&text).map(model::Text::from) },
        Severity::PositiveIntermediate
        | Severity::TransientNegativeCompletion
        | Severity::PermanentNegativeCompletion => {
            Settlement::Unknown { reason: brief(&format!("{} in answer to the message", answer.code())).into() }
        }
    };
    Outcome { settlement, peer: Peer::Reached }
}
