//! A group on a thread of its own: collects inputs, runs turns, writes checkpoints beside them, and opens everything
//! anew after a failure.
//!
//! ```text
//!   Handle ──► inbox ──► worker thread: turn, turn, turn … ──► Sink (answers, hand-offs, catalog, status)
//!                              │ once a second                     ▲
//!                              └──► checkpoint thread: Cut::write ─┘ when durable
//! ```

use crate::checkpoint::Cut;
use crate::group::{Counters, Error, Failed, Group, Options};
use crate::input::{Answer, Input, Released, TailItem};
use crate::partition::Stopped;
use crate::recover::Recovered;
use catalog::Catalog;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select};
use engine::control::Control;
use model::{Lsn, PartitionId, Text, Timestamp};
use ports::{HandOff, Log, State};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use template::tracking::Signer;

/// How an answer finds its way back.
pub type Reply = Box<dyn FnOnce(Answer) + Send>;

/// Inputs taken into one turn.
const INPUTS_PER_TURN_MAX: usize = 4_096;
/// Inputs that wait before new ones are refused (E2).
const INBOX_MAX: usize = 16_384;
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// How long an unusable disk is left alone before it is tried again.
const REOPEN_AFTER: Duration = Duration::from_secs(1);

/// What a worker opens, at the start and after every failure.
pub trait Storage: Send {
    type Log: Log + 'static;
    type State: State + 'static;

    /// # Errors
    /// One sentence for the operator.
    fn open(&mut self) -> Result<Opened<Self::Log, Self::State>, String>;

    /// The host's now (O2).
    fn now(&mut self) -> Timestamp;

    /// Called once on a thread whose work can wait for that of the others, before it begins: the host may let it go
    /// behind them.
    fn enter_background() {}
}

pub struct Opened<L, S> {
    pub log: L,
    pub state: Arc<S>,
    /// The installation's secret: keys the directory's hashes.
    pub secret: [u8; 32],
    pub signer: Signer,
}

/// Where what leaves the group goes. Called on the worker's thread: must not block.
pub trait Sink: Send {
    fn hand_off(&mut self, hand_off: HandOff);
    fn catalog(&mut self, catalog: &Arc<Catalog>);
    fn keys(&mut self, control: &Control);
    fn tail(&mut self, items: Vec<TailItem>);
    fn checkpointed(&mut self, lsn: Lsn, now: Timestamp);
    fn status(&mut self, status: Status);
    fn recovered(&mut self, recovered: &Recovered, took: Duration);
}

/// How the group is, as `/readyz` and the metrics tell it.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    Starting,
    Running(Box<Running>),
    /// Nothing can be stored; tried again every second.
    Unavailable {
        why: String,
    },
    Ended,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    pub position: Lsn,
    pub checkpointed: Lsn,
    pub now: Timestamp,
    pub stopped: Vec<(PartitionId, Stopped)>,
    pub timers: usize,
    pub hot_profiles: usize,
    pub waiting_sends: Vec<(Text, usize)>,
    pub counters: Counters,
}

enum Message {
    Input(Input<Reply>),
    Checkpoint,
    /// Told when nothing more will be handed off.
    Drain(Box<dyn FnOnce() + Send>),
    Shutdown,
}

/// Speaks to a worker. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    inbox: Sender<Message>,
    watched: Arc<AtomicBool>,
}

/// The inbox is full or the worker has ended; the input was not taken.
pub enum NotTaken {
    Overloaded(Input<Reply>),
    Ended(Input<Reply>),
}

impl Handle {
    /// Hands an input in; its reply is called on the worker's thread.
    ///
    /// # Errors
    /// [`NotTaken`] with the input, whose reply was not called.
    pub fn submit(&self, input: Input<Reply>) -> Result<(), NotTaken> {
        let taken = |message| match message {
            Message::Input(input) => input,
            Message::Checkpoint | Message::Drain(_) | Message::Shutdown => {
                unreachable!("INVARIANT: what comes back is what was handed in")
            }
        };
        self.inbox.try_send(Message::Input(input)).map_err(|error| match error {
            TrySendError::Full(message) => NotTaken::Overloaded(taken(message)),
            TrySendError::Disconnected(message) => NotTaken::Ended(taken(message)),
        })
    }

