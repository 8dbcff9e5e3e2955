//! Messages from producers to consumers, each of which is accounted for.

use crate::account::{Account, KEPT, Message, SENT, UNKNOWN};
use crate::context::Context;
use crate::program::{Party, RecvWay, SendWay, Traffic};
use crate::task::Started;
use pirn::channel::{self, Receiver, RecvError, Select, Sender};
use pirn::time::timeout;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

impl Context {
    /// A party holds the ends of channels that it waits for, and no other; consumers wait for all that
    /// they hold.
    pub(crate) fn traffic(&self, traffic: &Traffic) {
        let account = Arc::new(Account::new(traffic));
        self.world.accounts.lock().unwrap().push(account.clone());
        let channels: Vec<_> = traffic
            .capacities
            .iter()
            .map(|capacity| capacity.map_or_else(channel::unbounded, channel::bounded))
            .collect();
        let mut started = Vec::new();
        for party in &traffic.consumers {
            let ends = party.channels.iter().map(|&n| (n, channels[n].1.clone())).collect();
            let consumer = Consumer {
                party: party.clone(),
                ends,
                account: account.clone(),
                last: HashMap::new(),
            };
            let start = |context: &Context| consumer.run(context);
            started.push(self.launch(party.start, self.doomed, start));
        }
        for (number, party) in traffic.producers.iter().enumerate() {
            let ends = party.channels.iter().map(|&n| (n, channels[n].0.clone())).collect();
            let producer =
                Producer { party: party.clone(), ends, account: account.clone(), number };
            let start = |context: &Context| producer.run(context);
            started.push(self.launch(party.start, self.doomed, start));
        }
        drop(channels);
        let consumers = traffic.consumers.iter().map(|party| party.cut);
        let cuts = consumers.chain(traffic.producers.iter().map(|party| party.cut));
        let cut = |(party, cut): (Started, Option<_>)| match cut {
            None => party,
            Some(pause) => {
                self.pause(pause);
                party.cancel()
            }
        };
        let started: Vec<_> = started.into_iter().zip(cuts).map(cut).collect();
        started.into_iter().for_each(Started::join);
    }
}

struct Producer {
    party: Party<SendWay>,
    ends: Vec<(usize, Sender<Message>)>,
    account: Arc<Account>,
    number: usize,
}

impl Producer {
    fn run(mut self, context: &Context) {
        for number in 0..self.party.messages {
            if number == self.party.messages / 2 {
                context.body(&self.party.body);
            }
            // A message that comes back since nobody is there is sent elsewhere.
            let mut message = Some(Message::new(&self.account, self.number, number));
            while let Some(one) = message.take() {
                if self.ends.is_empty() {
                    return;
                }
                message = self.send(context, one);
            }
            context.pause(self.party.pause);
        }
    }

    /// Notes that a message was sent, or gives it back, and the channel up.
    fn send(&mut self, context: &Context, message: Message) -> Option<Message> {
        let (account, number) = (self.account.clone(), message.number);
        let fate = &account.messages[self.number][number];
        let (channel, sent) = self.exchange(context, message);
        match sent {
            None => {
                let channel = self.ends[channel].0;
                fate.channel.store(channel, SeqCst);
                fate.sent.store(SENT, SeqCst);
                None
            }
            Some(message) => {
                self.ends.remove(channel);
                message
            }
        }
    }

