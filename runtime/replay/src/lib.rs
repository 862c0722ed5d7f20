//! The same engine over recorded events: journey tests with a virtual clock.