    /// What became of a hand-off. Waits for room: a settlement is never dropped while the worker lives.
    pub fn settle(&self, input: Input<Reply>) {
        if self.inbox.send(Message::Input(input)).is_err() {
            tracing::info!("a hand-off was answered after the end; it is `unknown` at the next start");
        }
    }

    /// Whether every event is described to the sink's tail.
    pub fn watch(&self, wanted: bool) {
        self.watched.store(wanted, Ordering::Relaxed);
    }

    /// Begins a checkpoint now. Never waits: with a full inbox the next one is due before this would be read.
    pub fn checkpoint(&self) {
        if self.inbox.try_send(Message::Checkpoint).is_err() {
            tracing::debug!("no checkpoint out of turn: the inbox is full, or the worker has ended");
        }
    }

    /// Before a stop: claims nothing more, so that no send is left half way. `drained` is called when all that was
    /// claimed has been handed off; it still has to be settled.
    pub fn drain(&self, drained: impl FnOnce() + Send + 'static) {
        self.tell(Message::Drain(Box::new(drained)));
    }

    /// Lets the worker take what is in its inbox, checkpoint and end.
    pub fn shut_down(&self) {
        self.tell(Message::Shutdown);
    }

    fn tell(&self, message: Message) {
        if self.inbox.send(message).is_err() {
            tracing::debug!("the worker has ended");
        }
    }
}

pub struct Worker<St: Storage, Sk: Sink> {
    storage: St,
    sink: Sk,
    options: Options,
    inbox: Receiver<Message>,
    watched: Arc<AtomicBool>,
    draining: bool,
}

type GroupOf<St> = Group<<St as Storage>::Log, <St as Storage>::State, Reply>;

/// Why a group is not used any longer.
enum Stop {
    Shutdown,
    Failed(String),
}

impl<St: Storage, Sk: Sink> Worker<St, Sk> {
    pub fn new(storage: St, sink: Sk, options: Options) -> (Self, Handle) {
        let (sender, inbox) = bounded(INBOX_MAX);
        let watched = Arc::new(AtomicBool::new(false));
        let handle = Handle { inbox: sender, watched: Arc::clone(&watched) };
        (Worker { storage, sink, options, inbox, watched, draining: false }, handle)
    }

    /// Runs until it is shut down. `started` is called once, with how the first opening went; after an error there the
    /// worker ends, while later failures are mended by opening anew.
    pub fn run(mut self, started: impl FnOnce(Result<(), String>)) {
        self.sink.status(Status::Starting);
        let mut group = match self.open() {
            Ok(group) => {
                started(Ok(()));
                group
            }
            Err(why) => {
                started(Err(why));
                return;
            }
        };
        loop {
            match self.use_group(&mut group) {
                Stop::Shutdown => break,
                Stop::Failed(why) => {
                    drop(group);
                    tracing::error!(why, "storage failed; nothing is accepted until it can be opened again");
                    match self.reopen(why) {
                        Some(opened) => group = opened,
                        None => break,
                    }
                }
            }
        }
        self.sink.status(Status::Ended);
    }

    fn open(&mut self) -> Result<GroupOf<St>, String> {
        let began = Instant::now();
        let Opened { log, state, secret, signer } = self.storage.open()?;
        let opened = Group::open(log, state, secret, signer, self.options.clone());
        let (mut group, recovered) = opened.map_err(|error: Error| chain(&error))?;
        group.watch(self.watched.load(Ordering::Relaxed));
        group.hold_claims(self.draining);
        self.sink.recovered(&recovered, began.elapsed());
        self.sink.catalog(group.catalog());
        self.sink.keys(group.control());
        self.sink.checkpointed(group.checkpointed(), group.now());
        self.sink.status(running(&group));
        Ok(group)
    }

