#![doc = include_str!("../../../docs/servers.md")]

mod control;
mod listen;

pub use listen::Listen;

use crate::coroutine::{Cancelled, Exited, contained};
use crate::thread::{Builder, Placement};
use control::{Connection, Control, Permit};
use listen::Bell;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

/// The pause after a first failure for want of something, and the longest: each is twice the one
/// before.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

type OnError = dyn Fn(&io::Error) + Send + Sync;

/// Accepts connections, and runs a handler for each in a coroutine of its own: gevent's
/// `StreamServer`.
///
/// A handle: clones are the same server. It may have several listeners. It goes on when all handles
/// have been dropped.
///
/// - A handler that panics ends its own connection, which is counted, and nothing else.
/// - When the system runs out of descriptors or memory, the server pauses, a little longer each time,
///   and goes on; so it does when there is no stack for another coroutine.
/// - At the bound on connections it stops accepting until one ends: who comes meanwhile waits in the
///   listener's backlog.
/// - A stop waits for the connections that there are, for as long as it is told to, and then cuts
///   them off.
///
/// # Examples
///
/// ```
/// use pirn::net::{Server, TcpListener, TcpStream};
/// use std::io::{Read, Write};
/// use std::time::Duration;
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let server = Server::builder().max_connections(1000).build();
/// server.start(listener, |mut stream: TcpStream, _peer| {
///     stream.write_all(b"hello").ok();
/// })?;
///
/// let mut greeting = String::new();
/// TcpStream::connect(address)?.read_to_string(&mut greeting)?;
/// assert_eq!(greeting, "hello");
///
/// let cut = server.stop(Duration::from_secs(5));
/// assert_eq!((cut, server.stats().accepted), (0, 1));
/// assert!(TcpStream::connect(address).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Server {
    control: Arc<Control>,
    settings: Arc<Settings>,
}

/// Configures a [`Server`].
#[must_use = "a builder does nothing until it builds"]
#[derive(Default)]
pub struct ServerBuilder {
    max_connections: Option<usize>,
    settings: Settings,
}

#[derive(Default)]
struct Settings {
    name: Option<String>,
    stack_size: Option<usize>,
    on_error: Option<Box<OnError>>,
}

/// What a [`Server`] has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Connections that were accepted, those that were refused included.
    pub accepted: u64,
    /// Those that have not ended: their handlers have not returned.
    pub active: usize,
    /// Those whose handlers have panicked.
    pub panicked: u64,
    /// Connections that were closed without a handler: there was no coroutine to be had, or the
    /// server was cutting all others off.
    pub refused: u64,
}

impl ServerBuilder {
    /// How many connections there may be at a time; without bound unless set.
    ///
    /// # Panics
    ///
    /// If that is zero.
    #[track_caller]
    pub fn max_connections(mut self, connections: usize) -> ServerBuilder {
        assert!(connections > 0, "a server has room for at least one connection");
        self.max_connections = Some(connections);
        self
    }

    /// Names the connections' coroutines.
    ///
    /// # Panics
    ///
    /// If the name contains a null byte.
    #[track_caller]
    pub fn name(mut self, name: impl Into<String>) -> ServerBuilder {
        let name = name.into();
        assert!(!name.contains('\0'), "a coroutine's name may not contain null bytes");
        self.settings.name = Some(name);
        self
    }

    /// The stack size of the connections' coroutines, in bytes; see
    /// [`thread::Builder::stack_size`](crate::thread::Builder::stack_size).
    pub fn stack_size(mut self, bytes: usize) -> ServerBuilder {
        self.settings.stack_size = Some(bytes);
        self
    }

    /// Calls `report` with each error of accepting a connection and of spawning its coroutine. It
    /// runs in the coroutine that accepts, which waits for it. A panic of it is contained.
    pub fn on_error(
        mut self,
        report: impl Fn(&io::Error) + Send + Sync + 'static,
    ) -> ServerBuilder {
        self.settings.on_error = Some(Box::new(report));
        self
    }