    /// At which of the ends something has happened: a message was sent (`None`), came back, or is lost
    /// with a send that was cut short (`Some`).
    fn exchange(&self, context: &Context, message: Message) -> (usize, Option<Option<Message>>) {
        let (channel, end) = &self.ends[0];
        let fate = &self.account.messages[self.number][message.number];
        fate.channel.store(*channel, SeqCst);
        let refused = |error: channel::SendError<Message>| Some(error.into_inner());
        let sent = match self.party.way {
            SendWay::Send => end.send(message).err().map(refused),
            SendWay::Try => match end.try_send(message) {
                Ok(()) => None,
                Err(error) => end.send(error.into_inner()).err().map(refused),
            },
            SendWay::Timeout(limit) => match end.send_timeout(message, limit) {
                Ok(()) => None,
                Err(error) => end.send(error.into_inner()).err().map(refused),
            },
            SendWay::Limited(limit) => match timeout(limit, || end.send(message)) {
                Ok(sent) => sent.err().map(refused),
                Err(_) => return (0, Some(None)),
            },
            SendWay::Async => {
                fate.sent.store(UNKNOWN, SeqCst);
                let sent = pirn::block_on(end.send_async(message));
                fate.sent.store(KEPT, SeqCst);
                sent.err().map(refused)
            }
            SendWay::Select | SendWay::SelectTimeout(_) | SendWay::Slow(_) => {
                let mut choice = Select::new();
                for (_, end) in &self.ends {
                    choice.send(end);
                }
                let chosen = match self.party.way {
                    SendWay::SelectTimeout(limit) => loop {
                        if let Ok(chosen) = choice.select_timeout(limit) {
                            break chosen;
                        }
                    },
                    _ => choice.select(),
                };
                if let SendWay::Slow(pause) = self.party.way {
                    context.pause(pause);
                }
                let index = chosen.index();
                let sent = chosen.send(&self.ends[index].1, message);
                return (index, sent.err().map(refused));
            }
        };
        (0, sent)
    }
}

struct Consumer {
    party: Party<RecvWay>,
    ends: Vec<(usize, Receiver<Message>)>,
    account: Arc<Account>,
    /// The last message of each channel and producer.
    last: HashMap<(usize, usize), usize>,
}

impl Consumer {
    fn run(mut self, context: &Context) {
        let mut received = 0;
        while received < self.party.messages && !self.ends.is_empty() {
            if received == self.party.messages / 2 {
                context.body(&self.party.body);
            }
            let Some((index, result)) = self.exchange(context) else { continue };
            let channel = self.ends[index].0;
            let Ok(message) = result else {
                self.account.ended[channel].store(true, SeqCst);
                self.ends.remove(index);
                continue;
            };
            received += 1;
            message.fate().received.fetch_add(1, SeqCst);
            self.look(context, channel, &message);
            drop(message);
            context.pause(self.party.pause);
        }
    }

    fn look(&mut self, context: &Context, channel: usize, message: &Message) {
        let capacity = self.account.capacities[channel];
        let last = self.last.insert((channel, message.producer), message.number);
        if last.is_some_and(|last| last >= message.number) && self.account.is_in_order(channel) {
            context.world.fail(format!("{last:?} was received before {}", message.number));
        }
        let length = self.ends.iter().find(|(number, _)| *number == channel).unwrap().1.len();
        context.world.check(capacity.is_none_or(|most| length <= most), "a channel is too full");
    }

    fn exchange(&self, context: &Context) -> Option<(usize, Result<Message, RecvError>)> {
        let end = &self.ends[0].1;
        let result = match self.party.way {
            RecvWay::Recv => end.recv(),
            RecvWay::Iter => end.iter().next().ok_or(RecvError),
            RecvWay::Try => match end.try_recv() {
                Ok(message) => Ok(message),
                Err(_) => end.recv(),
            },
            RecvWay::Timeout(limit) => match end.recv_timeout(limit) {
                Ok(message) => Ok(message),
                Err(error) if error.is_timeout() => return None,
                Err(_) => Err(RecvError),
            },
            RecvWay::Limited(limit) => timeout(limit, || end.recv()).ok()?,
            RecvWay::Async => pirn::block_on(end.recv_async()),
            _ => return self.select(context),
        };
        Some((0, result))
    }

    fn select(&self, context: &Context) -> Option<(usize, Result<Message, RecvError>)> {
        let mut choice = Select::new();
        for (_, end) in &self.ends {
            choice.recv(end);
        }
        let chosen = match self.party.way {
            RecvWay::Ready => {
                let index = choice.ready();
                return match self.ends[index].1.try_recv() {
                    Ok(message) => Some((index, Ok(message))),
                    Err(error) if error.is_empty() => None,
                    Err(_) => Some((index, Err(RecvError))),
                };
            }
            RecvWay::SelectTimeout(limit) => choice.select_timeout(limit).ok()?,
            _ => choice.select(),
        };
        if let RecvWay::Slow(pause) = self.party.way {
            context.pause(pause);
        }
        let index = chosen.index();
        let result = chosen.recv(&self.ends[index].1);
        Some((index, result))
    }
}
