//! Coroutines that belong together: groups, pools, and supervisors.
//!
//! - [`Group`] runs members that end together: at the first failure, at the first success, or when
//!   all have come to their end;
//! - [`try_scope`] is a [`thread::scope`](crate::thread::scope) that ends at the first failure, for
//!   members that borrow;
//! - [`Pool`] runs no more than so many at a time; [`map`] and [`imap_unordered`] are loops over one;
//! - [`join_all`] and [`as_completed`] wait for handles;
//! - [`Supervisor`] runs something again when it has failed.
//!
//! Whoever is cancelled while it waits for a group cancels the group's members and waits for them.

mod group;
mod handles;
mod pool;
mod scope;
mod supervisor;

pub use group::{Collect, FailFast, Failure, FirstOk, Group};
pub use handles::{AsCompleted, as_completed, join_all};
pub use pool::{ImapUnordered, Pool, imap_unordered, map};
pub use scope::{TryScope, try_scope};
pub use supervisor::{Fault, GaveUp, Supervisor};
