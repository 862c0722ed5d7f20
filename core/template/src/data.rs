//! What a template reads from: roots by name, borrowed from wherever they live.

use model::{Attributes, Timestamp, Value};

/// What a template is rendered with. Everything is borrowed; only what is printed is copied.
pub trait Data {
    /// The root `name`: `profile`, `event`, `trigger`, `record`, `steps` …
    fn root(&self, name: &str) -> Option<DataRef<'_>>;

    /// What `"now"` means in this rendering: the stamp of the log record (E12).
    fn now(&self) -> Timestamp;
}

/// Something a template can reach.
#[derive(Clone, Copy)]
pub enum DataRef<'a> {
    Value(&'a Value),
    Attributes(&'a Attributes),
    /// Members by name, such as `trigger`, whose members are the attributes of the last event of each trigger.
    /// It can be gone into and asked for in an `if`, and prints as nothing.
    Group(&'a dyn Group),
}

pub trait Group {
    fn member(&self, name: &str) -> Option<DataRef<'_>>;
}

impl Group for Attributes {
    fn member(&self, name: &str) -> Option<DataRef<'_>> {
        self.get(name).map(DataRef::Value)
    }
}

/// Data made of a few roots, for tests, previews and hosts without a type of their own.
pub struct Roots<'a> {
    now: Timestamp,
    roots: Vec<(&'a str, DataRef<'a>)>,
}

impl<'a> Roots<'a> {
    pub fn new(now: Timestamp) -> Self {
        Roots { now, roots: Vec::new() }
    }

    #[must_use]
    pub fn with(self, name: &'a str, attributes: &'a Attributes) -> Self {
        self.with_ref(name, DataRef::Attributes(attributes))
    }

    #[must_use]
    pub fn with_ref(mut self, name: &'a str, data: DataRef<'a>) -> Self {
        self.roots.push((name, data));
        self
    }
}

impl Data for Roots<'_> {
    fn root(&self, name: &str) -> Option<DataRef<'_>> {
        self.roots.iter().find(|(held, _)| *held == name).map(|(_, data)| *data)
    }

    fn now(&self) -> Timestamp {
        self.now
    }
}
