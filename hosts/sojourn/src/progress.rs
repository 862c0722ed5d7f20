//! What a person at a terminal sees while something takes long.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How often something that takes long says so.
pub const EVERY: Duration = Duration::from_secs(2);

/// Does it; says on stderr that it is still at it whenever another two seconds have gone by.
pub fn of<T>(what: &str, act: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        let (done, waiting) = channel::<()>();
        scope.spawn(move || {
            let began = Instant::now();
            while let Err(RecvTimeoutError::Timeout) = waiting.recv_timeout(EVERY) {
                eprintln!("{what}: {} s", began.elapsed().as_secs());
            }
        });
        let result = act();
        drop(done);
        result
    })
}
