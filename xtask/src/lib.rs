//! What the project's commands and its tests share: where built tools and client environments are kept.

pub mod cache;
