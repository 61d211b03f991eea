//! End-to-end fixtures and the mock provider.
