//! Log, State, Channel as traits; codecs with their formats drawn; in-memory ones with faults for tests.