    /// A server, which has no listener yet.
    pub fn build(self) -> Server {
        Server {
            control: Arc::new(Control::new(self.max_connections)),
            settings: Arc::new(self.settings),
        }
    }
}

impl Server {
    /// Everything by default.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// A server with everything by default, which has no listener yet.
    #[must_use]
    pub fn new() -> Server {
        Server::builder().build()
    }

    /// Begins to accept connections from `listener`, in the runtime of the caller or the default
    /// one, and returns at once. Its connections are spread over the workers.
    ///
    /// The listener is closed when the server stops, unless there are clones.
    ///
    /// # Errors
    ///
    /// If the server has been stopped; or if there is no coroutine to be had, and then the server
    /// stops.
    pub fn start<L: Listen>(
        &self,
        listener: L,
        handler: impl Fn(L::Stream, L::Addr) + Send + Sync + 'static,
    ) -> io::Result<()> {
        self.accept_from(listener, Arc::new(handler), Homes::Any)
    }

    /// Begins to accept connections from each of `listeners`, one for each worker, where its
    /// connections stay. See [`SocketBuilder::listen_group`](crate::net::SocketBuilder::listen_group)
    /// for such a group, and docs/servers.md for what it is good for: it is seldom better than
    /// [`start`](Server::start).
    ///
    /// # Errors
    ///
    /// As [`start`](Server::start).
    pub fn start_group<L: Listen>(
        &self,
        listeners: impl IntoIterator<Item = L>,
        handler: impl Fn(L::Stream, L::Addr) + Send + Sync + 'static,
    ) -> io::Result<()> {
        let handler = Arc::new(handler);
        listeners
            .into_iter()
            .try_for_each(|listener| self.accept_from(listener, handler.clone(), Homes::Acceptors))
    }

    /// [Starts](Server::start), and waits until the server has been stopped, by another handle, and
    /// its last connection has ended.
    ///
    /// # Errors
    ///
    /// Those of [`start`](Server::start) and [`wait`](Server::wait).
    pub fn serve_forever<L: Listen>(
        &self,
        listener: L,
        handler: impl Fn(L::Stream, L::Addr) + Send + Sync + 'static,
    ) -> io::Result<()> {
        self.start(listener, handler)?;
        self.wait()
    }

    /// Waits until the server has been stopped and its last connection has ended.
    ///
    /// # Errors
    ///
    /// What made the server stop by itself: a listener's descriptor that is none, or its runtime's
    /// end.
    pub fn wait(&self) -> io::Result<()> {
        self.control.ended.wait();
        self.control.failure().map_or(Ok(()), Err)
    }

    /// Accepts no more connections, and returns at once. Those that there are go on.
    ///
    /// Who has connected and was not accepted yet, and so is in the listener's backlog, is reset by the
    /// system when the listener is closed, as with nginx and with Go's `http.Server`. But if there is a
    /// clone of the listener, or another process has it, he waits there to be accepted.
    pub fn stop_accepting(&self) {
        self.control.stop();
    }

