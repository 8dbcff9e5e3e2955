//! Waiting at a gate: what events, notifications and wait groups have in common.

#![expect(unsafe_code, reason = "queues nodes that live in the waiting frame")]

use crate::coroutine::unwind_cancelled;
use crate::park::{Cancel, Outcome, Ticket, WaitReason, park};
use crate::protocol::raw_gate::RawGate;
use crate::util::wait_list::Node;
use std::ptr::NonNull;
use std::time::Instant;

/// Waits until the gate lets the caller pass, who closes it if `closing`. `false`: the deadline
/// came first.
pub(super) fn wait(
    gate: &RawGate<Ticket>,
    closing: bool,
    reason: WaitReason,
    deadline: Option<Instant>,
) -> bool {
    // The number of a wait that was interrupted.
    let mut back = None;
    loop {
        let mut node = None;
        let mut passed = false;
        let outcome = park(reason, deadline, Cancel::Deliver, |ticket| {
            // SAFETY: the node is in the frame of this wait, and leaves the queue below unless a
            // waker has taken it off.
            let joined = unsafe {
                gate.enter(closing, back, ticket, |waiter| {
                    NonNull::from(node.insert(Node::new(waiter)))
                })
            };
            if !joined {
                passed = true;
            }
            joined
        });
        // Whatever ended the wait: who has passed has taken the notification.
        if passed || outcome == Outcome::Woken {
            return true;
        }
        if let Some(node) = &node {
            // SAFETY: the node is alive, and in this queue if in any.
            unsafe { gate.leave(NonNull::from(node)) };
            back = Some(node.waiter().number());
        }
        match outcome {
            Outcome::Cancelled => unwind_cancelled(),
            Outcome::TimedOut => return false,
            Outcome::Woken | Outcome::Interrupted => {}
        }
    }
}
