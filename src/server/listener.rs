//! The listening socket: opened here, or inherited from a service manager.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use listenfd::ListenFd;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::presence;

/// The kernel's send buffer of one client, which the kernel doubles. Bytes in it are beyond the
/// reach of backpressure.
const SEND_BUFFER: usize = 64 * 1024;
/// Connections that the kernel queues until they are accepted.
const ACCEPT_BACKLOG: i32 = 4096;

/// Options of a listening socket that is opened here.
#[derive(Debug, Clone, Copy)]
pub struct ListenOptions {
    /// The address to listen on.
    pub address: SocketAddr,
    /// Share the address with another process that does the same, such as the successor.
    pub reuse_port: bool,
    /// Longest time for which a client may take nothing.
    pub client_stall: Duration,
}

/// Opens the listening socket, in non-blocking mode.
///
/// # Errors
///
/// The system's, such as that the address is in use.
pub fn bind(options: &ListenOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(options.address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    prepare(&socket, options.client_stall)?;
    socket.bind(&options.address.into())?;
    socket.listen(ACCEPT_BACKLOG)?;
    Ok(socket.into())
}

/// Returns the listening socket that a service manager opened for this process, in non-blocking
/// mode: the only one named by `LISTEN_FDS`, as `sd_listen_fds(3)` describes it. `None` if there is
/// none.
///
/// # Errors
///
/// When there are several, or it is not a TCP socket that listens.
pub fn inherited(client_stall: Duration) -> io::Result<Option<TcpListener>> {
    let mut inherited = ListenFd::from_env();
    if inherited.len() > 1 {
        return Err(io::Error::other("there is more than one (LISTEN_FDS)"));
    }
    let Some(listener) = inherited.take_tcp_listener(0)? else {
        return Ok(None);
    };
    prepare(&SockRef::from(&listener), client_stall)?;
    Ok(Some(listener))
}

/// Sets what accepted sockets inherit, and the non-blocking mode.
fn prepare(socket: &Socket, client_stall: Duration) -> io::Result<()> {
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.set_tcp_nodelay(true)?;
    presence::watch_clients(socket, client_stall)?;
    socket.set_nonblocking(true)
}
