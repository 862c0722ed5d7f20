//! Documents compiled and checked: the immutable form that the engine runs on.
