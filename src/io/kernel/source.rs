//! What the kernel can copy from, and what readers it may be wrapped in.

#![expect(unsafe_code, reason = "looks through type parameters")]

use crate::io::PipeReader;
use crate::io::kernel::endpoint::Endpoint;
use crate::net::TcpStream;
use std::io::{BufReader, Read, Take};
use std::ptr;

/// A reader whose bytes come out of one descriptor.
pub(super) trait Source {
    fn endpoint(&self) -> &dyn Endpoint;

    /// What it has read ahead and would give first.
    fn buffered(&self) -> &[u8] {
        &[]
    }

    /// So much of that is not to be given any more.
    fn consume(&mut self, count: usize) {
        debug_assert_eq!(count, 0, "nothing was read ahead");
    }

    /// How many bytes it would give at most, with nothing read ahead.
    fn limit(&self) -> u64 {
        u64::MAX
    }

    /// So many bytes were taken out of the descriptor.
    fn took(&mut self, _count: u64) {}
}

impl Source for TcpStream {
    fn endpoint(&self) -> &dyn Endpoint {
        self
    }
}

impl Source for &TcpStream {
    fn endpoint(&self) -> &dyn Endpoint {
        *self
    }
}

impl Source for PipeReader {
    fn endpoint(&self) -> &dyn Endpoint {
        self
    }
}

impl Source for &PipeReader {
    fn endpoint(&self) -> &dyn Endpoint {
        *self
    }
}

impl<S: Source> Source for &mut S {
    fn endpoint(&self) -> &dyn Endpoint {
        (**self).endpoint()
    }

    fn buffered(&self) -> &[u8] {
        (**self).buffered()
    }

    fn consume(&mut self, count: usize) {
        (**self).consume(count);
    }

    fn limit(&self) -> u64 {
        (**self).limit()
    }

    fn took(&mut self, count: u64) {
        (**self).took(count);
    }
}

impl<S: Source> Source for Take<S> {
    fn endpoint(&self) -> &dyn Endpoint {
        self.get_ref().endpoint()
    }

    fn buffered(&self) -> &[u8] {
        let buffered = self.get_ref().buffered();
        &buffered[..buffered.len().min(usize::try_from(Take::limit(self)).unwrap_or(usize::MAX))]
    }

    fn consume(&mut self, count: usize) {
        self.set_limit(Take::limit(self) - count as u64);
        self.get_mut().consume(count);
    }

    fn limit(&self) -> u64 {
        Take::limit(self).min(self.get_ref().limit())
    }

    fn took(&mut self, count: u64) {
        self.set_limit(Take::limit(self) - count);
        self.get_mut().took(count);
    }
}

/// Around what reads nothing ahead by itself.
impl<S: Source + Read> Source for BufReader<S> {
    fn endpoint(&self) -> &dyn Endpoint {
        self.get_ref().endpoint()
    }

    fn buffered(&self) -> &[u8] {
        self.buffer()
    }

    fn consume(&mut self, count: usize) {
        std::io::BufRead::consume(self, count);
    }

    fn limit(&self) -> u64 {
        self.get_ref().limit()
    }

    fn took(&mut self, count: u64) {
        self.get_mut().took(count);
    }
}

/// What `reader` is, if the kernel can copy from it.
pub(super) fn of<'a, R: ?Sized>(reader: &'a mut R) -> Option<&'a mut dyn Source> {
    let id = typeid::of::<R>();
    let address = ptr::from_mut(reader);
    macro_rules! is_one_of {
        ($($kind:ty),* $(,)?) => {
            $(
                if id == typeid::of::<$kind>() {
                    // SAFETY:
                    // - That is its type, but for lifetimes, all of which are at least as long as
                    //   the one for which `reader` is borrowed.
                    // - `Source` does not put references into it, so it makes no difference that
                    //   they are taken to be shorter.
                    return Some(unsafe { &mut *address.cast::<$kind>() });
                }
            )*
        };
    }
    /// A stream, as it is read: itself, by reference, or borrowed; and all that in the wrappers.
    macro_rules! is_stream {
        ($stream:ty) => {
            is_one_of!($stream, &'a $stream, &'a mut $stream, &'a mut &'a $stream);
            is_one_of!(Take<$stream>, Take<&'a $stream>, Take<&'a mut $stream>);
            is_one_of!(&'a mut Take<$stream>, &'a mut Take<&'a $stream>);
            is_one_of!(BufReader<$stream>, BufReader<&'a $stream>, BufReader<&'a mut $stream>);
            is_one_of!(&'a mut BufReader<$stream>, &'a mut BufReader<&'a $stream>);
            is_one_of!(Take<BufReader<$stream>>, Take<&'a mut BufReader<$stream>>);
            is_one_of!(Take<BufReader<&'a $stream>>, Take<&'a mut BufReader<&'a $stream>>);
        };
    }
    is_stream!(TcpStream);
    is_stream!(PipeReader);
    None
}
