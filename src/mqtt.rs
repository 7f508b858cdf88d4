//! Connection options.
