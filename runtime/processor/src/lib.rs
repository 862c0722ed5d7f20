//! One partition: append a batch to the log, apply it, release effects, tick timers, checkpoint, recover.