    /// Tries again until it works, answering everyone that nothing can be stored. None: shut down meanwhile.
    fn reopen(&mut self, mut why: String) -> Option<GroupOf<St>> {
        loop {
            self.sink.status(Status::Unavailable { why: why.clone() });
            let until = Instant::now() + REOPEN_AFTER;
            while let Ok(message) = self.inbox.recv_deadline(until) {
                match message {
                    Message::Input(input) => answer_unavailable(input, &why),
                    Message::Checkpoint => {}
                    Message::Drain(drained) => {
                        self.draining = true;
                        drained();
                    }
                    Message::Shutdown => return None,
                }
            }
            match self.open() {
                Ok(group) => {
                    tracing::info!("storage is back");
                    return Some(group);
                }
                Err(again) => why = again,
            }
        }
    }

    fn use_group(&mut self, group: &mut GroupOf<St>) -> Stop {
        let (cuts, to_write) = bounded::<Cut>(1);
        let (written, results) = bounded::<Result<(), String>>(1);
        let state = Arc::clone(&group.state);
        std::thread::scope(|scope| {
            let spawned = std::thread::Builder::new().name("checkpoint".into()).spawn_scoped(scope, move || {
                St::enter_background();
                for cut in to_write {
                    let result = cut.write(state.as_ref()).map_err(|error| chain(&error));
                    if written.send(result).is_err() {
                        return;
                    }
                }
            });
            if let Err(error) = spawned {
                return Stop::Failed(format!("no thread for checkpoints: {error}"));
            }
            let stop = self.turns(group, &cuts, &results);
            drop(cuts);
            stop
        })
    }

    fn turns(&mut self, group: &mut GroupOf<St>, cuts: &Sender<Cut>, results: &Receiver<Result<(), String>>) -> Stop {
        let mut checkpoint_at = Instant::now() + CHECKPOINT_EVERY;
        let mut shutting_down = false;
        loop {
            let mut inputs = Vec::new();
            let mut wanted = Wanted::default();
            if !self.collect(group, checkpoint_at, results, &mut inputs, &mut wanted) {
                return Stop::Shutdown;
            }
            shutting_down |= wanted.shutdown;
            if let Some(result) = wanted.checkpointed {
                if let Err(why) = result {
                    inputs.into_iter().for_each(|input| answer_unavailable(input, &why));
                    return Stop::Failed(why);
                }
                group.finish_checkpoint();
                self.sink.checkpointed(group.checkpointed(), group.now());
            }
            group.hold_claims(self.draining);
            let now = self.storage.now();
            if !inputs.is_empty() || group.has_work(now) {
                group.watch(self.watched.load(Ordering::Relaxed));
                match group.turn(now, inputs) {
                    Ok(released) => self.release(group, released),
                    Err(failed) => return Stop::Failed(fail(failed)),
                }
            }
            wanted.drained.into_iter().for_each(|drained| drained());
            if wanted.checkpoint || Instant::now() >= checkpoint_at {
                checkpoint_at = Instant::now() + CHECKPOINT_EVERY;
                self.sink.status(running(group));
                if let Some(cut) = group.begin_checkpoint()
                    && cuts.send(cut).is_err()
                {
                    return Stop::Failed("the checkpoint thread ended".to_owned());
                }
            }
            if shutting_down && self.inbox.is_empty() {
                return self.last_checkpoint(group, cuts, results);
            }
        }
    }

    /// Waits for something to do, then takes all there is. False when nobody can hand in anything any more.
    fn collect(
        &mut self,
        group: &GroupOf<St>,
        checkpoint_at: Instant,
        results: &Receiver<Result<(), String>>,
        inputs: &mut Vec<Input<Reply>>,
        wanted: &mut Wanted,
    ) -> bool {
        let now = self.storage.now();
        let mut timeout = checkpoint_at.saturating_duration_since(Instant::now());
        if group.has_work(now) {
            timeout = Duration::ZERO;
        } else if let Some(at) = group.next_timer_at() {
            timeout = timeout.min(Duration::from_millis(u64::try_from(at.ms_since(now)).unwrap_or(0)));
        }
        let mut items = 0;
        let first = select! {
            recv(self.inbox) -> message => message.ok(),
            recv(results) -> result => {
                wanted.checkpointed = result.ok();
                return true;
            }
            default(timeout) => return true,
        };
        let Some(first) = first else { return false };
        self.take(first, inputs, wanted, &mut items);
        while items < INPUTS_PER_TURN_MAX {
            let Ok(message) = self.inbox.try_recv() else { break };
            self.take(message, inputs, wanted, &mut items);
        }
        wanted.checkpointed = results.try_recv().ok();
        true
    }

