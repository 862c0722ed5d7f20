//! Message bodies from template plus data, with what was missing.
