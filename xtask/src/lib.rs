//! What the project's commands and its tests share: where built tools and client environments are kept, and where a test cluster is.

pub mod cache;
pub mod cluster_paths;
