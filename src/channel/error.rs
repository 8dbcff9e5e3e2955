//! What can go wrong, with the names, the texts and the conversions of crossbeam-channel's errors.

use std::error::Error;
use std::fmt;

/// The message could not be sent: all receivers have gone.
#[derive(PartialEq, Eq, Clone, Copy)]
pub struct SendError<T>(pub T);

/// The message could not be sent at once.
#[derive(PartialEq, Eq, Clone, Copy)]
pub enum TrySendError<T> {
    /// The buffer is full or, without a buffer, nobody is receiving.
    Full(T),
    /// All receivers have gone.
    Disconnected(T),
}

/// The message could not be sent in time.
#[derive(PartialEq, Eq, Clone, Copy)]
pub enum SendTimeoutError<T> {
    /// The buffer stayed full or, without a buffer, nobody came to receive.
    Timeout(T),
    /// All receivers have gone.
    Disconnected(T),
}

/// There is no message, and no sender is left to send one.
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub struct RecvError;

/// No message could be received at once.
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub enum TryRecvError {
    /// There is no message or, without a buffer, nobody is sending.
    Empty,
    /// There is no message, and no sender is left to send one.
    Disconnected,
}

/// No message came in time.
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub enum RecvTimeoutError {
    /// The time is over.
    Timeout,
    /// There is no message, and no sender is left to send one.
    Disconnected,
}

/// All operations of [`Select::try_select`](super::Select::try_select) would wait.
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub struct TrySelectError;

/// No operation of a select could be done in time.
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub struct SelectTimeoutError;

/// All operations of [`Select::try_ready`](super::Select::try_ready) would wait.
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub struct TryReadyError;

/// No operation of a select became ready in time.
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub struct ReadyTimeoutError;

const SEND_DISCONNECTED: &str = "sending on a disconnected channel";
const RECV_DISCONNECTED: &str = "receiving on an empty and disconnected channel";

/// Writes a text as that trait writes a `str`: with the width and the alignment that the caller asked
/// for, and for `Debug` in quotation marks.
macro_rules! texts {
    ($($trait:ident for $type:ident$(<$param:ident>)? { $($pattern:pat => $text:expr,)* })*) => {$(
        impl$(<$param>)? fmt::$trait for $type$(<$param>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::$trait::fmt(match self { $($pattern => $text,)* }, f)
            }
        }
    )*};
}

texts! {
    Debug for SendError<T> { SendError(_) => "SendError(..)", }
    Display for SendError<T> { SendError(_) => SEND_DISCONNECTED, }
    Debug for TrySendError<T> {
        TrySendError::Full(_) => "Full(..)",
        TrySendError::Disconnected(_) => "Disconnected(..)",
    }
    Display for TrySendError<T> {
        TrySendError::Full(_) => "sending on a full channel",
        TrySendError::Disconnected(_) => SEND_DISCONNECTED,
    }
    Debug for SendTimeoutError<T> { _ => "SendTimeoutError(..)", }
    Display for SendTimeoutError<T> {
        SendTimeoutError::Timeout(_) => "timed out waiting on send operation",
        SendTimeoutError::Disconnected(_) => SEND_DISCONNECTED,
    }
    Display for RecvError { RecvError => RECV_DISCONNECTED, }
    Display for TryRecvError {
        TryRecvError::Empty => "receiving on an empty channel",
        TryRecvError::Disconnected => RECV_DISCONNECTED,
    }
    Display for RecvTimeoutError {
        RecvTimeoutError::Timeout => "timed out waiting on receive operation",
        RecvTimeoutError::Disconnected => "channel is empty and disconnected",
    }
    Display for TrySelectError { TrySelectError => "all operations in select would block", }
    Display for SelectTimeoutError { SelectTimeoutError => "timed out waiting on select", }
}

impl<T: Send> Error for SendError<T> {}
impl<T: Send> Error for TrySendError<T> {}
impl<T: Send> Error for SendTimeoutError<T> {}
impl Error for RecvError {}
impl Error for TryRecvError {}
impl Error for RecvTimeoutError {}
impl Error for TrySelectError {}
impl Error for SelectTimeoutError {}

impl<T> From<SendError<T>> for TrySendError<T> {
    fn from(SendError(message): SendError<T>) -> Self {
        TrySendError::Disconnected(message)
    }
}

impl<T> From<SendError<T>> for SendTimeoutError<T> {
    fn from(SendError(message): SendError<T>) -> Self {
        SendTimeoutError::Disconnected(message)
    }
}

impl From<RecvError> for TryRecvError {
    fn from(RecvError: RecvError) -> Self {
        TryRecvError::Disconnected
    }
}

impl From<RecvError> for RecvTimeoutError {
    fn from(RecvError: RecvError) -> Self {
        RecvTimeoutError::Disconnected
    }
}

impl<T> SendError<T> {
    /// Gives the message back.
    ///
    /// ```
    /// let (s, r) = pirn::channel::unbounded();
    /// drop(r);
    /// assert_eq!(s.send("foo").unwrap_err().into_inner(), "foo");
    /// ```
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> TrySendError<T> {
    /// Gives the message back.
    ///
    /// ```
    /// let (s, _r) = pirn::channel::bounded(0);
    /// assert_eq!(s.try_send("foo").unwrap_err().into_inner(), "foo");
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            TrySendError::Full(message) | TrySendError::Disconnected(message) => message,
        }
    }

    /// Whether there was no room, or nobody who was receiving.
    pub fn is_full(&self) -> bool {
        matches!(self, TrySendError::Full(_))
    }

    /// Whether all receivers have gone.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, TrySendError::Disconnected(_))
    }
}

impl<T> SendTimeoutError<T> {
    /// Gives the message back.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (s, _r) = pirn::channel::bounded(0);
    /// let error = s.send_timeout("foo", Duration::from_millis(1)).unwrap_err();
    /// assert_eq!(error.into_inner(), "foo");
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            SendTimeoutError::Timeout(message) | SendTimeoutError::Disconnected(message) => message,
        }
    }

    /// Whether the time was over.
    pub fn is_timeout(&self) -> bool {
        matches!(self, SendTimeoutError::Timeout(_))
    }

    /// Whether all receivers have gone.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, SendTimeoutError::Disconnected(_))
    }
}

impl TryRecvError {
    /// Whether there was no message, or nobody who was sending.
    pub fn is_empty(&self) -> bool {
        matches!(self, TryRecvError::Empty)
    }

    /// Whether no sender is left.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, TryRecvError::Disconnected)
    }
}

impl RecvTimeoutError {
    /// Whether the time was over.
    pub fn is_timeout(&self) -> bool {
        matches!(self, RecvTimeoutError::Timeout)
    }

    /// Whether no sender is left.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, RecvTimeoutError::Disconnected)
    }
}
