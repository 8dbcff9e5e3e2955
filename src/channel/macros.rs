//! `select!` and `select_biased!`.
//!
//! They are exported under other names, so that they are found in `pirn::channel` alone. What they
//! expand to is safe code.

/// Waits for one of several operations, and does it.
///
/// ```text
/// select! {
///     recv(receiver) -> result => body,           // result: Result<T, RecvError>
///     send(sender, message) -> result => body,    // result: Result<(), SendError<T>>
///     default => body,                            // nothing is ready
///     default(timeout) => body,                   // nothing was ready for so long
/// }
/// ```
///
/// Results are matched by any irrefutable pattern. A body is an expression; the comma after a
/// block may be left out. There are up to 32 operations and at most one `default`. Receivers and
/// senders are expressions, evaluated once and in order, and may be references. A message is
/// evaluated only when its operation has been chosen.
///
/// An operation is ready when it need not wait, also when it fails at once because the channel is
/// disconnected. Of several that are ready, one is chosen at random.
///
/// [`Select`](crate::channel::Select) is for operations that are known at run time only.
///
/// # Examples
///
/// ```
/// use pirn::channel::{select, unbounded};
///
/// let (s1, r1) = unbounded();
/// let (s2, r2) = unbounded();
/// s1.send(10).unwrap();
///
/// // Both are ready: one of them is done.
/// select! {
///     recv(r1) -> message => assert_eq!(message, Ok(10)),
///     send(s2, 20) -> sent => {
///         assert_eq!(sent, Ok(()));
///         assert_eq!(r2.recv(), Ok(20));
///     }
/// }
/// ```
///
/// With a limit, or without waiting:
///
/// ```
/// use pirn::channel::{select, unbounded};
/// use std::time::Duration;
///
/// let (_s, r) = unbounded::<i32>();
/// let outcome = select! {
///     recv(r) -> _ => "received",
///     default => "nothing there",
/// };
/// assert_eq!(outcome, "nothing there");
/// let outcome = select! {
///     recv(r) -> _ => "received",
///     default(Duration::from_millis(1)) => "timed out",
/// };
/// assert_eq!(outcome, "timed out");
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! __channel_select {
    ($($tokens:tt)*) => {
        $crate::__channel_select_parts!(@entry false $($tokens)*)
    };
}

/// As [`select!`](crate::channel::select!), but of several operations that are ready, the first one
/// is chosen.
///
/// ```
/// use pirn::channel::{select_biased, unbounded};
///
/// let (s, urgent) = unbounded();
/// let (t, other) = unbounded();
/// s.send("fire").unwrap();
/// t.send("tea").unwrap();
/// let first = select_biased! {
///     recv(urgent) -> message => message,
///     recv(other) -> message => message,
/// };
/// assert_eq!(first, Ok("fire"));
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! __channel_select_biased {
    ($($tokens:tt)*) => {
        $crate::__channel_select_parts!(@entry true $($tokens)*)
    };
}

