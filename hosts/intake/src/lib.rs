//! The front doors: native, segment; each maps to events.
