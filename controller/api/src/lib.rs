//! Weir objects, and `translate`: objects to the snapshot that an agent serves from.