/// The steps: `@split` separates the cases, `@choose` takes the shortcuts, `@bind` evaluates the
/// handles and finds the default, `@select` selects, and `@complete` does what was selected. Two of
/// them recurse for each case, so that 32 stay below the compiler's limit.
#[doc(hidden)]
#[macro_export]
macro_rules! __channel_select_parts {
    (@entry $biased:tt) => {
        compile_error!("empty `select!` block")
    };
    (@entry $biased:tt $($tokens:tt)*) => {
        $crate::__channel_select_parts!(@split $biased [] $($tokens)*)
    };

    (@split $biased:tt [$($cases:tt)*]) => {
        $crate::__channel_select_parts!(@choose $biased $($cases)*)
    };
    (@split $biased:tt [$($cases:tt)*] default => $($rest:tt)*) => {
        $crate::__channel_select_parts!(@split $biased [$($cases)*] default() => $($rest)*)
    };
    (@split $biased:tt [$($cases:tt)*]
        $kind:ident ($($args:tt)*) $(-> $result:pat)? => { $($body:tt)* }, $($rest:tt)*
    ) => {
        $crate::__channel_select_parts!(@split $biased
            [$($cases)* ($kind ($($args)*) ($($result)?) { $($body)* })] $($rest)*)
    };
    (@split $biased:tt [$($cases:tt)*]
        $kind:ident ($($args:tt)*) $(-> $result:pat)? => $body:expr, $($rest:tt)*
    ) => {
        $crate::__channel_select_parts!(@split $biased
            [$($cases)* ($kind ($($args)*) ($($result)?) { $body })] $($rest)*)
    };
    (@split $biased:tt [$($cases:tt)*]
        $kind:ident ($($args:tt)*) $(-> $result:pat)? => { $($body:tt)* } $($rest:tt)*
    ) => {
        $crate::__channel_select_parts!(@split $biased
            [$($cases)* ($kind ($($args)*) ($($result)?) { $($body)* })] $($rest)*)
    };
    (@split $biased:tt [$($cases:tt)*]
        $kind:ident ($($args:tt)*) $(-> $result:pat)? => $body:expr
    ) => {
        $crate::__channel_select_parts!(@split $biased
            [$($cases)* ($kind ($($args)*) ($($result)?) { $body })])
    };
    (@split $biased:tt $cases:tt
        $kind:ident ($($args:tt)*) $(-> $result:pat)? => $body:expr; $($rest:tt)*
    ) => {
        compile_error!("cases of `select!` are separated by commas, found `;`")
    };
    (@split $biased:tt $cases:tt
        $kind:ident ($($args:tt)*) $(-> $result:pat)? => $body:expr => $($rest:tt)*
    ) => {
        compile_error!("missing comma between the cases of a `select!` block")
    };
    (@split $biased:tt $cases:tt $kind:ident ($($args:tt)*) $(-> $result:pat)? =>) => {
        compile_error!("expected an expression after `=>`")
    };
    (@split $biased:tt $cases:tt $kind:ident ($($args:tt)*) $(-> $result:pat)?) => {
        compile_error!(concat!("missing `=>` after a `", stringify!($kind), "` case"))
    };
    (@split $biased:tt $cases:tt $kind:ident => $($rest:tt)*) => {
        compile_error!(concat!("missing argument list after `", stringify!($kind), "`"))
    };
    (@split $biased:tt $cases:tt $token:tt $($rest:tt)*) => {
        compile_error!(concat!(
            "expected `recv(receiver) -> pattern => body`, ",
            "`send(sender, message) -> pattern => body` or `default => body`, at `",
            stringify!($token), "`"
        ))
    };

    // One receive and nothing else is a method of the receiver.
    (@choose $biased:tt (recv ($receiver:expr $(,)?) ($result:pat) $body:tt)) => {
        match $receiver {
            ref receiver => {
                let receiver: &$crate::channel::Receiver<_> = receiver;
                let result = receiver.recv();
                let $result = result;
                $body
            }
        }
    };
    (@choose $biased:tt (recv ($receiver:expr $(,)?) ($result:pat) $body:tt)
        (default () () $default:tt)
    ) => {
        match $receiver {
            ref receiver => {
                let receiver: &$crate::channel::Receiver<_> = receiver;
                match receiver.try_recv() {
                    ::core::result::Result::Err($crate::channel::TryRecvError::Empty) => $default,
                    result => {
                        let result = result.map_err(|_| $crate::channel::RecvError);
                        let $result = result;
                        $body
                    }
                }
            }
        }
    };
    (@choose $biased:tt (recv ($receiver:expr $(,)?) ($result:pat) $body:tt)
        (default ($timeout:expr $(,)?) () $default:tt)
    ) => {
        match $receiver {
            ref receiver => {
                let receiver: &$crate::channel::Receiver<_> = receiver;
                match receiver.recv_timeout($timeout) {
                    ::core::result::Result::Err($crate::channel::RecvTimeoutError::Timeout) => {
                        $default
                    }
                    result => {
                        let result = result.map_err(|_| $crate::channel::RecvError);
                        let $result = result;
                        $body
                    }
                }
            }
        }
    };
    (@choose $biased:tt $($cases:tt)*) => {
        $crate::__channel_select_parts!(@bind $biased [] [] [
            0 h0, 1 h1, 2 h2, 3 h3, 4 h4, 5 h5, 6 h6, 7 h7, 8 h8, 9 h9, 10 h10, 11 h11, 12 h12,
            13 h13, 14 h14, 15 h15, 16 h16, 17 h17, 18 h18, 19 h19, 20 h20, 21 h21, 22 h22,
            23 h23, 24 h24, 25 h25, 26 h26, 27 h27, 28 h28, 29 h29, 30 h30, 31 h31,
        ] $($cases)*)
    };

    (@bind $biased:tt $default:tt [$($bound:tt)*] $names:tt) => {
        $crate::__channel_select_parts!(@select $biased $default $($bound)*)
    };
    (@bind $biased:tt [] $bound:tt $names:tt (default () () $body:tt) $($cases:tt)*) => {
        $crate::__channel_select_parts!(@bind $biased [now $body] $bound $names $($cases)*)
    };
    (@bind $biased:tt [] $bound:tt $names:tt (default ($timeout:expr $(,)?) () $body:tt)
        $($cases:tt)*
    ) => {
        $crate::__channel_select_parts!(
            @bind $biased [within $timeout, $body] $bound $names $($cases)*)
    };
    (@bind $biased:tt $default:tt $bound:tt $names:tt (default $args:tt () $body:tt)
        $($cases:tt)*
    ) => {
        compile_error!("`select!` has one `default` or `default(timeout)` at most")
    };
    (@bind $biased:tt $default:tt $bound:tt $names:tt (default $args:tt $result:tt $body:tt)
        $($cases:tt)*
    ) => {
        compile_error!("expected `=>` after a `default` case, found `->`")
    };
    (@bind $biased:tt $default:tt $bound:tt [] $($cases:tt)+) => {
        compile_error!("too many operations in a `select!` block")
    };
    (@bind $biased:tt $default:tt [$($bound:tt)*] [$index:tt $name:ident, $($names:tt)*]
        (recv ($receiver:expr $(,)?) ($result:pat) $body:tt) $($cases:tt)*
    ) => {
        match $receiver {
            ref handle => {
                let $name: &$crate::channel::Receiver<_> = handle;
                $crate::__channel_select_parts!(@bind $biased $default
                    [$($bound)* (recv $index $name [] $result, $body)]
                    [$($names)*] $($cases)*)
            }
        }
    };
    (@bind $biased:tt $default:tt [$($bound:tt)*] [$index:tt $name:ident, $($names:tt)*]
        (send ($sender:expr, $message:expr $(,)?) ($result:pat) $body:tt) $($cases:tt)*
    ) => {
        match $sender {
            ref handle => {
                let $name: &$crate::channel::Sender<_> = handle;
                $crate::__channel_select_parts!(@bind $biased $default
                    [$($bound)* (send $index $name [$message] $result, $body)]
                    [$($names)*] $($cases)*)
            }
        }
    };
    (@bind $biased:tt $default:tt $bound:tt $names:tt ($kind:ident $args:tt () $body:tt)
        $($cases:tt)*
    ) => {
        compile_error!(concat!("expected `->` after `", stringify!($kind), "`, found `=>`"))
    };
    (@bind $biased:tt $default:tt $bound:tt $names:tt ($kind:ident $args:tt $result:tt $body:tt)
        $($cases:tt)*
    ) => {
        compile_error!(concat!(
            "expected `recv(receiver)`, `send(sender, message)`, `default` or `default(timeout)`, ",
            "found `", stringify!($kind), stringify!($args), "`"
        ))
    };

    (@select $biased:tt [] $(($kind:ident $index:tt $name:ident $($rest:tt)*))*) => {{
        let mut handles = [$($crate::channel::__private::Handle::$kind($name, $index)),*];
        let chosen = $crate::channel::__private::select_one(&mut handles, $biased);
        $crate::__channel_select_parts!(@complete chosen $(($kind $index $name $($rest)*))*)
    }};
    (@select $biased:tt [now $default:tt] $(($kind:ident $index:tt $name:ident $($rest:tt)*))*) => {{
        let mut handles = [$($crate::channel::__private::Handle::$kind($name, $index)),*];
        let chosen = $crate::channel::__private::select_now(&mut handles, $biased);
        $crate::__channel_select_parts!(@maybe chosen $default $(($kind $index $name $($rest)*))*)
    }};
    (@select $biased:tt [within $timeout:expr, $default:tt]
        $(($kind:ident $index:tt $name:ident $($rest:tt)*))*
    ) => {{
        let mut handles = [$($crate::channel::__private::Handle::$kind($name, $index)),*];
        let chosen =
            $crate::channel::__private::select_within(&mut handles, $timeout, $biased);
        $crate::__channel_select_parts!(@maybe chosen $default $(($kind $index $name $($rest)*))*)
    }};

    // In each branch the choice is moved before the body begins, so that nothing is borrowed there.
    (@maybe $chosen:ident $default:tt $($cases:tt)*) => {
        if ::core::option::Option::is_none(&$chosen) {
            ::core::mem::forget($chosen);
            $default
        } else {
            let $chosen = ::core::option::Option::unwrap($chosen);
            $crate::__channel_select_parts!(@complete $chosen $($cases)*)
        }
    };

    (@complete $chosen:ident $(($kind:ident $index:tt $name:ident $($rest:tt)*))*) => {
        $(if $chosen.index() == $index {
            $crate::__channel_select_parts!(@do $chosen $kind $name $($rest)*)
        } else)* {
            ::core::unreachable!("a select chose what it was not given")
        }
    };

    (@do $chosen:ident recv $name:ident [] $result:pat, $body:tt) => {{
        let result = $chosen.recv($name);
        let $result = result;
        $body
    }};
    (@do $chosen:ident send $name:ident [$message:expr] $result:pat, $body:tt) => {{
        let result = $chosen.send($name, $message);
        let $result = result;
        $body
    }};
}
