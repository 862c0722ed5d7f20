//! Takes hand-offs from the processor, runs them with a bound per channel, and reports what became of each.

use crate::circuit::{Change, Circuits, Moment, Open, Pass};
use crate::email::{Email, OnUnknown};
use crate::mailbox::Mailbox;
use crate::outcome::Outcome;
use crate::telemetry::{CircuitClosed, CircuitOpened, HandedOff};
use crate::webhook::Webhook;
use crate::{Config, Error};
use model::message::Channel as ChannelName;
use model::send::Settlement;
use model::{EffectId, ProfileId, Text};
use ports::channel::{Channel, HandOff};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

/// Where settlements go. Called on a thread of its own, one after the other; it may wait for room.
pub type Settled = Arc<dyn Fn(ProfileId, EffectId, Settlement) + Send + Sync>;

/// Hand-offs of a captured channel under way at once: capturing takes no time.
const CAPTURED_IN_FLIGHT_MAX: usize = 10_000;

/// All channels. Cheap to clone; every clone hands off to the same peers within the same bounds.
#[derive(Clone)]
pub struct Channels {
    shared: Arc<Shared>,
}

/// How the processor is to treat a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// Hand-offs that may be under way at once.
    pub in_flight_max: usize,
    /// Whether a hand-off whose outcome was lost is tried again: its receiver knows the idempotency key, or the
    /// operator wants it so (S5).
    pub retry_unknown: bool,
}

/// How a channel fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// What is handed off is tried.
    Working,
    /// Hand-offs to these peers are deferred without being tried. E-mail has the relay as its one peer; a webhook's
    /// receivers have a circuit each, and one that is open says nothing of the others.
    Open(Vec<Open>),
}

struct Shared {
    lanes: BTreeMap<Text, Arc<Lane>>,
    mailbox: Option<Arc<Mailbox>>,
    runtime: Handle,
    answers: mpsc::Sender<Answer>,
    /// Hand-offs that are not settled yet.
    in_flight: Arc<watch::Sender<usize>>,
}

struct Lane {
    name: &'static str,
    sender: Sender,
    configured: Configured,
    permits: Arc<Semaphore>,
    permits_max: usize,
    circuits: Mutex<Circuits>,
}

enum Sender {
    Email(Box<Email>),
    Webhook(Webhook),
}

struct Answer {
    profile: ProfileId,
    effect: EffectId,
    settlement: Settlement,
}

/// A hand-off that owes a settlement. Dropped without one, by a panic or the end of the runtime, it says what is true.
struct Debt {
    profile: ProfileId,
    effect: EffectId,
    state: DebtState,
    answers: mpsc::Sender<Answer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DebtState {
    Waiting,
    Tried,
    Paid,
}

impl Channels {
    /// With a `mailbox`, channels that are not configured are captured by it and accept. Hand-offs run on `runtime`.
    ///
    /// # Errors
    /// What in the configuration cannot work.
    pub fn new(
        config: &Config,
        mailbox: Option<Arc<Mailbox>>,
        runtime: Handle,
        settled: Settled,
    ) -> Result<Self, Error> {
        let mut lanes = BTreeMap::new();
        if let Some(email) = &config.email {
            let configured = Configured {
                // Twice what is sent at once, so that the next are at hand when one is answered.
                in_flight_max: email.connections_max.max(1) * 2,
                retry_unknown: email.on_unknown == OnUnknown::Retry,
            };
            let sender = Sender::Email(Box::new(Email::new(email)?));
            lanes.insert("email".into(), Lane::new("email", sender, configured, email.connections_max));
        }
        if let Some(webhook) = &config.webhook {
            let configured = Configured { in_flight_max: webhook.connections_max.max(1) * 2, retry_unknown: true };
            let sender = Sender::Webhook(Webhook::new(webhook)?);
            lanes.insert("webhook".into(), Lane::new("webhook", sender, configured, webhook.connections_max));
        }
        let in_flight = Arc::new(watch::Sender::new(0));
        let answers = start_reporting(settled, Arc::clone(&in_flight))?;
        Ok(Channels { shared: Arc::new(Shared { lanes, mailbox, runtime, answers, in_flight }) })
    }

