//! A receiver as a stream.

#![expect(unsafe_code, reason = "pins what is inside of it")]

use super::Receiver;
use super::future::{Held, RecvFuture};
use futures_core::Stream;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The messages of a channel as a [`Stream`], which ends when all senders have gone: see
/// [`Receiver::stream`]. With the feature `futures`.
#[must_use = "a stream does nothing unless it is polled"]
pub struct RecvStream<'a, T>(RecvFuture<'a, T>);

impl<T> Receiver<T> {
    /// The messages as a stream, of which [`recv_async`](Receiver::recv_async) says what happens
    /// when it is dropped. With the feature `futures`.
    pub fn stream(&self) -> RecvStream<'_, T> {
        RecvStream(RecvFuture::new(Held::Borrowed(self)))
    }

    /// [`stream`](Receiver::stream), which owns the receiver. With the feature `futures`.
    pub fn into_stream(self) -> RecvStream<'static, T> {
        RecvStream(RecvFuture::new(Held::Own(self)))
    }
}

impl<T> Stream for RecvStream<'_, T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        // SAFETY: the future is pinned as the stream is: nothing moves it out.
        let future = unsafe { self.map_unchecked_mut(|stream| &mut stream.0) };
        future.poll(context).map(Result::ok)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.receiver().len(), None)
    }
}

impl<T> fmt::Debug for RecvStream<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("RecvStream { .. }")
    }
}