    fn take(&mut self, message: Message, inputs: &mut Vec<Input<Reply>>, wanted: &mut Wanted, items: &mut usize) {
        match message {
            Message::Input(input) => {
                *items += match &input {
                    Input::Submit { items, .. } => items.len(),
                    Input::Interaction { .. } | Input::Settled { .. } | Input::Control { .. } | Input::Read { .. } => 1,
                };
                inputs.push(input);
            }
            Message::Checkpoint => wanted.checkpoint = true,
            Message::Drain(drained) => {
                self.draining = true;
                wanted.drained.push(drained);
            }
            Message::Shutdown => wanted.shutdown = true,
        }
    }

    fn release(&mut self, group: &GroupOf<St>, released: Released<Reply>) {
        let Released { answers, hand_offs, tail, catalog, keys_changed } = released;
        // Whoever is told of a new key or catalog finds it in force.
        if let Some(catalog) = catalog {
            self.sink.catalog(&catalog);
        }
        if keys_changed {
            self.sink.keys(group.control());
        }
        for (reply, answer) in answers {
            reply(answer);
        }
        for hand_off in hand_offs {
            self.sink.hand_off(hand_off);
        }
        if !tail.is_empty() {
            self.sink.tail(tail);
        }
    }

    /// A clean stop checkpoints, so that an upgrade replays nothing (design §2.5).
    fn last_checkpoint(
        &mut self,
        group: &mut GroupOf<St>,
        cuts: &Sender<Cut>,
        results: &Receiver<Result<(), String>>,
    ) -> Stop {
        for _ in 0..2 {
            if group.checkpoint.is_none() {
                let Some(cut) = group.begin_checkpoint() else { break };
                if cuts.send(cut).is_err() {
                    break;
                }
            }
            match results.recv() {
                Ok(Ok(())) => group.finish_checkpoint(),
                Ok(Err(why)) => {
                    tracing::error!(
                        why,
                        "the last checkpoint failed; the log has everything, the next start replays it"
                    );
                    break;
                }
                Err(_) => break,
            }
        }
        self.sink.checkpointed(group.checkpointed(), group.now());
        Stop::Shutdown
    }
}

#[derive(Default)]
struct Wanted {
    checkpoint: bool,
    shutdown: bool,
    checkpointed: Option<Result<(), String>>,
    drained: Vec<Box<dyn FnOnce() + Send>>,
}

fn running<L: Log, S: State + ?Sized, T>(group: &Group<L, S, T>) -> Status {
    Status::Running(Box::new(Running {
        position: group.position(),
        checkpointed: group.checkpointed(),
        now: group.now(),
        stopped: group.stopped().map(|(id, stopped)| (id, stopped.clone())).collect(),
        timers: group.timers(),
        hot_profiles: group.hot_profiles(),
        waiting_sends: group.waiting_sends().map(|(channel, count)| (channel.clone(), count)).collect(),
        counters: group.counters().clone(),
    }))
}

/// Answers everyone whose input was in the failed turn.
fn fail(failed: Failed<Reply>) -> String {
    let Failed { error, tickets } = failed;
    let why = chain(&error);
    for reply in tickets {
        reply(Answer::Unavailable { why: why.clone() });
    }
    why
}

fn answer_unavailable(input: Input<Reply>, why: &str) {
    match input {
        Input::Submit { ticket, .. }
        | Input::Interaction { ticket, .. }
        | Input::Control { ticket, .. }
        | Input::Read { ticket, .. } => ticket(Answer::Unavailable { why: why.to_owned() }),
        // The row stays claimed in the outbox; opening anew finds it and says `unknown`.
        Input::Settled { .. } => {}
    }
}

/// An error with its sources, as one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}