    /// Whether the server has been stopped, or has stopped by itself. A handler that serves one
    /// request after another looks here before it waits for the next.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.control.stopping.is_set()
    }

    /// [Accepts no more connections](Server::stop_accepting), waits until all have ended, but for no longer than `grace`, and
    /// then shuts the sockets of the rest down, in both directions. Gives the number of these.
    ///
    /// Their handlers are told by the end of what they read and errors of what they write;
    /// [`wait`](Server::wait) waits until they have returned. Any duration is legal;
    /// [`Duration::MAX`] waits without limit. A handler that calls this waits for itself.
    pub fn stop(&self, grace: Duration) -> usize {
        self.control.stop();
        if self.control.ended.wait_timeout(grace) { 0 } else { self.control.cut() }
    }

    /// What the server has done so far.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.control.stats()
    }

    fn accept_from<L: Listen, H: Fn(L::Stream, L::Addr) + Send + Sync + 'static>(
        &self,
        listener: L,
        handler: Arc<H>,
        homes: Homes,
    ) -> io::Result<()> {
        let bell = listener.enlist();
        let counted = self.control.enlist(bell.clone())?;
        let server = self.clone();
        let placement = match homes {
            Homes::Any => Placement::Near,
            Homes::Acceptors => Placement::Spread,
        };
        let acceptor = Builder::new().placement(placement);
        let acceptor = match &self.settings.name {
            Some(name) => acceptor.name(format!("{name}-accept")),
            None => acceptor,
        };
        let accept = move || {
            // In this order: it is counted out when its listener is closed.
            let _counted = counted;
            let listener = listener;
            server.accept_all(&listener, &bell, &handler, homes);
        };
        acceptor.spawn(accept).map(drop)
    }

    /// The life of an acceptor.
    fn accept_all<L: Listen, H: Fn(L::Stream, L::Addr) + Send + Sync + 'static>(
        &self,
        listener: &L,
        bell: &Bell,
        handler: &Arc<H>,
        homes: Homes,
    ) {
        let mut pause = FIRST_PAUSE;
        // Whoever else accepts from that listener is to have what this one cannot take yet.
        let permit = || self.control.permit(|| bell.ring());
        loop {
            let error = match listener.accept_with(&permit) {
                Ok(None) => return,
                Ok(Some((connection, permit))) => {
                    match self.begin::<L, H>(connection, permit, handler, homes) {
                        Ok(()) => {
                            pause = FIRST_PAUSE;
                            continue;
                        }
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            self.report(&error);
            match error.raw_os_error() {
                // That one has gone before it was accepted.
                Some(libc::ECONNABORTED) => {}
                // This is no listener, or not any more.
                Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EOPNOTSUPP) => {
                    return self.control.fail(&error);
                }
                // Something is short, or wrong with the network: as much as to say, later.
                _ => {
                    self.control.stopping.wait_timeout(pause);
                    pause = (2 * pause).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Gives a connection its coroutine.
    fn begin<L: Listen, H: Fn(L::Stream, L::Addr) + Send + Sync + 'static>(
        &self,
        (stream, addr): (L::Stream, L::Addr),
        permit: Permit,
        handler: &Arc<H>,
        homes: Homes,
    ) -> io::Result<()> {
        let Some(connection) = self.control.admit(L::tie(&stream), permit) else {
            self.control.refuse();
            return Ok(());
        };
        let handler = handler.clone();
        let serve = move || serve(connection, || handler(stream, addr));
        let mut builder = Builder::new();
        if let Some(name) = &self.settings.name {
            builder = builder.name(name.clone());
        }
        if let Some(bytes) = self.settings.stack_size {
            builder = builder.stack_size(bytes);
        }
        let spawned = match homes {
            Homes::Any => builder.spawn(serve).map(drop),
            Homes::Acceptors => builder.spawn_local(serve).map(drop),
        };
        spawned.inspect_err(|_| self.control.refuse())
    }

    fn report(&self, error: &io::Error) {
        if let Some(on_error) = &self.settings.on_error {
            contained(|| on_error(error));
        }
    }
}

/// Where connections live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Homes {
    Any,
    /// Each where its acceptor does.
    Acceptors,
}

/// The life of a connection's coroutine.
fn serve(connection: Connection, handle: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(handle)) {
        if !payload.is::<Cancelled>() && !payload.is::<Exited>() {
            connection.has_panicked();
        }
        drop(connection);
        resume_unwind(payload);
    }
}

impl Default for Server {
    fn default() -> Server {
        Server::new()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("name", &self.settings.name)
            .field("stopping", &self.is_stopping())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("max_connections", &self.max_connections)
            .field("name", &self.settings.name)
            .field("stack_size", &self.settings.stack_size)
            .finish_non_exhaustive()
    }
}
