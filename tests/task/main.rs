//! Groups, pools, handles and supervisors.

mod group;
mod pool;
mod scope;
mod supervisor;
