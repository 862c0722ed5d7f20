//! Next 09:00 on a weekday in her zone: instants from rules and a given now.
