//! Log as preallocated, checksummed segment files with group commit.
