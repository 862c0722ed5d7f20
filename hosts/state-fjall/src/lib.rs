//! State and its read indexes as a checkpoint in an embedded LSM store.