    /// The channels that take hand-offs; the others are `no_channel`.
    pub fn configured(&self) -> BTreeMap<Text, Configured> {
        let mut configured: BTreeMap<Text, Configured> =
            self.shared.lanes.iter().map(|(name, lane)| (name.clone(), lane.configured.clone())).collect();
        if self.shared.mailbox.is_some() {
            for channel in ChannelName::ALL {
                configured
                    .entry(channel.as_str().into())
                    .or_insert(Configured { in_flight_max: CAPTURED_IN_FLIGHT_MAX, retry_unknown: true });
            }
        }
        configured
    }

    /// How each channel fares, for `/readyz` and the UI.
    pub fn health(&self) -> BTreeMap<Text, Health> {
        let health = |name: &Text| match self.shared.lanes.get(name).map(|lane| lane.circuits().open()) {
            Some(open) if !open.is_empty() => Health::Open(open),
            Some(_) | None => Health::Working,
        };
        self.configured().keys().map(|name| (name.clone(), health(name))).collect()
    }

    /// Waits until every hand-off is settled and reported: before a clean stop, so that nothing is left `unknown`.
    pub async fn idle(&self) {
        self.down_to(|| 0).await;
    }

    /// As [`idle`](Self::idle), but at most for `patience`. Then hand-offs that were not begun are put back, and how
    /// many still wait for the other side's answer is said: those the next start shows as `unknown`.
    pub async fn drain(&self, patience: Duration) -> usize {
        if tokio::time::timeout(patience, self.idle()).await.is_ok() {
            return 0;
        }
        self.shared.lanes.values().for_each(|lane| lane.permits.close());
        let begun = || self.shared.lanes.values().map(|lane| lane.begun()).sum();
        // Nobody outside is waited for any more, only our own threads.
        if tokio::time::timeout(Duration::from_secs(1), self.down_to(begun)).await.is_err() {
            tracing::warn!("some hand-offs could not be put back; the next start shows them as unknown");
        }
        *self.shared.in_flight.borrow()
    }

    async fn down_to(&self, left: impl Fn() -> usize) {
        let mut in_flight = self.shared.in_flight.subscribe();
        in_flight.wait_for(|count| *count <= left()).await.expect("INVARIANT: the sender lives as long as self");
    }
}

impl Channel for Channels {
    fn hand_off(&mut self, hand_off: HandOff) {
        let Shared { lanes, mailbox, runtime, answers, in_flight } = self.shared.as_ref();
        in_flight.send_modify(|count| *count += 1);
        let debt = Debt {
            profile: hand_off.profile,
            effect: hand_off.effect,
            state: DebtState::Waiting,
            answers: answers.clone(),
        };
        if let Some(lane) = lanes.get(&hand_off.rendered.channel) {
            runtime.spawn(Arc::clone(lane).run(hand_off, debt));
            return;
        }
        let settlement = match mailbox {
            Some(mailbox) => {
                mailbox.capture(crate::wall_clock(), hand_off);
                Settlement::Accepted { provider_id: None }
            }
            None => Settlement::Rejected { reason: "no_channel".into() },
        };
        debt.pay(settlement);
    }
}

impl Lane {
    fn new(name: &'static str, sender: Sender, configured: Configured, connections_max: usize) -> Arc<Self> {
        let permits = connections_max.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Lane {
            name,
            sender,
            configured,
            permits: Arc::new(Semaphore::new(permits)),
            permits_max: permits,
            circuits: Mutex::new(Circuits::default()),
        })
    }

