//! Conditions over events and profiles: parse, type-check against the catalog, evaluate.
