//! Side-by-side measurements of pirn and its peers.