    async fn run(self: Arc<Self>, hand_off: HandOff, mut debt: Debt) {
        let Ok(permit) = self.permits.acquire().await else {
            debt.pay(Settlement::NotTried { reason: "the server was stopped first".into(), retry_after_ms: None });
            return;
        };
        let started = tokio::time::Instant::now();
        debt.state = DebtState::Tried;
        let settlement = self.attempt(&hand_off).await;
        drop(permit);
        let (channel, effect, took) = (self.name, hand_off.effect, started.elapsed());
        HandedOff { channel, effect, settlement: &settlement, took }.emit();
        debt.pay(settlement);
    }

    /// Hand-offs that the other side may have heard of.
    fn begun(&self) -> usize {
        self.permits_max - self.permits.available_permits()
    }

    async fn attempt(&self, hand_off: &HandOff) -> Settlement {
        let peer = match &self.sender {
            Sender::Email(email) => email.peer().to_owned(),
            Sender::Webhook(webhook) => webhook.peer(hand_off),
        };
        let pass = self.circuits().enter(&peer, Moment::now());
        if let Pass::Refused { reason, retry_after } = pass {
            let retry_after_ms = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
            let reason = format!("circuit_open: {reason}").into();
            return Settlement::NotTried { reason, retry_after_ms: Some(retry_after_ms) };
        }
        let Outcome { settlement, peer: said } = match &self.sender {
            Sender::Email(email) => email.hand_off(hand_off).await,
            Sender::Webhook(webhook) => webhook.hand_off(hand_off).await,
        };
        let whom = match &self.sender {
            Sender::Email(_) => hand_off.rendered.address.to_string(),
            // Everyone's calls may go to one address.
            Sender::Webhook(_) => hand_off.effect.to_string(),
        };
        let change = self.circuits().leave(&peer, &pass, &whom, &said, Moment::now());
        match change {
            Change::None => {}
            Change::Opened(open) => CircuitOpened { channel: self.name, open: &open }.emit(),
            Change::Closed => CircuitClosed { channel: self.name, peer: &peer }.emit(),
        }
        match settlement {
            Settlement::Unknown { reason } if self.configured.retry_unknown => {
                Settlement::Deferred { reason, retry_after_ms: None }
            }
            Settlement::Accepted { .. }
            | Settlement::Rejected { .. }
            | Settlement::Deferred { .. }
            | Settlement::NotTried { .. }
            | Settlement::Unknown { .. } => settlement,
        }
    }

    fn circuits(&self) -> MutexGuard<'_, Circuits> {
        self.circuits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Debt {
    fn pay(mut self, settlement: Settlement) {
        self.report(settlement);
    }

    fn report(&mut self, settlement: Settlement) {
        self.state = DebtState::Paid;
        let (profile, effect) = (self.profile, self.effect);
        if self.answers.send(Answer { profile, effect, settlement }).is_err() {
            tracing::error!(%effect, "the thread for settlements is gone; the send stays unsettled until the next start");
        }
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        let reason = Text::from("the hand-off was cut off");
        match self.state {
            DebtState::Waiting => self.report(Settlement::NotTried { reason, retry_after_ms: None }),
            DebtState::Tried => self.report(Settlement::Unknown { reason }),
            DebtState::Paid => {}
        }
    }
}

/// A thread for the callback, which may wait for a processor that is itself handing off: neither the processor's thread
/// nor the runtime's may do that. It ends with the last sender.
fn start_reporting(settled: Settled, in_flight: Arc<watch::Sender<usize>>) -> Result<mpsc::Sender<Answer>, Error> {
    let (sender, receiver) = mpsc::channel::<Answer>();
    let report = move || {
        for Answer { profile, effect, settlement } in receiver {
            settled(profile, effect, settlement);
            in_flight.send_modify(|count| *count -= 1);
        }
    };
    std::thread::Builder::new().name("settlements".into()).spawn(report).map_err(Error::Thread)?;
    Ok(sender)
}
