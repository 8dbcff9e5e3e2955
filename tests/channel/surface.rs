//! Names, texts and traits.

use pirn::channel::{
    IntoIter, Iter, ReadyTimeoutError, Receiver, RecvError, RecvTimeoutError, Select,
    SelectTimeoutError, SelectedOperation, SendError, SendTimeoutError, Sender, TryIter,
    TryReadyError, TryRecvError, TrySelectError, TrySendError, bounded, unbounded,
};
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt::Debug;
use std::iter::FusedIterator;
use std::panic::{RefUnwindSafe, UnwindSafe};

struct Plain;

#[test]
fn traits_are_implemented() {
    fn all<T: Send + Sync + UnwindSafe + RefUnwindSafe + Debug + Clone>() {}
    all::<Sender<Cell<u8>>>();
    all::<Receiver<RefCell<u8>>>();
    all::<Sender<Box<dyn FnMut() + Send>>>();
    fn unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}
    unwind_safe::<Sender<*const Cell<u8>>>();
    unwind_safe::<Receiver<*const Cell<u8>>>();
    fn sent<T: Send + Sync + Debug + Clone + Default>() {}
    sent::<Select<'static>>();
    fn debug<T: Debug>() {}
    debug::<SelectedOperation<'static>>();
    unwind_safe::<SelectedOperation<'static>>();
    fn fused<T: FusedIterator + Debug>() {}
    fused::<Iter<'static, Plain>>();
    fused::<IntoIter<Plain>>();
    fn iterator<T: Iterator + Debug>() {}
    iterator::<TryIter<'static, Plain>>();
    fn error<T: Error + Copy + Eq>() {}
    error::<RecvError>();
    error::<TryRecvError>();
    error::<RecvTimeoutError>();
    error::<TrySelectError>();
    error::<SelectTimeoutError>();
    fn plain<T: Debug + Copy + Eq>() {}
    plain::<TryReadyError>();
    plain::<ReadyTimeoutError>();
    fn of_message<T: Error>() {}
    of_message::<SendError<Plain>>();
    of_message::<TrySendError<Plain>>();
    of_message::<SendTimeoutError<Plain>>();
}

#[test]
fn texts() {
    let (s, r) = unbounded::<Plain>();
    assert_eq!(format!("{s:?} {r:?}"), "Sender { .. } Receiver { .. }");
    assert_eq!(format!("{:?} {:?}", r.iter(), r.try_iter()), "Iter { .. } TryIter { .. }");
    assert_eq!(format!("{:?}", r.into_iter()), "IntoIter { .. }");
    assert_eq!(format!("{:?}", SendError(Plain)), "\"SendError(..)\"");
    assert_eq!(format!("{:?}", TrySendError::Full(Plain)), "\"Full(..)\"");
    assert_eq!(format!("{:?}", TrySendError::Disconnected(Plain)), "\"Disconnected(..)\"");
    assert_eq!(format!("{:?}", SendTimeoutError::Timeout(Plain)), "\"SendTimeoutError(..)\"");
    assert_eq!(SendError(Plain).to_string(), "sending on a disconnected channel");
    assert_eq!(TrySendError::Full(Plain).to_string(), "sending on a full channel");
    assert_eq!(SendTimeoutError::Timeout(Plain).to_string(), "timed out waiting on send operation");
    assert_eq!(RecvError.to_string(), "receiving on an empty and disconnected channel");
    assert_eq!(TryRecvError::Empty.to_string(), "receiving on an empty channel");
    assert_eq!(RecvTimeoutError::Timeout.to_string(), "timed out waiting on receive operation");
    assert_eq!(RecvTimeoutError::Disconnected.to_string(), "channel is empty and disconnected");
    assert_eq!(TrySelectError.to_string(), "all operations in select would block");
    assert_eq!(SelectTimeoutError.to_string(), "timed out waiting on select");
}

#[test]
fn errors_convert() {
    assert_eq!(TrySendError::from(SendError(1)), TrySendError::Disconnected(1));
    assert_eq!(SendTimeoutError::from(SendError(1)), SendTimeoutError::Disconnected(1));
    assert_eq!(TryRecvError::from(RecvError), TryRecvError::Disconnected);
    assert_eq!(RecvTimeoutError::from(RecvError), RecvTimeoutError::Disconnected);
    assert!(TrySendError::Full(1).is_full() && TrySendError::Disconnected(1).is_disconnected());
    assert!(SendTimeoutError::Timeout(1).is_timeout());
    assert!(SendTimeoutError::Disconnected(1).is_disconnected());
    assert!(TryRecvError::Empty.is_empty() && TryRecvError::Disconnected.is_disconnected());
    assert!(RecvTimeoutError::Timeout.is_timeout());
    assert!(RecvTimeoutError::Disconnected.is_disconnected());
    assert_eq!(SendError(1).into_inner(), 1);
    assert_eq!(TrySendError::Full(2).into_inner(), 2);
}

#[test]
fn channels_know_themselves() {
    for capacity in [0, 1] {
        let (s, r) = bounded::<()>(capacity);
        let (t, q) = bounded::<()>(capacity);
        assert!(s.same_channel(&s.clone()) && r.same_channel(&r.clone()));
        assert!(!s.same_channel(&t) && !r.same_channel(&q));
    }
}
