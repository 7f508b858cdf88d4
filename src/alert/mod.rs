//! The message that a trigger was raised or cleared.
