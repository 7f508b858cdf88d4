//! Checks what a configuration needs: model, broker, sources, rights.

pub mod delivery_checks;
pub mod device;
pub mod machine;
pub mod rights;
pub mod sources;
