//! Hand-off of rendered messages: email, webhook, mailbox.
