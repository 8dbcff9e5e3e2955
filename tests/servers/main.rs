//! The servers of the examples, met by clients that are plain threads with std's sockets: polite
//! ones, and all the others.

mod chat;
mod dns;
mod echo;
mod graceful;
mod hog;
mod http;
mod proxy;
mod support;
mod unix;

#[path = "../../examples/support/chat.rs"]
mod chat_server;
#[path = "../../examples/support/dns.rs"]
mod dns_server;
#[path = "../../examples/support/echo.rs"]
mod echo_server;
#[path = "../../examples/support/graceful.rs"]
mod graceful_server;
#[path = "../../examples/support/http.rs"]
mod http_server;
#[path = "../../examples/support/proxy.rs"]
mod proxy_server;
#[path = "../../examples/support/server.rs"]
mod server;
#[path = "../../examples/support/unix.rs"]
mod unix_server;
