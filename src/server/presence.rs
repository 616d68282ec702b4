//! The kernel's watch over clients: it reports those whose packets have stopped, without a close.
//!
//! A client is expected to acknowledge what is sent to it, or a probe. One that reads nothing is
//! another case: it is there, and has `timeouts.client_stall`. To the kernel both are silence
//! once the client's own buffer is full, so the longer time holds while a write has to wait.

use std::io;
use std::time::Duration;

use socket2::{SockRef, Socket, TcpKeepalive};
use tokio::net::TcpStream;

/// Silence after which TCP probes whether a client is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
/// Interval between TCP's probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Time in which a client has to acknowledge what is sent to it, or two probes. Something may be
/// sent to a client just before the probes have found it gone, so that it is gone for up to twice
/// that time: less than 20 s.
const VANISHED_TIMEOUT: Duration = Duration::from_millis(9_500);

/// Sets what accepted sockets inherit. Before the socket listens, or those who connect first would
/// miss it.
pub(super) fn watch_clients(listener: &Socket, stall_timeout: Duration) -> io::Result<()> {
    listener.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL),
    )?;
    // Where the system lacks it, our own timer remains.
    let _ = listener.set_tcp_user_timeout(Some(stall_timeout));
    Ok(())
}

/// Expects acknowledgements of a client that has sent something.
pub(super) fn expect_acknowledgements(client: &TcpStream, stall_timeout: Duration) {
    set_timeout(client, VANISHED_TIMEOUT.min(stall_timeout));
}

/// Leaves a client that reads nothing the time that it has for that.
pub(super) fn allow_stall(client: &TcpStream, stall_timeout: Duration) {
    set_timeout(client, stall_timeout);
}

fn set_timeout(client: &TcpStream, timeout: Duration) {
    let _ = SockRef::from(client).set_tcp_user_timeout(Some(timeout));
}
