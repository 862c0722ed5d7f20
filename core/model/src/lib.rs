//! Words everyone shares and the documents people write: ids, Event, Profile, Trigger, Journey, Message; their checks.
