//! A group on a thread of its own: collects inputs, runs turns, writes checkpoints beside them, and opens everything
//! anew after a failure.
//!
//! ```text
//!   Handle ──► inbox ──► worker thread: turn, turn, turn … ──► Sink (answers, hand-offs, catalog, status)
//!                              │ once a second                     ▲
//!                              └──► checkpoint thread: Cut::write ─┘ when durable
//! ```
//!
//! What can go wrong, and what is done:
//!
//! | what                            | inputs                | the group                              |
//! |---------------------------------|-----------------------|----------------------------------------|
//! | the disk is full                | 503, reads go on      | stays; room is looked for every second |
//! | a write, sync or read failed    | 503                   | opened anew until that works           |
//! | the checkpoint thread ended     | 503                   | opened anew                            |
//! | a panic that no partition means | refused: it has ended | the thread ends, and the process       |
//!
//! What providers answer is kept through all but the last: see [`Answers`].

use crate::checkpoint::Cut;
use crate::group::{After, Counters, Error, FRAME_BYTES_MAX, Failed, Group, Options, panic_text};
use crate::input::{Answer, Input, Released, TailItem};
use crate::partition::Stopped;
use crate::recover::{Known, Recovered};
use catalog::Catalog;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select};
use engine::control::Control;
use model::send::Settlement;
use model::{EffectId, Lsn, PartitionId, ProfileId, Text, Timestamp};
use ports::{HandOff, Log, State};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use template::tracking::Signer;

/// How an answer finds its way back.
pub type Reply = Box<dyn FnOnce(Answer) + Send>;

/// Inputs taken into one turn.
const INPUTS_PER_TURN_MAX: usize = 4_096;
/// Inputs that wait before new ones are refused (E2).
const INBOX_MAX: usize = 16_384;
/// Bytes that wait before new inputs are refused (E2).
const INBOX_BYTES_MAX: usize = 256 << 20;
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// How long an unusable or full disk is left alone before it is tried again.
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
    /// The storage is to be opened anew: whoever reads beside the worker lets go of it.
    fn closed(&mut self);
    fn checkpointed(&mut self, lsn: Lsn, now: Timestamp);
    fn status(&mut self, status: Status);
    fn recovered(&mut self, recovered: &Recovered, took: Duration);
}

/// How the group is, as `/readyz` and the metrics tell it.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    Starting,
    Running(Box<Running>),
    /// Nothing can be stored; tried again every second. Or the worker has broken down, as it says then.
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
    /// The smallest age up to which every duplicate is found (E3).
    pub dedup_window_held_ms: i64,
    pub waiting_sends: Vec<(Text, usize)>,
    pub counters: Counters,
}

