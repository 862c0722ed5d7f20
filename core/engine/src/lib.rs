//! apply(profile state, command, catalog, now): the whole decision, pure.
