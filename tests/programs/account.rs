//! The books of a few channels.

use crate::program::{Party, RecvWay, SendWay, Traffic};
use crate::world::World;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::SeqCst};

/// What has become of each message of some channels.
pub(crate) struct Account {
    pub(crate) capacities: Vec<Option<usize>>,
    /// For each producer.
    pub(crate) messages: Vec<Vec<Fate>>,
    /// Of which channels somebody has seen the end.
    pub(crate) ended: Vec<AtomicBool>,
    /// Whether a consumer may unwind when a message was delivered to it, or promised: between a choice and
    /// its operation, or before it polls a future again. Then it comes back into the channel, of which
    /// others may have seen the end.
    returns: bool,
    /// Whether there are consumers who wait in a way to which that can happen without a buffer. Then later
    /// messages may have been received meanwhile.
    selects: bool,
}

#[derive(Default)]
pub(crate) struct Fate {
    pub(crate) sent: AtomicU8,
    pub(crate) channel: AtomicUsize,
    made: AtomicU8,
    pub(crate) received: AtomicU8,
    dropped: AtomicU8,
}

/// No send has come back: it was cut short, or there was none.
pub(crate) const KEPT: u8 = 0;
/// As before, but a future is dropped that may not know of its message's end.
pub(crate) const UNKNOWN: u8 = 1;
pub(crate) const SENT: u8 = 2;

impl Account {
    pub(crate) fn new(traffic: &Traffic) -> Account {
        let messages = |party: &Party<SendWay>| (0..party.messages).map(|_| Fate::default());
        let returns =
            |party: &Party<RecvWay>| matches!(party.way, RecvWay::Slow(_) | RecvWay::Async);
        let selects = |party: &Party<RecvWay>| {
            !matches!(party.way, RecvWay::Recv | RecvWay::Iter | RecvWay::Try | RecvWay::Timeout(_))
        };
        Account {
            capacities: traffic.capacities.clone(),
            messages: traffic.producers.iter().map(|party| messages(party).collect()).collect(),
            ended: traffic.capacities.iter().map(|_| AtomicBool::new(false)).collect(),
            returns: traffic.consumers.iter().any(returns),
            selects: traffic.consumers.iter().any(selects),
        }
    }

    /// Whether the messages of a producer come in order, to each consumer.
    pub(crate) fn is_in_order(&self, channel: usize) -> bool {
        !self.selects || self.capacities[channel] != Some(0)
    }

    /// Called when all have come to an end.
    pub(crate) fn settle(&self, world: &World) {
        for (producer, messages) in self.messages.iter().enumerate() {
            for (number, fate) in messages.iter().enumerate() {
                let get = |counter: &AtomicU8| counter.load(SeqCst);
                let (sent, received) = (get(&fate.sent), get(&fate.received));
                let channel = fate.channel.load(SeqCst);
                let right = match sent {
                    SENT if self.ended[channel].load(SeqCst) && !self.returns => received == 1,
                    SENT => received <= 1,
                    UNKNOWN if self.capacities[channel] == Some(0) => received <= 1,
                    _ => received == 0,
                };
                if !right || get(&fate.made) != get(&fate.dropped) {
                    world.fail(format!(
                        "message {number} of producer {producer}, channel {channel}: state {sent}, \
                         received {received} times, made {}, dropped {}; capacities {:?}",
                        get(&fate.made),
                        get(&fate.dropped),
                        self.capacities,
                    ));
                }
            }
        }
    }
}

pub(crate) struct Message {
    pub(crate) account: Arc<Account>,
    pub(crate) producer: usize,
    pub(crate) number: usize,
}

impl Message {
    pub(crate) fn fate(&self) -> &Fate {
        &self.account.messages[self.producer][self.number]
    }
}

impl Message {
    pub(crate) fn new(account: &Arc<Account>, producer: usize, number: usize) -> Message {
        let message = Message { account: account.clone(), producer, number };
        message.fate().made.fetch_add(1, SeqCst);
        message
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        self.fate().dropped.fetch_add(1, SeqCst);
    }
}