enum Message {
    /// With its approximate size.
    Input(Input<Reply>, usize),
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
    waiting_bytes: Arc<AtomicUsize>,
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
            Message::Input(input, bytes) => {
                self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
                input
            }
            Message::Checkpoint | Message::Drain(_) | Message::Shutdown => {
                unreachable!("INVARIANT: what comes back is what was handed in")
            }
        };
        let bytes = input.approximate_bytes();
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        // One that is alone is always taken, whatever its size: the door bounds that.
        if waiting > 0 && waiting + bytes > INBOX_BYTES_MAX {
            return Err(NotTaken::Overloaded(taken(Message::Input(input, bytes))));
        }
        self.inbox.try_send(Message::Input(input, bytes)).map_err(|error| match error {
            TrySendError::Full(message) => NotTaken::Overloaded(taken(message)),
            TrySendError::Disconnected(message) => NotTaken::Ended(taken(message)),
        })
    }

    /// What became of a hand-off. Waits for room: a settlement is never dropped while the worker lives.
    pub fn settle(&self, input: Input<Reply>) {
        if self.inbox.send(Message::Input(input, 0)).is_err() {
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
    waiting_bytes: Arc<AtomicUsize>,
    draining: bool,
    shutting_down: bool,
    answers: Answers,
}

/// What this process knows of its hand-offs, so that no failure of storage makes an answer unknown that is known or
/// still to come (S5).
#[derive(Debug, Default)]
struct Answers {
    /// Handed off and not settled durably; with the answer once it came.
    under_way: BTreeMap<EffectId, Option<(ProfileId, Settlement)>>,
    /// Claimed in a turn that failed, so that nobody handed them off.
    withheld: BTreeSet<EffectId>,
}

impl Answers {
    fn came(&mut self, profile: ProfileId, effect: EffectId, settlement: Settlement) {
        self.under_way.insert(effect, Some((profile, settlement)));
    }

    /// Gives every answer that is not stored.
    fn again(&self) -> Vec<Input<Reply>> {
        let came = self.under_way.iter().filter_map(|(effect, answer)| Some((*effect, answer.as_ref()?)));
        came.map(|(effect, (profile, settlement))| {
            let (profile, settlement) = (*profile, settlement.clone());
            Input::Settled { profile, effect, settlement }
        })
        .collect()
    }

    fn known(&self) -> Known {
        Known { under_way: self.under_way.keys().copied().collect(), withheld: self.withheld.clone() }
    }
}

type GroupOf<St> = Group<<St as Storage>::Log, <St as Storage>::State, Reply>;

/// Why a group is not used any longer.
enum Stop {
    Shutdown,
    Failed(String),
}

/// There is no room to store anything.
struct Full {
    why: String,
    look_again_at: Instant,
}

impl<St: Storage, Sk: Sink> Worker<St, Sk> {
    pub fn new(storage: St, sink: Sk, options: Options) -> (Self, Handle) {
        let (sender, inbox) = bounded(INBOX_MAX);
        let waiting_bytes: Arc<AtomicUsize> = Arc::default();
        let watched = Arc::new(AtomicBool::new(false));
        let handle = Handle { inbox: sender, watched: Arc::clone(&watched), waiting_bytes: Arc::clone(&waiting_bytes) };
        let worker = Worker {
            storage,
            sink,
            options,
            inbox,
            waiting_bytes,
            watched,
            draining: false,
            shutting_down: false,
            answers: Answers::default(),
        };
        (worker, handle)
    }

    /// Runs until it is shut down. `started` is called once, with how the first opening went; after an error there the
    /// worker ends, while later failures are mended by opening anew.
    ///
    /// # Panics
    /// When an invariant is broken that is no partition's own. The status says so before the panic goes on: who runs
    /// the worker ends the process.
    pub fn run(mut self, started: impl FnOnce(Result<(), String>)) {
        let ran = catch_unwind(AssertUnwindSafe(|| self.run_until_told(started)));
        match ran {
            Ok(()) => self.sink.status(Status::Ended),
            Err(panic) => {
                let why = format!("the worker broke down: {}; the log has everything", panic_text(panic.as_ref()));
                tracing::error!(why);
                self.sink.status(Status::Unavailable { why });
                resume_unwind(panic);
            }
        }
    }

    fn run_until_told(&mut self, started: impl FnOnce(Result<(), String>)) {
        self.sink.status(Status::Starting);
        let opened = self.open().and_then(|mut group| match group.room() {
            Ok(()) => Ok(group),
            Err(error) => Err(chain(&error)),
        });
        let mut group = match opened {
            Ok(group) => {
                self.tell_status(&group, None);
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
                Stop::Shutdown => return,
                Stop::Failed(why) => {
                    drop(group);
                    tracing::error!(why, "storage failed; nothing is accepted until it can be opened again");
                    match self.reopen(why) {
                        Some(opened) => group = opened,
                        None => return,
                    }
                }
            }
        }
    }

    fn open(&mut self) -> Result<GroupOf<St>, String> {
        let began = Instant::now();
        let Opened { log, state, secret, signer } = self.storage.open()?;
        let known = self.answers.known();
        let opened = Group::reopen(log, state, secret, signer, self.options.clone(), &known);
        let (mut group, recovered) = opened.map_err(|error: Error| chain(&error))?;
        // From now on their rows say it.
        self.answers.withheld.clear();
        group.watch(self.watched.load(Ordering::Relaxed));
        group.hold_claims(self.draining);
        self.sink.recovered(&recovered, began.elapsed());
        self.sink.catalog(group.catalog());
        self.sink.keys(group.control());
        self.sink.checkpointed(group.checkpointed(), group.now());
        Ok(group)
    }

    /// Tries again until it works, answering everyone that nothing can be stored. None: shut down meanwhile.
    fn reopen(&mut self, mut why: String) -> Option<GroupOf<St>> {
        self.sink.closed();
        loop {
            self.sink.status(Status::Unavailable { why: why.clone() });
            let until = Instant::now() + REOPEN_AFTER;
            while !self.shutting_down {
                let Ok(message) = self.inbox.recv_deadline(until) else { break };
                match message {
                    Message::Input(input, bytes) => {
                        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
                        self.note_answer(&input);
                        answer_unavailable(input, &why);
                    }
                    Message::Checkpoint => {}
                    Message::Drain(drained) => {
                        self.draining = true;
                        drained();
                    }
                    Message::Shutdown => self.shutting_down = true,
                }
            }
            if self.shutting_down {
                return None;
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
        let state = Arc::clone(&group.state);
        std::thread::scope(|scope| {
            // NOTE: made in here, so that a panic drops them and the thread that waits for cuts ends.
            let (cuts, to_write) = bounded::<Cut>(1);
            let (written, results) = bounded::<Result<(), String>>(1);
            let spawned = std::thread::Builder::new().name("checkpoint".into()).spawn_scoped(scope, move || {
                St::enter_background();
                for cut in to_write {
                    let result = cut.write(state.as_ref()).map_err(|error| chain(&error));
                    if written.send(result).is_err() {
                        return;
                    }
                }
            });
            let writer = match spawned {
                Ok(writer) => writer,
                Err(error) => return Stop::Failed(format!("no thread for checkpoints: {error}")),
            };
            let stop = self.turns(group, &cuts, &results);
            drop((cuts, results));
            match (writer.join(), stop) {
                (Err(panic), Stop::Failed(_)) => {
                    Stop::Failed(format!("the checkpoint thread ended: {}", panic_text(panic.as_ref())))
                }
                (_, stop) => stop,
            }
        })
    }

    fn turns(&mut self, group: &mut GroupOf<St>, cuts: &Sender<Cut>, results: &Receiver<Result<(), String>>) -> Stop {
        let mut checkpoint_at = Instant::now() + CHECKPOINT_EVERY;
        let mut full = match self.look_for_room(group) {
            Ok(full) => full,
            Err(why) => return Stop::Failed(why),
        };
        self.tell_status(group, full.as_ref());
        // Answers that came while nothing could be stored; given again, and before all else, once it can.
        let mut again = self.answers.again();
        loop {
            let mut inputs = Vec::new();
            let mut wanted = Wanted::default();
            if full.is_none() && !again.is_empty() {
                inputs = std::mem::take(&mut again);
            } else if !self.collect(group, checkpoint_at, full.as_ref(), results, &mut inputs, &mut wanted) {
                return Stop::Shutdown;
            }
            inputs.iter().for_each(|input| self.note_answer(input));
            if let Some(result) = wanted.checkpointed {
                if let Err(why) = result {
                    inputs.into_iter().for_each(|input| answer_unavailable(input, &why));
                    return Stop::Failed(why);
                }
                group.finish_checkpoint();
                self.sink.checkpointed(group.checkpointed(), group.now());
            }
            if full.as_ref().is_some_and(|full| Instant::now() >= full.look_again_at) {
                full = match self.look_for_room(group) {
                    Ok(full) => full,
                    Err(why) => {
                        inputs.into_iter().for_each(|input| answer_unavailable(input, &why));
                        return Stop::Failed(why);
                    }
                };
                if full.is_none() {
                    tracing::info!("there is room again");
                    again = self.answers.again();
                }
                self.tell_status(group, full.as_ref());
            }
            group.hold_claims(self.draining);
            let taken = match &full {
                Some(full) => self.only_read(group, inputs, &full.why),
                None => self.turn(group, inputs, &mut full),
            };
            if let Err(why) = taken {
                return Stop::Failed(why);
            }
            wanted.drained.into_iter().for_each(|drained| drained());
            if wanted.checkpoint || Instant::now() >= checkpoint_at {
                checkpoint_at = Instant::now() + CHECKPOINT_EVERY;
                self.tell_status(group, full.as_ref());
                if let Some(cut) = group.begin_checkpoint()
                    && cuts.send(cut).is_err()
                {
                    return Stop::Failed("the checkpoint thread ended".to_owned());
                }
            }
            if self.shutting_down && self.inbox.is_empty() {
                return self.last_checkpoint(group, cuts, results);
            }
        }
    }

    /// One turn, if there is something to do.
    fn turn(
        &mut self,
        group: &mut GroupOf<St>,
        inputs: Vec<Input<Reply>>,
        full: &mut Option<Full>,
    ) -> Result<(), String> {
        let now = self.storage.now();
        if inputs.is_empty() && !group.has_work(now) {
            return Ok(());
        }
        let settled: Vec<EffectId> = inputs.iter().filter_map(settled_effect).collect();
        group.watch(self.watched.load(Ordering::Relaxed));
        match group.turn(now, inputs) {
            Ok(released) => {
                settled.iter().for_each(|effect| drop(self.answers.under_way.remove(effect)));
                self.release(group, released);
                Ok(())
            }
            Err(failed) => {
                let Failed { error, tickets, group: left, withheld } = failed;
                let why = chain(&error);
                for reply in tickets {
                    reply(Answer::Unavailable { why: why.clone() });
                }
                self.answers.withheld.extend(withheld);
                match left {
                    After::Unusable => Err(why),
                    After::Unchanged => {
                        tracing::error!(why, "nothing is accepted until there is room");
                        *full = Some(Full { why, look_again_at: Instant::now() + REOPEN_AFTER });
                        self.tell_status(group, full.as_ref());
                        Ok(())
                    }
                }
            }
        }
    }

    /// While the disk is full: reads are answered, answers of providers are kept, all else is sent away.
    fn only_read(&mut self, group: &mut GroupOf<St>, inputs: Vec<Input<Reply>>, why: &str) -> Result<(), String> {
        let mut failed = None;
        for input in inputs {
            match input {
                Input::Read { who, ticket } if failed.is_none() => match group.read(&who) {
                    Ok(answer) => ticket(answer),
                    Err(error) => {
                        let why = chain(&error);
                        ticket(Answer::Unavailable { why: why.clone() });
                        failed = Some(why);
                    }
                },
                Input::Read { .. }
                | Input::Submit { .. }
                | Input::Interaction { .. }
                | Input::Control { .. }
                | Input::Settled { .. } => answer_unavailable(input, why),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn look_for_room(&mut self, group: &mut GroupOf<St>) -> Result<Option<Full>, String> {
        match group.room() {
            Ok(()) => Ok(None),
            Err(error @ Error::Log(ports::log::Error::Full { .. })) => {
                Ok(Some(Full { why: chain(&error), look_again_at: Instant::now() + REOPEN_AFTER }))
            }
            Err(error) => Err(chain(&error)),
        }
    }

    fn tell_status(&mut self, group: &GroupOf<St>, full: Option<&Full>) {
        self.sink.status(match full {
            Some(Full { why, .. }) => Status::Unavailable { why: why.clone() },
            None => running(group),
        });
    }

    fn note_answer(&mut self, input: &Input<Reply>) {
        if let Input::Settled { profile, effect, settlement } = input {
            self.answers.came(*profile, *effect, settlement.clone());
        }
    }

    /// Waits for something to do, then takes all there is. False when nobody can hand in anything any more.
    fn collect(
        &mut self,
        group: &GroupOf<St>,
        checkpoint_at: Instant,
        full: Option<&Full>,
        results: &Receiver<Result<(), String>>,
        inputs: &mut Vec<Input<Reply>>,
        wanted: &mut Wanted,
    ) -> bool {
        let now = self.storage.now();
        let mut timeout = checkpoint_at.saturating_duration_since(Instant::now());
        if let Some(full) = full {
            timeout = timeout.min(full.look_again_at.saturating_duration_since(Instant::now()));
        } else if group.has_work(now) {
            timeout = Duration::ZERO;
        } else if let Some(at) = group.next_timer_at() {
            timeout = timeout.min(Duration::from_millis(u64::try_from(at.ms_since(now)).unwrap_or(0)));
        }
        let first = select! {
            recv(self.inbox) -> message => message.ok(),
            recv(results) -> result => {
                wanted.checkpointed = Some(result.unwrap_or_else(|_| Err("the checkpoint thread ended".to_owned())));
                return true;
            }
            default(timeout) => return true,
        };
        let Some(first) = first else { return false };
        let mut size = TurnSize::default();
        self.take(first, inputs, wanted, &mut size);
        while size.items < INPUTS_PER_TURN_MAX && size.bytes < FRAME_BYTES_MAX {
            let Ok(message) = self.inbox.try_recv() else { break };
            self.take(message, inputs, wanted, &mut size);
        }
        wanted.checkpointed = results.try_recv().ok();
        true
    }

    fn take(&mut self, message: Message, inputs: &mut Vec<Input<Reply>>, wanted: &mut Wanted, size: &mut TurnSize) {
        match message {
            Message::Input(input, bytes) => {
                self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
                size.bytes += bytes;
                size.items += match &input {
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
            Message::Shutdown => self.shutting_down = true,
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
            self.answers.under_way.insert(hand_off.effect, None);
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
    checkpointed: Option<Result<(), String>>,
    drained: Vec<Box<dyn FnOnce() + Send>>,
}

/// How much a turn takes in.
#[derive(Default)]
struct TurnSize {
    items: usize,
    bytes: usize,
}

fn running<L: Log, S: State + ?Sized, T>(group: &Group<L, S, T>) -> Status {
    Status::Running(Box::new(Running {
        position: group.position(),
        checkpointed: group.checkpointed(),
        now: group.now(),
        stopped: group.stopped().map(|(id, stopped)| (id, stopped.clone())).collect(),
        timers: group.timers(),
        hot_profiles: group.hot_profiles(),
        dedup_window_held_ms: group.dedup_window_held_ms(),
        waiting_sends: group.waiting_sends().map(|(channel, count)| (channel.clone(), count)).collect(),
        counters: group.counters().clone(),
    }))
}

fn settled_effect(input: &Input<Reply>) -> Option<EffectId> {
    match input {
        Input::Settled { effect, .. } => Some(*effect),
        Input::Submit { .. } | Input::Interaction { .. } | Input::Control { .. } | Input::Read { .. } => None,
    }
}

fn answer_unavailable(input: Input<Reply>, why: &str) {
    match input {
        Input::Submit { ticket, .. }
        | Input::Interaction { ticket, .. }
        | Input::Control { ticket, .. }
        | Input::Read { ticket, .. } => ticket(Answer::Unavailable { why: why.to_owned() }),
        // Kept among the answers, and given again.
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
