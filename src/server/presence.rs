//! The kernel's watch over clients: it reports those whose packets have stopped, without a close.
//!
//! A client is expected to acknowledge what is sent to it, or a probe. One that reads nothing is
//! another case: it is there, and has `timeouts.client_stall`. To the kernel both are silence
//! once the client's own buffer is full, so the longer time holds while a write has to wait. On a
//! slow stream writes don't have to wait for long: there a client that reads nothing has the
//! shorter time from when its own buffer is full.

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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::net::SocketAddr;

    use socket2::{Domain, Type};

    use super::*;

    #[tokio::test]
    async fn who_connects_before_the_server_runs_is_watched_too() {
        let stall = Duration::from_secs(30);
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        watch_clients(&listener, stall).unwrap();
        listener
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        listener.listen(1).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(stall));
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
        assert_eq!(
            accepted.tcp_keepalive_interval().unwrap(),
            KEEPALIVE_INTERVAL
        );

        accepted.set_nonblocking(true).unwrap();
        let accepted = TcpStream::from_std(accepted.into()).unwrap();
        let timeout = || SockRef::from(&accepted).tcp_user_timeout().unwrap();
        expect_acknowledgements(&accepted, stall);
        assert_eq!(timeout(), Some(VANISHED_TIMEOUT));
        allow_stall(&accepted, stall);
        assert_eq!(timeout(), Some(stall));
        expect_acknowledgements(&accepted, Duration::from_secs(1));
        assert_eq!(timeout(), Some(Duration::from_secs(1)));
        drop(client);
    }
}
