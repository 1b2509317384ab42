//! Pure mechanisms used by two crates or more. Time and entropy are arguments.
